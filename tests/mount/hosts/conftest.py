"""Several mounts of one account, as hosts have them that know nothing of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, mounted
from tests.support.two_hosts import SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift


@pytest.fixture(scope="module")
def other(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount the account once more, as another host does: nothing is believed for long."""
    options = f"{SEGMENTS},attr_timeout=0,list_timeout=0"
    with mounted(tmp_path_factory.mktemp("other"), swift.swift.environ(), options) as running:
        yield running


@pytest.fixture(scope="module")
def trusting(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount the account with timeouts that end after every test."""
    options = f"{SEGMENTS},attr_timeout=600,list_timeout=600"
    with mounted(tmp_path_factory.mktemp("long"), swift.swift.environ(), options) as running:
        yield running


@pytest.fixture
def here(mount: Mounted, container: str) -> Path:
    return mount.path / container


@pytest.fixture
def there(other: Mounted, container: str) -> Path:
    return other.path / container


@pytest.fixture
def believing(trusting: Mounted, container: str) -> Path:
    return trusting.path / container
