"""What tests of a mount that look at the store from outside share."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.edited import DATA
from tests.support.hosts import Host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.mounts import Mounted


@pytest.fixture
def directory(mount: Mounted, container: str) -> Path:
    return mount.path / container


@pytest.fixture
def other(swift: FaultySwift, client: Any) -> str:
    name = f"o{uuid.uuid4().hex[:12]}"
    client.put_container(name)
    return name


@pytest.fixture
def host(swift: FaultySwift, tmp_path: Path) -> Host:
    """Have mounts one after another, which find what those before them left."""
    return Host(swift, tmp_path)


@pytest.fixture
def slo(mount: Mounted, container: str) -> Path:
    """Return an image of eleven segments."""
    file = mount.path / container / "slo"
    file.write_bytes(DATA)
    return file
