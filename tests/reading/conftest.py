"""A cache on a disk, for readers that begin with nothing in memory."""

from __future__ import annotations

import pytest

from swiftimgfs.reading.disk_cache import DiskCache
from tests.support.disk_reads import GIB


@pytest.fixture
def disk(tmp_path):
    cache = DiskCache(tmp_path / "cache", GIB)
    yield cache
    cache.close()
