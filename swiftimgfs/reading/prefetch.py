"""Which blocks to fetch, and when: what is asked for, and what will be.

A `Cursor` follows one sequential reader. What it has read in order is what is read ahead of
it, up to a limit, so that the window doubles as the reader catches up; a read elsewhere
starts another cursor and fetches only its own blocks. Several cursors live on one image, because tools read qcow2 metadata
and data in turn, and the kernel reorders its own read-ahead.

A fetch is one GET of several neighbouring blocks of one object. It runs in the mount's
nursery and never raises there: a failure is handed to the blocks, and so to who waits.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.reading.block_cache import BLOCK_SIZE, key_of
from swiftimgfs.reading.chunks import resumable_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

    from swiftimgfs.layout import Layout
    from swiftimgfs.reading.block_cache import Block, BlockCache
    from swiftimgfs.reading.chunks import RangeStore, Retry

log = logging.getLogger(__name__)

FETCH_BLOCKS: Final = 4  # 4 MiB a GET: several run side by side, and each is worth its latency
LARGEST_WINDOW: Final = 32 * BLOCK_SIZE  # eight such GETs, as many as there are connections
CURSORS: Final = 4
# The kernel's read-ahead comes out of order by as much as it reads ahead.
REORDERED: Final = 2 * 1024 * 1024


@dataclass(slots=True)
class Cursor:
    """One sequential reader, by offsets into the image.

    Attributes:
        start: Where it began to read in order.
        expected: Where it goes on.
        planned: Up to where fetching was already asked for.
    """

    start: int
    expected: int
    planned: int = 0

    def continues_at(self, offset: int) -> bool:
        """Return whether a read at `offset` belongs to this reader."""
        return abs(offset - self.expected) <= REORDERED

    def advance(self, end: int, largest: int) -> tuple[int, int]:
        """Note a read up to `end`; return (offset, size) of what to fetch now.

        The size is 0 while what is planned reaches far enough: fetches are made in pieces
        that are worth a GET.
        """
        self.expected = max(self.expected, end)
        self.planned = max(self.planned, self.expected)
        window = min(max(BLOCK_SIZE, 2 * (self.expected - self.start)), largest)
        size = self.expected + window - self.planned
        if size < min(window, FETCH_BLOCKS * BLOCK_SIZE):
            return self.planned, 0
        offset = self.planned
        self.planned += size
        return offset, size


class Fetcher:
    """Fills blocks of the cache from the store, each GET a task of the mount."""

    def __init__(
        self, store: RangeStore, cache: BlockCache, retry: Retry, nursery: trio.Nursery
    ) -> None:
        self.cache: Final = cache
        self._store = store
        self._retry = retry
        self._nursery = nursery

    def demand(self, source: Stored, first: int, last: int) -> None:
        """Have blocks `first` to `last` of the object fetched, those that are not here yet."""
        self._fetch(source, [i for i in range(first, last + 1) if self._is_missing(source, i)])

    def suggest(self, source: Stored, first: int, last: int) -> None:
        """The same for blocks that will be needed; none when memory is short."""
        wanted = []
        for index in range(first, last + 1):
            if self._is_missing(source, index):
                if not self.cache.has_room():
                    break
                wanted.append(index)
        self._fetch(source, wanted)

    def _is_missing(self, source: Stored, index: int) -> bool:
        return key_of(source, index) not in self.cache

    def _fetch(self, source: Stored, indexes: list[int]) -> None:
        for run in _runs(indexes):
            blocks = [self.cache.add(source, index) for index in run]
            self._nursery.start_soon(self._fill, source, run, blocks)

    async def _fill(self, source: Stored, run: list[int], blocks: list[Block]) -> None:
        start = source.advance(run[0] * BLOCK_SIZE - source.start)
        buffers = [block.view for block in blocks]
        try:
            chunks = resumable_chunks(self._store, start, buffers, self._retry)
            async with aclosing(chunks):
                async for count in chunks:
                    _spread(count, blocks)
        except errors.SwiftImgFsError as failure:
            log.info(
                "fetch failed object=%s/%s reason=%s", source.container, source.object, failure
            )
            for index, block in zip(run, blocks, strict=True):
                if not block.is_settled:
                    self.cache.drop(source, index)
                    block.failed(failure)


class Prefetcher:
    """Follows the readers of one open image."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._cursors = [Cursor(0, 0)]  # most readers begin at the beginning
        # Half of the cache at the most: what is read ahead must not push out what was read.
        self._largest = min(LARGEST_WINDOW, fetcher.cache.limit // 2)

    def note(self, layout: Layout, offset: int, size: int) -> None:
        """Take note of a read, and have what comes after it fetched. Does not wait."""
        cursor = next((c for c in self._cursors if c.continues_at(offset)), None)
        if cursor is None:
            self._cursors = [*self._cursors[1 - CURSORS :], Cursor(offset, offset + size)]
            return
        start, length = cursor.advance(offset + size, self._largest)
        for piece in layout.pieces(start, length):
            if isinstance(piece.source, Stored):
                self._fetcher.suggest(piece.source, *blocks_of(piece.source, piece.size))


def blocks_of(source: Stored, size: int) -> tuple[int, int]:
    """Return the numbers of the first and the last block that `size` bytes of `source` touch."""
    return source.start // BLOCK_SIZE, (source.start + size - 1) // BLOCK_SIZE


def _runs(indexes: list[int]) -> Iterator[list[int]]:
    """Cut ascending block numbers into runs of neighbours, each short enough for one GET."""
    run: list[int] = []
    for index in indexes:
        if run and (index != run[-1] + 1 or len(run) == FETCH_BLOCKS):
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _spread(count: int, blocks: list[Block]) -> None:
    """Tell the blocks, which fill one after the other, that `count` bytes more arrived."""
    for block in blocks:
        taken = min(count, block.size - block.filled)
        if taken:
            block.arrived(taken)
            count -= taken
        if not count:
            return
