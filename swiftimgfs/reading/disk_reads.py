"""A store that looks on the local disk before it asks Swift.

Block by block: of what is asked for, what the disk has comes from there, and each run of
blocks that it lacks is one GET. What is found counts as not fetched.

What holds: a file that is damaged, cut, foreign or gone costs a GET and nothing else, and so
does a disk that is slow: who reads waits for it `DISK_PATIENCE` seconds at the longest, and then,
if it gave nothing, is not made to wait for it again for a while. A thread that is left behind
writes into a buffer of its own alone.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, Protocol

import trio

from swiftimgfs.reading.block_cache import Part, is_md5, key_of
from swiftimgfs.reading.block_files import VERIFIED
from swiftimgfs.reading.disk_cache import DISK_BLOCK, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from swiftimgfs.layout import Stored
    from swiftimgfs.reading.block_cache import ObjectKey
    from swiftimgfs.reading.chunks import RangeStore
    from swiftimgfs.reading.disk_cache import DiskCache
    from swiftimgfs.store.wire import Target

log = logging.getLogger(__name__)

DISK_PATIENCE: Final = 1.0
_REST: Final = 30.0


class DiskThreads(Protocol):
    """The doors to threads that wait for a disk; who is cancelled leaves one behind."""

    async def read_disk(self, blocking: Callable[[], None]) -> None:
        """Return when `blocking` has."""
        ...

    async def write_disk(self, blocking: Callable[[], None]) -> None:
        """Return when `blocking` has, and all before it."""
        ...


class DiskFirstStore:
    """A `RangeStore` before another one."""

    def __init__(
        self,
        store: RangeStore,
        cache: DiskCache,
        threads: DiskThreads,
        worths: Callable[[ObjectKey, int], list[str]],
    ) -> None:
        """Look in `cache` for blocks of any of their `worths`, given key and index."""
        self._store = store
        self._cache = cache
        self._threads = threads
        self._worths = worths
        self._rest_until = 0.0

    async def fetch_range(self, source: Stored, target: Target, patience: float) -> None:
        """Make one try to get what `target` still lacks, from where `source` starts.

        Raises:
            SwiftImgFsError: What the other store fails with.
        """
        start = source.start - target.filled  # of the target, in the object
        while target.filled < target.size:
            end = await self._take(key_of(source), start, target)
            here = start + target.filled
            if here == start + target.size:
                return
            run = _Run(target, min(end, start + target.size) - here)
            await self._store.fetch_range(source.advance(here - source.start), run, patience)
            if run.filled < run.size:  # it broke off; who called us knows what to do
                return

    async def _take(self, key: ObjectKey, start: int, target: Target) -> int:
        """Take what comes next from the disk; return where what it lacks then ends."""
        if not is_md5(key[0]) or trio.current_time() < self._rest_until:
            return start + target.size
        lookup = _Lookup(self._cache, self._worths, key, start, target)
        with trio.move_on_after(DISK_PATIENCE) as scope:
            await self._threads.read_disk(lookup.run)
        lookup.end()
        if scope.cancelled_caught and lookup.is_stuck:
            self._rest_until = trio.current_time() + _REST
            log.warning("disk cache is too slow, not asked for a while seconds=%.0f", _REST)
        if lookup.is_proof and isinstance(target, Part):
            target.is_proven = True
        return lookup.lacks_until


class _Run:
    """A target for the next bytes of another one, up to the next that the disk has."""

    def __init__(self, target: Target, size: int) -> None:
        self._target = target
        self._before = target.filled
        self.size = size

    @property
    def filled(self) -> int:
        """How many bytes are in place."""
        return self._target.filled - self._before

    def rest(self) -> memoryview:
        """Return the buffer for what is still missing."""
        return self._target.rest()[: self.size - self.filled]

    def arrived(self, count: int) -> None:
        """Say that `count` bytes more are in place."""
        self._target.arrived(count)

    def abandon(self) -> None:
        """Say that a thread was given up that may still write into the buffer."""
        self._target.abandon()


class _Lookup:
    """One look at the disk, in a thread: what it finds counts until it is ended.

    Attributes:
        lacks_until: Where what the disk lacks ends, after what was taken.
        is_stuck: It began, and nothing at all came of it.
        is_proof: All of the target was taken, and verified when it was put there.
    """

    def __init__(
        self,
        cache: DiskCache,
        worths: Callable[[ObjectKey, int], list[str]],
        key: ObjectKey,
        start: int,
        target: Target,
    ) -> None:
        self._cache = cache
        self._worths = worths
        self._key = key
        self._target = target
        self._lock = threading.Lock()  # what is taken after the end is nobody's
        self._is_over = False
        self._position = start + target.filled
        self._end = self.lacks_until = start + target.size
        self._is_verified = target.filled == 0
        self.is_stuck = False
        self.is_proof = False

    def end(self) -> None:
        """Let the thread go, if it has not ended yet."""
        with self._lock:
            self._is_over = True

    def run(self) -> None:
        """Fill the target as far as the disk has what comes next; then look further."""
        self.is_stuck = True
        scratch = memoryview(bytearray(DISK_BLOCK))
        while self._position < self._end and self._take_block(scratch):
            self.is_stuck = False
        self.is_proof = self._position == self._end and self._is_verified
        self.lacks_until = self._next_found()
        self.is_stuck = False

    def _take_block(self, scratch: memoryview) -> bool:
        """Take the block at the position; False when it is not there, or not all wanted."""
        etag, object_size = self._key
        index, inside = divmod(self._position, DISK_BLOCK)
        block = scratch[: size_of(object_size, index)]
        if inside or self._position + len(block) > self._end:
            return False
        for worth in self._worths(self._key, index):
            if self._cache.get(etag, object_size, index, block, worth):
                break
        else:
            return False
        with self._lock:
            if self._is_over:
                return False
            self._target.rest()[: len(block)] = block
            self._target.arrived(len(block))
        self._position += len(block)
        self._is_verified = self._is_verified and worth == VERIFIED
        return True

    def _next_found(self) -> int:
        """Return where the next block begins that seems to be there, or the end."""
        first = self._position // DISK_BLOCK + 1
        for index in range(first, -(-self._end // DISK_BLOCK)):
            if any(
                self._cache.has(*self._key, index, w) for w in self._worths(self._key, index)
            ):
                return index * DISK_BLOCK
        return self._end
