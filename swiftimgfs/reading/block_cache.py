"""Recently read bytes of stored objects, in memory, bounded.

Bytes come in *parts*: what one GET fetches, a run of blocks of `BLOCK_SIZE` in one buffer, so
that a reply to the kernel is mostly one slice of it, without a copy. They are found by block,
under the etag of their object: a changed object never shows old bytes, and a renamed image, or
another one over the same segments, keeps what is here. Concurrent readers of one block cause
one GET: the first starts it, all wait on it.

Invariants: the bytes held are at most `limit`, less what is lent to writers, and what is being
fetched on demand; a part that is being filled, hashed, held back or waited for is never
evicted. A large part that was read to its end is *spent*: its reader goes on, and the kernel
keeps what it read in its page cache. The buffers of spent parts are used again before fresh
memory is, all but the latest two, so that reading a large image takes a window of memory and
leaves other blocks alone. Nothing here awaits but
`Part.wait`, so every other method is atomic for the other tasks. A buffer is used again after
eviction, which spares the first touch of fresh memory: safe, because a reply goes to the
kernel before anything else runs (pyfuse3 writes it without a checkpoint), and a buffer that a
thread may still write into is never used again.
"""

from __future__ import annotations

import contextlib
import mmap
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from swiftimgfs import errors
    from swiftimgfs.layout import Stored

# What a random read costs at least, and at most too much at either end.
BLOCK_SIZE: Final = 128 * 1024
# What one GET fetches at most: worth its latency, and several run side by side.
PART_SIZE: Final = 8 * 1024 * 1024
NEVER: Final = 1 << 62
SPENT_KEPT: Final = 2  # large parts that stay behind a reader, for who steps back a little
HUGE_PAGE: Final = 2 * 1024 * 1024

ObjectKey = tuple[str, int]  # etag, bytes of the whole object
_MD5 = re.compile("[0-9a-f]{32}")


class Part:
    """Neighbouring bytes of one object, filled from their start by a thread.

    `rest` and `arrived` are called by that thread, everything else by the loop. Between the
    two there is no lock: the thread moves `filled` and then looks at `_wanted`, who waits
    lowers `_wanted` and then looks at `filled`, so that one of them sees the other.

    Attributes:
        start: The first byte, in the object.
        filled: How many bytes are in place.
        is_gated: Nobody is given any of it yet: its object's MD5 is about to be known.
        is_proven: All of it was kept here, and compared with its object's MD5 before.
        pins: Who else needs it to stay.
    """

    __slots__ = (
        "_arrivals",
        "_queueing",
        "_token",
        "_waiting",
        "_wanted",
        "failure",
        "filled",
        "is_gated",
        "is_proven",
        "is_recyclable",
        "key",
        "pins",
        "size",
        "start",
        "view",
    )

    def __init__(self, key: ObjectKey, start: int, buffer: memoryview) -> None:
        self.key = key
        self.start = start
        self.view = buffer
        self.size = len(buffer)
        self.filled = 0
        self.failure: errors.SwiftImgFsError | None = None
        self.is_gated = False
        self.is_proven = False
        self.is_recyclable = True
        self.pins = 0
        self._token = trio.lowlevel.current_trio_token()
        self._arrivals = trio.lowlevel.ParkingLot()
        self._queueing: trio.CancelScope | None = None
        self._waiting = 0
        self._wanted = NEVER

    @property
    def end(self) -> int:
        """The first byte after it, in the object."""
        return self.start + self.size

    @property
    def is_settled(self) -> bool:
        """Whether nobody is filling it any more."""
        return self.filled == self.size or self.failure is not None

    @property
    def is_evictable(self) -> bool:
        """Whether nobody fills or needs it, nor has yet to look at it after being woken."""
        is_needed = self._waiting or self.pins or self.is_gated
        return self.is_settled and not is_needed

    def has(self, end: int) -> bool:
        """Return whether the bytes up to `end`, in the object, may be given to a reader."""
        return self.start + self.filled >= end and not self.is_gated

    # ── in the thread that fills it ────────────────────────────────────────────────────

    def rest(self) -> memoryview:
        """Return the buffer for what is still missing."""
        return self.view[self.filled :]

    def arrived(self, count: int) -> None:
        """Say that `count` bytes more are in place."""
        self.filled += count
        if self.filled >= self._wanted:
            self._token.run_sync_soon(self.wake, idempotent=True)

    # ── in the loop ────────────────────────────────────────────────────────────────────

    def queueing(self) -> trio.CancelScope:
        """Return a scope for who waits for his turn to fill it; cancelled once it is waited for."""
        self._queueing = trio.CancelScope()
        if self._waiting:
            self._queueing.cancel()
        return self._queueing

    def abandon(self) -> None:
        """Say that a thread was given up that may still write into the buffer."""
        self.is_recyclable = False

    def wake(self) -> None:
        """Have everybody who waits look again."""
        self._wanted = NEVER
        self._arrivals.unpark_all()

    def failed(self, failure: errors.SwiftImgFsError) -> None:
        """Say that no more bytes will come, and why."""
        self.failure = failure
        self.is_gated = False
        self.wake()

    def refuse(self, failure: errors.SwiftImgFsError) -> None:
        """Say that its bytes are false, so that nobody is given any of them."""
        self.filled = 0
        self.failed(failure)

    def release(self) -> None:
        """Let readers have it."""
        self.is_gated = False
        self.wake()

    async def wait(self, end: int) -> None:
        """Return when the bytes up to `end`, in the object, are there; use them at once.

        Raises:
            SwiftImgFsError: What filling it failed with.
        """
        self._waiting += 1
        if self._queueing is not None:
            self._queueing.cancel()
        try:
            while not self.has(end):
                if self.failure is not None:
                    raise self.failure
                self._wanted = min(self._wanted, end - self.start)
                if not self.has(end):  # it may have arrived before the thread saw who waits
                    await self._arrivals.park()
        finally:
            self._waiting -= 1


