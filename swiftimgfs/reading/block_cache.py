"""Recently read blocks of stored objects, in memory, bounded in bytes.

A block is `BLOCK_SIZE` bytes of one object (the last one of it: what is left), keyed by the
object's etag, so that a changed object never shows old bytes and a renamed image keeps its
blocks. Concurrent readers of one block cause one GET: the first starts it, all wait on it.

Invariants: the bytes held are at most `limit` and what is being fetched on demand; a block
that is being filled or waited for is never evicted. Nothing here awaits but `Block.wait`, so every other
method is atomic for the other tasks. A block's buffer is used again after eviction: that
is safe because a reply goes to the kernel before anything else runs (pyfuse3 writes it
without a checkpoint), and it spares the first touch of fresh memory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from swiftimgfs import errors
    from swiftimgfs.layout import Stored

# The kernel asks for 1 MiB at most; a random read of 4 KiB should not cost much more.
BLOCK_SIZE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BlockKey:
    """Block number `index` of one version of one object."""

    container: str
    object: str
    etag: str
    index: int


class Block:
    """One block, filled from its start while readers already take what is there."""

    __slots__ = ("_arrivals", "_waiting", "buffer", "failure", "filled", "size")

    def __init__(self, buffer: bytearray, size: int) -> None:
        """Use the first `size` bytes of `buffer`."""
        self.buffer = buffer
        self.size = size
        self.filled = 0
        self.failure: errors.SwiftImgFsError | None = None
        self._arrivals = trio.lowlevel.ParkingLot()
        self._waiting = 0

    @property
    def view(self) -> memoryview:
        """The whole block, filled or not."""
        return memoryview(self.buffer)[: self.size]

    @property
    def is_settled(self) -> bool:
        """Whether nobody is filling it any more."""
        return self.filled == self.size or self.failure is not None

    @property
    def is_evictable(self) -> bool:
        """Whether nobody fills it and nobody who was woken has yet to look at it."""
        return self.is_settled and not self._waiting

    def arrived(self, count: int) -> None:
        """Say that `count` bytes more are in place."""
        self.filled += count
        self._arrivals.unpark_all()

    def failed(self, failure: errors.SwiftImgFsError) -> None:
        """Say that no more bytes will come, and why."""
        self.failure = failure
        self._arrivals.unpark_all()

    async def wait(self, end: int) -> None:
        """Return when the bytes up to `end` are in place; look at them before the next await.

        Raises:
            SwiftImgFsError: What filling it failed with.
        """
        self._waiting += 1
        try:
            while self.filled < end:
                if self.failure is not None:
                    raise self.failure
                await self._arrivals.park()
        finally:
            self._waiting -= 1


class BlockCache:
    """Blocks by key, the least recently used ones going first."""

    def __init__(self, limit: int) -> None:
        """Hold `limit` bytes, but never fewer than one block."""
        self._limit = max(limit, BLOCK_SIZE)
        self._blocks: OrderedDict[BlockKey, Block] = OrderedDict()
        self._held = 0
        self._spare: list[bytearray] = []

    @property
    def limit(self) -> int:
        """Bytes that may be held."""
        return self._limit

    def get(self, key: BlockKey) -> Block | None:
        """Return the block, which is now the most recently used one; None if it is not here."""
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._blocks

    def add(self, source: Stored, index: int) -> Block:
        """Make room for, and return, an empty block that the caller now has to fill."""
        self._evict(self._limit - BLOCK_SIZE)
        size = min(BLOCK_SIZE, source.object_size - index * BLOCK_SIZE)
        buffer = self._spare.pop() if self._spare else bytearray(BLOCK_SIZE)
        block = Block(buffer, size)
        self._blocks[key_of(source, index)] = block
        self._held += BLOCK_SIZE
        return block

    def has_room(self) -> bool:
        """Return whether a block more can be had without going over the limit."""
        if self._held + BLOCK_SIZE <= self._limit:
            return True
        return any(block.is_evictable for block in self._blocks.values())

    def drop(self, source: Stored, index: int) -> None:
        """Forget a block whose filling failed, so that the next reader tries again."""
        if self._blocks.pop(key_of(source, index), None) is not None:
            self._held -= BLOCK_SIZE

    def _evict(self, down_to: int) -> None:
        if self._held <= down_to:
            return
        for key in [key for key, block in self._blocks.items() if block.is_evictable]:
            self._spare.append(self._blocks.pop(key).buffer)
            self._held -= BLOCK_SIZE
            if self._held <= down_to:
                return


def key_of(source: Stored, index: int) -> BlockKey:
    """Return the key of a block of the object that `source` is in."""
    return BlockKey(source.container, source.object, source.etag, index)
