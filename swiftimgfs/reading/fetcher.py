"""Fetching parts of objects: what is asked for now, and what will be.

A fetch is one GET of a part. It runs in the mount's nursery and never raises there: a failure
is handed to the part, and so to who waits for it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final, Protocol

import trio

from swiftimgfs import errors
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, key_of
from swiftimgfs.reading.chunks import fetch_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from swiftimgfs.layout import Stored
    from swiftimgfs.reading.block_cache import BlockCache, Part
    from swiftimgfs.reading.chunks import RangeStore, Retry
    from swiftimgfs.reading.disk_cache import DiskCache
    from swiftimgfs.reading.verifier import Verifier

log = logging.getLogger(__name__)

# What is read ahead may take this part of the connections: the rest is for who waits.
BACKGROUND_SHARE: Final = 0.75


class Readers(Protocol):
    """The readers of one open image."""

    @property
    def sequential(self) -> int:
        """How many of them read in order."""
        ...


class Fetcher:
    """Fills parts of the cache from the store, each GET a task of the mount."""

    def __init__(  # noqa: PLR0913  # what a mount reads with
        self,
        store: RangeStore,
        cache: BlockCache,
        verifier: Verifier,
        retry: Retry,
        nursery: trio.Nursery,
        *,
        connections: int = 8,
        disk: DiskCache | None = None,
    ) -> None:
        """Fetch from `store`; `disk` is what it looks in first, for who wants to know of it."""
        self.disk: Final = disk
        self.cache: Final = cache
        self.verifier: Final = verifier
        self._store = store
        self._retry = retry
        self._nursery = nursery
        self._background = trio.Semaphore(max(1, int(connections * BACKGROUND_SHARE)))
        self.prefetchers: Final[set[Readers]] = set()

    def share(self) -> int:
        """Return how far one reader may look ahead.

        A third of the cache is for all that is read ahead. While one window is read another
        is fetched, and what was read is younger than what is still to be read: with two
        windows as large as the cache, that would go first.
        """
        readers = sum(prefetcher.sequential for prefetcher in self.prefetchers)
        return self.cache.limit // (3 * max(1, readers))

    def demand(self, source: Stored, size: int) -> None:
        """Have `size` bytes of the object fetched, from where `source` starts."""
        for start, length in self._missing(source, size):
            self._fetch(source, start, length)

    def suggest(self, source: Stored, size: int) -> int:
        """The same for bytes that will be needed; return for how many there is room now."""
        if not self.verifier.is_refused(source):
            for start, length in self._missing(source, size):
                if self.verifier.is_behind or not self.cache.has_room(length):
                    return max(start - source.start, 0)
                self._fetch(source, start, length, is_ahead=True)
        return size

    def _missing(self, source: Stored, size: int) -> Iterator[tuple[int, int]]:
        """Yield (start, size) of what is not here, cut where parts of the object end."""
        key = key_of(source)
        first = source.start // BLOCK_SIZE
        last = (source.start + size - 1) // BLOCK_SIZE
        run = 0
        for block in range(first, last + 2):
            at_border = block * BLOCK_SIZE % PART_SIZE == 0
            is_missing = block <= last and not self.cache.has(key, block)
            if run and (at_border or not is_missing):
                yield _clipped(block - run, run, source.object_size)
                run = 0
            run += is_missing

    def _fetch(self, source: Stored, start: int, size: int, *, is_ahead: bool = False) -> None:
        part = self.cache.add(key_of(source), start, size)
        self.verifier.expect(part)
        self._nursery.start_soon(
            self._fill, source.advance(start - source.start), part, is_ahead
        )

    async def _fill(self, source: Stored, part: Part, is_ahead: bool) -> None:  # noqa: FBT001  # start_soon takes no keywords
        try:
            async with self._turn(part) if is_ahead else contextlib.nullcontext():
                await fetch_whole(self._store, source, part, self._retry)
        except errors.SwiftImgFsError as failure:
            where = f"{source.container}/{source.object}"
            log.info("fetch failed object=%s reason=%s", where, failure)
            self.cache.drop(part)
            self.verifier.missed(part)
            part.failed(failure)
        else:
            part.wake()
            await self.verifier.passed(source, part)

    @contextlib.asynccontextmanager
    async def _turn(self, part: Part) -> AsyncIterator[None]:
        """Have one of the connections for what is read ahead, or any once somebody waits."""
        has_turn = False
        with part.queueing():
            await self._background.acquire()
            has_turn = True
        try:
            yield
        finally:
            if has_turn:
                self._background.release()


def _clipped(first: int, blocks: int, object_size: int) -> tuple[int, int]:
    start = first * BLOCK_SIZE
    return start, min(blocks * BLOCK_SIZE, object_size - start)