@dataclass(frozen=True, slots=True)
class CacheSnapshot:
    """What the memory does.

    Attributes:
        limit: Bytes that blocks may take now.
        held: Bytes that they take.
        lent: Bytes that were given up for what waits for Swift.
        hits: Reads that found all of their bytes here.
        misses: Reads that did not.
    """

    limit: int
    held: int
    lent: int
    hits: int
    misses: int


class BlockCache:
    """Parts by the blocks in them, the least recently used ones going first."""

    def __init__(self, limit: int) -> None:
        """Hold `limit` bytes."""
        self.hits = self.misses = 0  # reads that found all of their bytes, and that did not
        self._most = limit
        self._lent = 0
        self._parts: OrderedDict[Part, None] = OrderedDict()
        self._by_block: dict[tuple[ObjectKey, int], Part] = {}
        self._spent: OrderedDict[Part, None] = OrderedDict()
        self._held = 0
        self._spare: list[memoryview] = []  # of PART_SIZE, counted in `_held` as well

    @property
    def limit(self) -> int:
        """Bytes that it may hold now."""
        return max(self._most - self._lent, 0)

    def lend(self, size: int) -> None:
        """Leave `size` bytes of memory to somebody else, evicting what was not used for longest."""
        self._lent += size
        self._make_room(0)
        self._drop_spare(0)

    def give_back(self, size: int) -> None:
        """Take memory back that was lent."""
        self._lent -= size

    @property
    def held(self) -> int:
        """Bytes of all buffers, of parts and spare ones."""
        return self._held

    def room(self) -> int:
        """Return how many bytes neither blocks nor writers have."""
        return max(self.limit - self._held, 0)

    def snapshot(self) -> CacheSnapshot:
        """Return what it holds and how it was used."""
        return CacheSnapshot(self.limit, self._held, self._lent, self.hits, self.misses)

    def get(self, key: ObjectKey, offset: int) -> Part | None:
        """Return the part with byte `offset` of an object, now the most recently used one."""
        part = self._by_block.get((key, offset // BLOCK_SIZE))
        if part is not None:
            self._parts.move_to_end(part)
        return part

    def has(self, key: ObjectKey, block: int) -> bool:
        """Return whether block number `block` of an object is here or on its way."""
        return (key, block) in self._by_block

    def add(self, key: ObjectKey, start: int, size: int) -> Part:
        """Make room for, and return, an empty part that the caller now has to have filled."""
        part = Part(key, start, self._buffer(size))
        self._parts[part] = None
        for block in _blocks_of(part):
            self._by_block[key, block] = part
        return part

    def read_out(self, part: Part) -> None:
        """Say that a part was read to its end."""
        if part.size == PART_SIZE and part in self._parts:
            self._spent[part] = None

    def has_room(self, size: int) -> bool:
        """Return whether `size` bytes more can be had without going over the limit."""
        missing = self._held + size - self.limit - len(self._spare) * PART_SIZE
        for part in self._parts:
            if missing <= 0:
                break
            if part.is_evictable:
                missing -= part.size
        return missing <= 0

    def drop(self, part: Part) -> None:
        """Forget a part, so that the next reader of its bytes has them fetched again."""
        if part not in self._parts:
            return
        del self._parts[part]
        self._spent.pop(part, None)
        for block in _blocks_of(part):
            if self._by_block.get((part.key, block)) is part:
                del self._by_block[part.key, block]
        if part.is_evictable and part.is_recyclable and part.size == PART_SIZE:
            self._spare.append(part.view)
        else:
            self._held -= part.size

    def parts_of(self, key: ObjectKey) -> list[Part]:
        """Return all parts of an object."""
        return [part for part in self._parts if part.key == key]

    def _buffer(self, size: int) -> memoryview:
        if size == PART_SIZE and not self._spare:
            self._drop_spent()
        self._make_room(size)
        if size == PART_SIZE and self._spare:
            return self._spare.pop()
        self._drop_spare(size)
        self._held += size
        return _fresh(size)

    def _drop_spent(self) -> None:
        """Forget the spent part that was read first, unless few are left or it is needed."""
        oldest = next(iter(self._spent), None)
        if oldest is not None and len(self._spent) > SPENT_KEPT and oldest.is_evictable:
            self.drop(oldest)

    def _drop_spare(self, size: int) -> None:
        """Give spare buffers back to the system, as far as `size` bytes more need it."""
        while self._spare and self._held + size > self.limit:
            self._spare.pop()
            self._held -= PART_SIZE

    def _make_room(self, size: int) -> None:
        """Evict what was not used for longest, until `size` bytes more are within the limit."""
        free = self.limit - self._held + len(self._spare) * PART_SIZE
        if free >= size:
            return
        for part in [part for part in self._parts if part.is_evictable]:
            self.drop(part)
            free += part.size
            if free >= size:
                return


def _fresh(size: int) -> memoryview:
    """Return memory that was not used before.

    Not a bytearray, which is filled with zeros by the loop, page by page: what is mapped is
    only touched by the thread that reads the bytes from the socket, two megabytes at a time
    where the kernel has huge pages.
    """
    if size < HUGE_PAGE:
        return memoryview(bytearray(size))
    mapped = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            mapped.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapped)


def is_md5(etag: str) -> bool:
    """Return whether an etag can be the MD5 of bytes."""
    return _MD5.fullmatch(etag) is not None


def key_of(source: Stored) -> ObjectKey:
    """Return what the object of `source` is known by: its bytes, wherever they are stored.

    An etag that is no MD5 says nothing about bytes elsewhere, so the name is added.
    """
    if is_md5(source.etag) and not source.is_manifest:
        return source.etag, source.object_size
    return f"{source.etag} {source.container}/{source.object}", source.object_size


def _blocks_of(part: Part) -> range:
    return range(part.start // BLOCK_SIZE, (part.end - 1) // BLOCK_SIZE + 1)
