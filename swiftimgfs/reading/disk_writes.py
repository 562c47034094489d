"""What came from Swift, put on the local disk: after its readers had it, and never false bytes.

Parts that were read at random go as they came. Those of an object that is being compared with
its MD5 are *staged*: on the disk under names that nobody else looks for, because memory does
not hold a large object to its end. Once the MD5 was right they are renamed to verified blocks,
which need not be compared again; were they wrong, they are removed, and whatever the disk has
of that object with them. Where nobody will ever know (the reader stopped half-way) they are
worth what a read at random is.

What holds:

1. One task of the mount writes, in order, in one thread; nobody waits for it.
2. Parts that wait for it stay in memory. They take at most `limit` bytes of it, or are one
   part: what comes while the disk is that far behind is not kept.
3. An object that was found wrong is not taken from the disk, nor put there, until the next
   mount: removing its blocks may have failed.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs.reading.block_cache import is_md5
from swiftimgfs.reading.block_files import AS_THEY_CAME, VERIFIED, staged
from swiftimgfs.reading.disk_cache import DISK_BLOCK
from swiftimgfs.reading.disk_reads import DISK_PATIENCE
from swiftimgfs.reading.verifier import Outcome

if TYPE_CHECKING:
    from swiftimgfs.reading.block_cache import ObjectKey, Part
    from swiftimgfs.reading.disk_cache import DiskCache
    from swiftimgfs.reading.disk_reads import DiskThreads

log = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]

LEAVING_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Trial:
    """Blocks of an object whose MD5 is still to be known.

    Attributes:
        key: Of the object.
        worth: What they are until then: this trial's alone.
        indexes: Which there are. The thread adds to it, the loop looks.
    """

    key: ObjectKey
    worth: str = field(default_factory=lambda: staged(uuid.uuid4().hex[:16]))
    indexes: set[int] = field(default_factory=set)


class DiskWriter:
    """Puts parts of objects on the disk, one after the other."""

    def __init__(self, cache: DiskCache, threads: DiskThreads, *, limit: int) -> None:
        """Let parts that wait for the disk take `limit` bytes of memory."""
        self._cache = cache
        self._threads = threads
        self._limit = limit
        self._waiting = 0  # bytes of parts
        self._trials: dict[object, _Trial] = {}
        self._trial_of: dict[ObjectKey, _Trial] = {}  # the latest
        self._wrong: set[ObjectKey] = set()
        self._todo, self._jobs = trio.open_memory_channel[Job](float("inf"))

    # ── called by what reads; none of it waits ─────────────────────────────────────────

    def keep(self, part: Part, trial: object | None = None) -> None:
        """Have a part that is complete put on the disk.

        Args:
            part: Of any object; those whose etag is no MD5 are not kept.
            trial: Stands for the comparison that will say what it is worth, if one will.
        """
        if not is_md5(part.key[0]) or part.is_proven or part.key in self._wrong:
            return
        if self._waiting and self._waiting + part.size > self._limit:
            log.debug(
                "not kept, the disk is too slow etag=%s start=%d", part.key[0], part.start
            )
            return
        self._waiting += part.size
        part.pins += 1
        known = None if trial is None else self._trial(trial, part.key)
        self._todo.send_nowait(functools.partial(self._put, part, known))

    def settle(self, trial: object, outcome: Outcome, key: ObjectKey) -> None:
        """Say what the blocks that were kept under a trial are worth now."""
        if outcome is Outcome.WRONG:
            self._wrong.add(key)
            self._todo.send_nowait(functools.partial(self._remove_object, key))
        known = self._trials.pop(trial, None)
        if known is not None:
            self._todo.send_nowait(functools.partial(self._settle, known, outcome))

    def worths(self, key: ObjectKey, index: int) -> list[str]:
        """Return what a block may be worth that readers of this mount are given, best first."""
        if key in self._wrong:
            return []
        trial = self._trial_of.get(key)
        own = [trial.worth] if trial is not None and index in trial.indexes else []
        return [VERIFIED, *own, AS_THEY_CAME]

    async def has_verified(self, key: ObjectKey) -> bool:
        """Return whether the disk has all of an object, verified when it was put there."""
        found = False
        etag, size = key

        def blocking() -> None:
            nonlocal found
            blocks = range(-(-size // DISK_BLOCK))
            found = all(self._cache.has(etag, size, index, VERIFIED) for index in blocks)

        if key not in self._wrong:
            with trio.move_on_after(DISK_PATIENCE):
                await self._threads.read_disk(blocking)
        return found

    # ── the task ───────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Do what there is to do, until cancelled; then the rest of it, for a while."""
        try:
            async for job in self._jobs:
                await job()
        finally:
            with trio.move_on_after(LEAVING_SECONDS, shield=True) as scope:
                await self._leave()
            if scope.cancelled_caught:
                log.warning("not all that was read is in the disk cache: it is too slow")

    async def _leave(self) -> None:
        for trial, known in list(self._trials.items()):
            self.settle(trial, Outcome.UNKNOWN, known.key)
        with contextlib.suppress(trio.WouldBlock):
            while True:
                await self._jobs.receive_nowait()()

    def _trial(self, trial: object, key: ObjectKey) -> _Trial:
        if trial not in self._trials:
            self._trials[trial] = self._trial_of[key] = _Trial(key)
        return self._trials[trial]

    async def _put(self, part: Part, trial: _Trial | None) -> None:
        try:
            await self._threads.write_disk(functools.partial(self._put_blocks, part, trial))
        finally:
            self._waiting -= part.size
            part.pins -= 1

    def _put_blocks(self, part: Part, trial: _Trial | None) -> None:
        etag, size = part.key
        worth = trial.worth if trial else AS_THEY_CAME
        for first, count in self._not_verified(part):
            start = first * DISK_BLOCK - part.start
            data = part.view[start : start + count * DISK_BLOCK]
            self._cache.put_all(etag, size, first, data, worth)
            if trial:
                trial.indexes.update(range(first, first + count))

    def _not_verified(self, part: Part) -> Iterator[tuple[int, int]]:
        """Yield (first, count) of the runs of blocks that need not be there already."""
        etag, size = part.key
        first = part.start // DISK_BLOCK
        end = -(-part.end // DISK_BLOCK)
        for index in range(first, end):
            if self._cache.has(etag, size, index, VERIFIED):
                if index > first:
                    yield first, index - first
                first = index + 1
        if end > first:
            yield first, end - first

    async def _settle(self, trial: _Trial, outcome: Outcome) -> None:
        etag, size = trial.key

        def blocking() -> None:
            indexes = sorted(trial.indexes)  # by now all that were put
            if outcome is Outcome.WRONG:
                self._cache.remove(etag, size, indexes, [trial.worth])
            else:
                new = VERIFIED if outcome is Outcome.RIGHT else AS_THEY_CAME
                self._cache.revalue(etag, size, indexes, trial.worth, new)

        await self._threads.write_disk(blocking)
        trial.indexes.clear()
        if self._trial_of.get(trial.key) is trial:
            del self._trial_of[trial.key]

    async def _remove_object(self, key: ObjectKey) -> None:
        etag, size = key
        blocks = range(-(-size // DISK_BLOCK))
        worths = [VERIFIED, AS_THEY_CAME]
        await self._threads.write_disk(lambda: self._cache.remove(etag, size, blocks, worths))
