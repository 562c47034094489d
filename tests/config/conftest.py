"""No setting but what a test sets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.config import settings as settings_module
from tests.support.sources import REFERENCES, written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_is_set(tmp_path, monkeypatch):
    """Neither this host's files nor its environment count; relative paths are in tmp_path."""
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "etc" / "swiftimgfs.conf")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def references(tmp_path) -> Path:
    """A file of two references."""
    return written(tmp_path / "swift.conf", REFERENCES)
