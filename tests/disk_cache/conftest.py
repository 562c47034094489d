"""The directory of a cache, which is tried again at once after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swiftimgfs.reading import disk_cache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch):
    """Try again at once after a failure."""
    monkeypatch.setattr(disk_cache, "_REST", 0)
