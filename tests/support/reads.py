"""Images that are read in order or by chance, and what they have to be."""

from __future__ import annotations

import trio
import trio.testing

from swiftimgfs.layout import Inline, Layout, Stored, Zeros
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.prefetch import MIB
from swiftimgfs.reading.reader import ImageReader
from tests.support.range_store import FakeRangeStore, object_of

KIB = 1024
READ = 128 * KIB  # what the kernel asks for at most, without being told otherwise
SIZES = [1, 2, 1000, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 17]
OBJECTS = [object_of(f"o{size}", size) for size in [*SIZES, PART_SIZE + 2 * BLOCK_SIZE + 5]]
# Its etag is no MD5, so that nobody need hash it.
HUGE = object_of("huge", 1024 * MIB, etag="v1")
MEDIUM = object_of("medium", 96 * MIB, etag="v1")


def layout_of(*items) -> Layout:
    return Layout([(item.size, item.source()) for item in items])


def content_of(layout: Layout, store: FakeRangeStore, offset: int, size: int) -> bytes:
    """Return what a read has to return, straight from the objects."""
    data = []
    for piece in layout.pieces(offset, size):
        match piece.source:
            case Stored() as source:
                data.append(store.objects[source.object].part(source.start, piece.size))
            case Inline(inline):
                data.append(bytes(inline[: piece.size]))
            case Zeros():
                data.append(bytes(piece.size))
    return b"".join(data)


class Reads:
    """Reads one image, insists on the right bytes, and counts them."""

    def __init__(self, reading, layout: Layout) -> None:
        self.reading = reading
        self.layout = layout
        self.reader = ImageReader(reading.fetcher)
        self.count = 0
        self.waited = 0

    async def read(self, offset: int, size: int) -> None:
        before = trio.current_time()
        data = await self.reader.read(self.layout, offset, size)
        assert data == content_of(self.layout, self.reading.store, offset, size)
        self.count += len(data)
        self.waited += trio.current_time() > before

    async def read_in_order(self, start: int, end: int, *, step=READ, pause=0.0) -> None:
        for offset in range(start, end, step):
            await self.read(offset, min(step, end - offset))
            await trio.sleep(pause)


def on_a_mock_clock(main, *arguments) -> None:
    """Run an async function where waiting takes no time."""
    trio.run(main, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))
