"""Objects that are read with a disk behind the memory, and what the disk has of them."""

from __future__ import annotations

import os

import trio
import trio.testing

from swiftimgfs.layout import Layout
from swiftimgfs.reading import disk_cache
from swiftimgfs.reading.block_cache import BLOCK_SIZE
from swiftimgfs.reading.disk_cache import DISK_BLOCK
from swiftimgfs.reading.reader import ImageReader
from tests.support.range_store import object_of

MIB = 1024**2
GIB = 1024**3
HUGE = object_of("huge", 40 * MIB)


async def read(reading, item, offset=0, size=None) -> bytes:
    """Read in order, through a reader of its own, and insist on the bytes."""
    size = item.size - offset if size is None else size
    layout = Layout([(item.size, item.source())])
    reader = ImageReader(reading.fetcher)
    end = offset + size
    try:
        pieces = [
            bytes(await reader.read(layout, start, min(MIB, end - start)))
            for start in range(offset, end, MIB)
        ]
    finally:
        reader.close()
    data = b"".join(pieces)
    assert data == item.part(offset, size)
    return data


async def read_block(reading, item, index) -> bytes:
    """Read one block, with nothing ahead of it."""
    source = item.source(index * BLOCK_SIZE)
    size = disk_cache.size_of(item.size, index)
    reading.fetcher.demand(source, size)
    data = bytes(await ImageReader(reading.fetcher)._stored(source, size))
    assert data == item.part(source.start, size)
    return data


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)


def kept(disk, item, worth) -> set[int]:
    blocks = range(-(-item.size // DISK_BLOCK))
    return {n for n in blocks if disk.has(item.etag, item.size, n, worth)}


def all_of(item) -> set[int]:
    return set(range(-(-item.size // DISK_BLOCK)))


def files_in(disk) -> list[str]:
    return [name for name in os.listdir(disk._path) if "ledger" not in name]
