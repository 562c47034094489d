"""Objects that are read and verified, in order or part by part as a test wants it."""

from __future__ import annotations

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, Part, key_of
from swiftimgfs.reading.reader import ImageReader
from tests.support.range_store import object_of, parts_in

BLOCKS = 5
SMALL = object_of("small", BLOCKS * BLOCK_SIZE + 77)
LARGE = object_of("large", 3 * PART_SIZE - 12345)
READ = 1024 * 1024


def layout_of(item) -> Layout:
    return Layout([(item.size, item.source())])


async def read_all(reading, item, *, step=READ) -> bytes:
    reader = ImageReader(reading.fetcher)
    try:
        pieces = [
            bytes(await reader.read(layout_of(item), offset, step))
            for offset in range(0, item.size, step)
        ]
    finally:
        reader.close()
    return b"".join(pieces)


async def read_part(reading, item, start, size) -> bytes:
    """Read without anything being fetched ahead."""
    source = item.source(start)
    reading.fetcher.demand(source, size)
    return bytes(await ImageReader(reading.fetcher)._stored(source, size))


def assert_nothing_is_held(reading) -> None:
    for part in parts_in(reading.cache):
        assert (part.is_gated, part.pins, part._waiting) == (False, 0, 0)
        assert part.is_evictable
    assert reading.verifier._owed == 0


class Passing:
    """Parts of one object, which are expected and come in any order."""

    def __init__(self, reading, item) -> None:
        self.reading = reading
        self.item = item
        self.parts: dict[int, Part] = {}

    def expect(self, number: int) -> None:
        start = number * BLOCK_SIZE
        size = min(BLOCK_SIZE, self.item.size - start)
        part = self.reading.cache.add(key_of(self.item.source()), start, size)
        self.reading.verifier.expect(part)
        self.parts[number] = part

    async def come(self, number: int, *, damages: int | None = None) -> None:
        part = self.parts[number]
        part.view[:] = self.item.part(part.start, part.size)
        if damages is not None:
            part.view[damages] ^= 0xFF
        part.arrived(part.size)
        part.wake()
        await self.reading.verifier.passed(self.item.source(part.start), part)

    def fail(self, number: int) -> None:
        """Do what the fetcher does."""
        part = self.parts.pop(number)
        self.reading.cache.drop(part)
        self.reading.verifier.missed(part)
        part.failed(errors.BrokenBodyError("down"))
