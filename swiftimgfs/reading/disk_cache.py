"""Blocks of stored objects on a local disk: a remount finds them, mounts of a host share them.

A block is keyed by the etag and the size of its object and by its number, never by a name: it
is as good after a rename, for another image with the same segment, for another mount. Each
is a file of its own (`block_files`), because a file can be made whole and removed whole while
others read, with nothing to mend after a `kill -9`. One large file of many blocks gains 7 µs of
a hit's 300 (no open, fstat, utime, close) and nothing on blocks that are new, and it would need
an index that all mounts agree on; sparse files per segment could not give back a block's space
(Python has no fallocate to punch holes with), only a segment's.

What holds, with any number of threads and processes, killed at any moment:

1. The blocks of the directory take at most `limit` bytes, of the limit of who writes: room is
   made, and noted in the ledger, before a byte is written, all under one lock. A ledger that
   is wrong is wrong on the safe side until the next count.
2. `get` never gives what `put` was not given: a file that is cut or damaged fails its checksum
   and is removed. No fsync: what a power failure ate, fails too. To remove is all that `get`
   waits for a lock for.
3. The least recently used block goes first, whichever mount used it. A count of the
   directory finds the oldest 16,384; which of them was used since is passed over.
4. A twentieth of the filesystem stays free: when others fill it, blocks go.
5. Trouble costs blocks and never a read. After a failure nothing is put for a while.

A block is as large as a block in memory, so that a read at random is kept, and fetches no
more than it asks for. What each MiB takes on the Xeon this was written on, in ms, in blocks of

| 128 KiB | 256 KiB | 1 MiB | |
|---:|---:|---:|---|
| 1.4 | 1.1 | 0.8 | put (ext4; 40 µs of a block are its bytes, 16 its CRC, the rest its file) |
| 0.5 | 0.4 | 0.3 | got from the page cache |
| 3.4 | 2.3 | 1.9 | got from the disk by one thread |

and 8 µs are lost on a block that is not there. So smaller blocks cost a sequential read 0.2 ms
a MiB more, still 2 GB/s of one core, where larger ones would keep nothing of random reads,
or fetch eight times what they ask for.

CRC-32 is the checksum, because it meets chance and not malice here (who may write the
directory is us) and is the fastest in the standard library. One MiB takes, in µs, on the
Xeon this was written on: zlib.crc32 181, adler32 263 (and weak on short blocks), sha1 468,
sha256 533 (both with SHA instructions), blake2b 960, md5 1210.

Lock order: the threads' lock, then the directory's. Both are waited for `_PATIENCE` at the
longest, because a mount may be frozen while it holds one.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs.reading.block_files import (
    AS_THEY_CAME,
    LARGEST_BLOCK,
    VERIFIED,
    BlockFile,
    BlockFiles,
    Found,
    cost_of,
    name_of,
    trailer_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

DISK_BLOCK: Final = LARGEST_BLOCK

# So many go before the directory is counted again: that takes 0.4 s of 100,000 blocks, 26 µs
# of each put, and these take 3 MB.
_VICTIMS: Final = 16384
_PATIENCE: Final = 0.5
_REST: Final = 10.0
_PUT_AT_ONCE: Final = 8  # 1.5 ms under the lock; half of what a block takes is not its bytes
_BATCH: Final = 64  # names that are changed under one lock: a millisecond
_WARNING_INTERVAL: Final = 60.0


@dataclass(frozen=True, slots=True)
class DiskSnapshot:
    """What a disk cache does.

    Attributes:
        limit: Bytes that blocks may take, of all mounts.
        used: Bytes that they took when this mount looked last.
        hits: Blocks that were asked for and found.
        misses: Blocks that were not.
        damaged: Blocks that were found damaged, and removed.
    """

    directory: str
    limit: int
    used: int
    hits: int
    misses: int
    damaged: int


class DiskCache:
    """Blocks in a directory, for worker threads."""

    def __init__(self, directory: Path, limit: int) -> None:
        """Open `directory`, made if need be, and bring what is there under `limit` bytes.

        Raises:
            ConfigError: It is no directory of ours alone, or cannot be made or written.
        """
        self._files = BlockFiles(directory)
        self._path: Final = directory
        self._limit: Final = limit
        self._threads_lock = threading.Lock()
        self._victims: deque[BlockFile] = deque()
        self._rest_until = self._silent_until = -math.inf
        self._is_open = True
        # For who looks: threads may lose one now and then, and nothing depends on them.
        self._hits = self._misses = self._damaged = self._seen_used = 0
        self._attempt(self._trim)

    def close(self) -> None:
        """Let go of the directory, when no other thread uses this any more; all is a miss then."""
        self._is_open = False
        self._files.close()

    def snapshot(self) -> DiskSnapshot:
        """Return what it does, without asking the disk."""
        return DiskSnapshot(
            str(self._path),
            self._limit,
            self._seen_used,
            self._hits,
            self._misses,
            self._damaged,
        )

    def has(self, etag: str, object_size: int, index: int, worth: str = AS_THEY_CAME) -> bool:
        """Return whether there seems to be a block: what `get` may find, or find damaged."""
        if not self._is_open:
            return False
        try:
            return self._files.has(name_of(etag, object_size, index, worth))
        except OSError as failure:
            self._warn(failure)
            return False

    def get(
        self,
        etag: str,
        object_size: int,
        index: int,
        buffer: memoryview,
        worth: str = AS_THEY_CAME,
    ) -> bool:
        """Fill `buffer` with a block; return False when it is not there, or was damaged.

        Args:
            etag: Of the object that has the block, of any form.
            object_size: In bytes.
            index: Number of the block in the object.
            buffer: As long as the block. After False anything may be in it.
            worth: What its bytes have to be worth, just that.
        """
        assert len(buffer) == size_of(object_size, index)  # noqa: S101  # not a damaged file
        if not self._is_open:
            return False
        name = name_of(etag, object_size, index, worth)
        try:
            found = self._files.read(name, buffer)
        except OSError as failure:
            self._warn(failure)
            return False
        self._hits += found is Found.INTACT
        self._misses += found is not Found.INTACT
        if found is Found.DAMAGED:
            self._damaged += 1
            log.info("damaged block removed directory=%s file=%s", self._path, name)
            self._attempt(lambda: self._remove(name))
        return found is Found.INTACT

    def put(
        self,
        etag: str,
        object_size: int,
        index: int,
        data: memoryview,
        worth: str = AS_THEY_CAME,
    ) -> None:
        """Keep a block, if that can be done: a failure is logged and told to nobody."""
        assert len(data) == size_of(object_size, index)  # noqa: S101  # see `get`
        self.put_all(etag, object_size, index, data, worth)

    def put_all(
        self,
        etag: str,
        object_size: int,
        first: int,
        data: memoryview,
        worth: str = AS_THEY_CAME,
    ) -> None:
        """Keep blocks that follow each other, several of them under one lock."""
        blocks = []
        for start in range(0, len(data), DISK_BLOCK):
            name = name_of(etag, object_size, first + start // DISK_BLOCK, worth)
            blocks.append((name, data[start : start + DISK_BLOCK]))
        count = min(_PUT_AT_ONCE, max(1, self._limit // (4 * cost_of(DISK_BLOCK))))
        for start in range(0, len(blocks), count):
            self._put_batch(blocks[start : start + count])

    def _put_batch(self, blocks: Sequence[tuple[str, memoryview]]) -> None:
        if self._is_resting or any(cost_of(len(data)) > self._limit for _, data in blocks):
            return
        signed = [(name, data, trailer_of(name, data)) for name, data in blocks]
        self._attempt(lambda: self._write(signed))

    def revalue(
        self, etag: str, object_size: int, indexes: Sequence[int], worth: str, new_worth: str
    ) -> None:
        """Say what blocks that are here are worth now; as they came none stays beside these."""

        def change(index: int) -> None:
            self._rename(
                name_of(etag, object_size, index, worth),
                name_of(etag, object_size, index, new_worth),
            )
            if new_worth == VERIFIED:
                self._remove(name_of(etag, object_size, index))

        self._change_all(indexes, change)

    def remove(
        self, etag: str, object_size: int, indexes: Sequence[int], worths: Iterable[str]
    ) -> None:
        """Remove blocks, of any of these worths."""

        def change(index: int) -> None:
            for worth in worths:
                self._remove(name_of(etag, object_size, index, worth))

        self._change_all(indexes, change)

    def _change_all(self, indexes: Sequence[int], change: Callable[[int], None]) -> None:
        """Change blocks in batches, between which others have their turn."""
        for start in range(0, len(indexes), _BATCH):
            batch = indexes[start : start + _BATCH]
            if self._is_open:
                self._attempt(lambda batch=batch: _for_each(batch, change))  # type: ignore[misc]

    @property
    def _is_resting(self) -> bool:
        return not self._is_open or time.monotonic() < self._rest_until

    def _trim(self) -> None:
        used = self._make_room(self._count(), self._limit)
        self._note_used(used)
        log.info("disk cache directory=%s used=%d limit=%d", self._path, used, self._limit)

    def _write(self, blocks: Sequence[tuple[str, memoryview, bytes]]) -> None:
        new = [block for block in blocks if not self._files.has(block[0])]
        if not new:  # another mount was quicker
            return
        used = self._used()
        cost = sum(cost_of(len(data)) for _, data, _ in new)
        target = min(self._limit, used + self._files.room()) - cost
        used = self._make_room(used, target)
        if used > target:
            self._note_used(used)
            raise OSError("the filesystem is nearly full")
        self._note_used(used + cost)
        for name, data, trailer in new:
            try:
                self._files.write(name, data, trailer)
            except OSError:
                self._note_used(used)
                raise
            used += cost_of(len(data))

    def _rename(self, name: str, new_name: str) -> None:
        if self._files.has(new_name):
            self._remove(name)
        else:
            self._files.rename(name, new_name)

    def _remove(self, name: str) -> None:
        if self._files.has(name):
            self._note_used(self._used() - self._files.remove(name))

    def _note_used(self, used: int) -> None:
        self._files.note_used(used)
        self._seen_used = used

    def _used(self) -> int:
        used = self._files.used()
        return self._count() if used is None else used

    def _make_room(self, used: int, target: int) -> int:
        """Remove blocks until `target` bytes are used, or none is left; return what is used."""
        while used > target:
            if self._victims:
                oldest = self._victims.popleft()
                used -= self._files.remove(oldest.name, stamp=oldest.stamp)
                continue
            used = self._count()
            if not self._victims:
                break
        return used

    def _count(self) -> int:
        """Find the oldest blocks; return the bytes that all of them take."""
        used = 0

        def adding_up() -> Iterator[BlockFile]:
            nonlocal used
            for block in self._files.blocks():
                used += block.cost
                yield block

        self._victims = deque(heapq.nsmallest(_VICTIMS, adding_up()))
        return used

    def _attempt(self, change: Callable[[], None]) -> None:
        """Do what changes the directory under both locks, or fail with no more than a warning."""
        if not self._threads_lock.acquire(timeout=_PATIENCE):
            self._give_up(BlockingIOError("another thread still writes"))
            return
        try:
            with self._files.locked(_PATIENCE):
                change()
        except OSError as failure:
            self._give_up(failure)
        finally:
            self._threads_lock.release()

    def _give_up(self, failure: OSError) -> None:
        """Leave the disk alone for a while: who has to wait for it is a reader in the end."""
        self._rest_until = time.monotonic() + _REST
        self._warn(failure)

    def _warn(self, failure: OSError) -> None:
        """Log that the disk fails us, not more often than once a minute."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _WARNING_INTERVAL
            log.warning("disk cache fails directory=%s reason=%s", self._path, failure)


def _for_each(indexes: Iterable[int], change: Callable[[int], None]) -> None:
    for index in indexes:
        change(index)


def size_of(object_size: int, index: int) -> int:
    """Return the bytes of block `index` of an object."""
    return min(DISK_BLOCK, object_size - index * DISK_BLOCK)
