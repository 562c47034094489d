"""Whole objects compared with their MD5 as their parts pass.

Swift's etag of a plain object is the MD5 of its bytes. A check follows an object from its first
byte on, part by part, as they come or are in the cache already, and hashes them in a thread.
The last part is held back until the MD5 is known, so that no reader gets a segment to its end
that is not what it says it is. Parts that come before those in front of them wait in the cache
like others; where something in between never comes, the check stays where it is.

When the MD5 is another one, the segment is fetched once more and hashed on the way:

- If that is right, the first fetch was damaged on its way here. Where it differed is known
  by the digests after each part: if only in the part that was held back, that is replaced
  and nobody notices; else somebody may have been given false bytes, and is told (EIO).
- If not, Swift has other bytes than it says, and who reads on is told (EIO).

An object that the local disk has all of, verified before it was put there, is not hashed
again: each block's CRC-32 has been right. What becomes of the parts, a `Keeper` is told.
"""

from __future__ import annotations

import enum
import hashlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from swiftimgfs import errors
from swiftimgfs.reading.block_cache import is_md5, key_of
from swiftimgfs.reading.chunks import fetch_whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swiftimgfs.layout import Stored
    from swiftimgfs.reading.block_cache import BlockCache, ObjectKey, Part
    from swiftimgfs.reading.chunks import RangeStore, Retry

log = logging.getLogger(__name__)

# How long a segment that was found wrong is refused: then Swift may have repaired it.
REFUSAL_SECONDS: Final = 60.0
UNHASHED_SHARE: Final = 4  # this part of the cache may wait to be hashed
MOST_CHECKS: Final = 256  # objects that were begun: those that nobody reads on are forgotten


class Outcome(enum.Enum):
    """What the comparison of an object with its MD5 came to."""

    RIGHT = enum.auto()
    WRONG = enum.auto()
    UNKNOWN = enum.auto()  # it did not pass to its end


class Keeper(Protocol):
    """Who keeps what has passed. Nothing of it waits, but for asking."""

    def keep(self, part: Part, check: object | None = None) -> None:
        """Take a part that is complete; with a check, `settle` will say what it is worth."""

    def settle(self, check: object, outcome: Outcome, key: ObjectKey) -> None:
        """Take note of what a check came to."""

    async def has_verified(self, key: ObjectKey) -> bool:
        """Return whether all of an object is kept, and was right before."""


class KeepsNothing:
    """A `Keeper` where there is no place to keep anything."""

    def keep(self, part: Part, check: object | None = None) -> None:
        """Do nothing."""

    def settle(self, check: object, outcome: Outcome, key: ObjectKey) -> None:
        """Do nothing."""

    async def has_verified(self, key: ObjectKey) -> bool:  # noqa: ARG002  # of any object
        """Return that it is not."""
        return False


@dataclass(slots=True, eq=False)
class _Check:
    """One object on its way past.

    Attributes:
        is_vouched: Nothing is hashed: all of it is on the disk, and was right before.
        position: Up to where it was hashed.
        owed: By their start, the parts that are being fetched or wait to be hashed; pinned.
        marks: (end, digest so far) after each part.
    """

    digest: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    position: int = 0
    owed: dict[int, Part] = field(default_factory=dict)
    marks: list[tuple[int, bytes]] = field(default_factory=list)
    is_hashing: bool = False
    is_vouched: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing more of the object is on its way."""
        return not self.owed and not self.is_hashing


class Verifier:
    """The MD5s of the objects that are being read."""

    def __init__(
        self,
        store: RangeStore,
        cache: BlockCache,
        retry: Retry,
        in_thread: Callable[[Callable[[], None]], Awaitable[None]],
        *,
        is_on: bool,
        keeper: Keeper | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._retry = retry
        self._in_thread = in_thread
        self._is_on = is_on
        self._keeper = keeper or KeepsNothing()
        self._checks: dict[ObjectKey, _Check] = {}
        self._owed = 0  # bytes that are here or on their way, and held until they are hashed
        self._progress = trio.lowlevel.ParkingLot()
        self._wrong: dict[ObjectKey, tuple[float, errors.CorruptDataError]] = {}
        self.verified: dict[ObjectKey, float] = {}  # when, in seconds since the epoch

    @property
    def is_behind(self) -> bool:
        """Whether so much is to be hashed that nothing more should be fetched ahead.

        Who reads faster than a processor hashes (MD5: 730 MB/s) would fill the cache with
        parts that cannot be evicted yet. What is on its way counts too: then a part is
        fetched whenever one was hashed, and both go on side by side.
        """
        return self._owed > 0 and self._owed >= self._cache.limit // UNHASHED_SHARE

    async def catch_up(self) -> None:
        """Return when it is not behind."""
        while self.is_behind:
            await self._progress.park()

    def check(self, source: Stored) -> None:
        """Refuse an object that was found wrong a moment ago.

        Raises:
            CorruptDataError: It was.
        """
        if self.is_refused(source):
            raise errors.CorruptDataError(str(self._wrong[key_of(source)][1]))

    def is_refused(self, source: Stored) -> bool:
        """Return whether an object was found wrong a moment ago."""
        if not self._wrong:
            return False
        found = self._wrong.get(key_of(source))
        if found is None:
            return False
        if trio.current_time() - found[0] < REFUSAL_SECONDS:
            return True
        del self._wrong[key_of(source)]
        return False

    def expect(self, part: Part) -> None:
        """Take note of a part that is about to be fetched; hold it back if it is the last."""
        if not self._is_on or not is_md5(part.key[0]):
            return
        check = self._checks.get(part.key)
        if check is None or (check.is_idle and part.start == 0):
            if not self._reaches(part.key, 0, part.start):
                return  # nobody reads it from the beginning
            check = self._begin(part.key)
        if part.end <= check.position:
            return  # it was hashed, and evicted since
        check.owed[part.start] = part
        part.pins += 1
        self._owed += part.size
        is_last = part.end == part.key[1]
        part.is_gated = is_last and self._reaches(part.key, check.position, part.start)

    def missed(self, part: Part) -> None:
        """Take note of a part that could not be fetched; the cache has forgotten it."""
        check = self._checks.get(part.key)
        if check is not None:
            self._settle(check, part)
            self._let_go_unreachable(part.key, check)

    async def passed(self, source: Stored, part: Part) -> None:
        """Hash a part that is here, and what follows it, when all before it was hashed."""
        check = self._checks.get(part.key)
        if check is None or check.owed.get(part.start) is not part:
            part.release()
            if check is None or part.end <= check.position:
                self._keeper.keep(part)
        if check is None or check.is_hashing:
            return
        check.is_hashing = True
        try:
            if part.start == 0 and part.is_proven:
                check.is_vouched = await self._keeper.has_verified(part.key)
            while (following := self._following(part.key, check)) is not None:
                await self._hash(check, following)
        finally:
            check.is_hashing = False
        if check.position == part.key[1]:
            await self._compare(source, part.key, check)
        else:
            self._let_go_unreachable(part.key, check)

    def _begin(self, key: ObjectKey) -> _Check:
        if len(self._checks) >= MOST_CHECKS or key in self._checks:
            idle = [k for k, check in self._checks.items() if check.is_idle]
            for forgotten in [key] if key in self._checks else idle:
                self._keeper.settle(self._checks.pop(forgotten), Outcome.UNKNOWN, forgotten)
        check = self._checks[key] = _Check()
        return check

    def _reaches(self, key: ObjectKey, start: int, end: int) -> bool:
        """Return whether all of an object between `start` and `end` is here or on its way."""
        while start < end:
            part = self._cache.get(key, start)
            if part is None:
                return False
            start = part.end
        return True

    def _following(self, key: ObjectKey, check: _Check) -> Part | None:
        """Return the part that is to be hashed next, when it is here."""
        part = self._cache.get(key, check.position) if check.position < key[1] else None
        return part if part is not None and part.filled == part.size else None

    async def _hash(self, check: _Check, part: Part) -> None:
        view = part.view[check.position - part.start :]

        def blocking() -> None:
            check.digest.update(view)

        part.pins += 1
        try:
            if not check.is_vouched:
                await self._in_thread(blocking)
        finally:
            part.pins -= 1
        self._keeper.keep(part, None if check.is_vouched else check)
        check.position = part.end
        check.marks.append((part.end, check.digest.digest()))
        self._settle(check, part)

    async def _compare(self, source: Stored, key: ObjectKey, check: _Check) -> None:
        del self._checks[key]
        for part in tuple(check.owed.values()):
            self._settle(check, part)
        last = self._cache.get(key, key[1] - 1)
        is_right = check.digest.hexdigest() == key[0]
        if not check.is_vouched:
            outcome = Outcome.RIGHT if is_right else Outcome.WRONG
            self._keeper.settle(check, outcome, key)
        if is_right and not check.is_vouched:
            self.verified[key] = time.time()
        if is_right or check.is_vouched:
            if last is not None:
                last.release()
            return
        log.error(
            "wrong bytes, fetching again object=%s/%s md5=%s etag=%s",
            source.container,
            source.object,
            check.digest.hexdigest(),
            key[0],
        )
        await self._fetch_again(source, key, check, last)

    async def _fetch_again(
        self, source: Stored, key: ObjectKey, check: _Check, last: Part | None
    ) -> None:
        what = f"{source.container}/{source.object}"
        try:
            differs_at, again, scratch = await self._second_look(source, check)
        except errors.SwiftImgFsError as failure:
            self._refuse(
                key, last, errors.CorruptDataError(f"{what}: wrong, and then: {failure}")
            )
            return
        if again != key[0]:
            reason = f"{what}: its MD5 is {again}, and Swift says {key[0]}"
            self._refuse(key, last, errors.CorruptDataError(reason))
        elif last is not None and differs_at >= last.start and len(scratch) == last.size:
            last.view[:] = scratch
            self.verified[key] = time.time()
            last.release()
            log.warning("damaged on its way, and good the second time object=%s", what)
        else:
            reason = f"{what}: was damaged on its way, from byte {differs_at} on"
            self._refuse(key, last, errors.CorruptDataError(reason))

    async def _second_look(self, source: Stored, check: _Check) -> tuple[int, str, bytearray]:
        """Return where the object differs from what was seen, its MD5, and its last part."""
        digest = hashlib.md5(usedforsecurity=False)
        start, differs_at, buffer = 0, -1, bytearray()
        for end, seen in check.marks:
            buffer = bytearray(end - start)
            target = _Scratch(memoryview(buffer))
            await fetch_whole(
                self._store, source.advance(start - source.start), target, self._retry
            )
            digest.update(buffer)
            if differs_at < 0 and digest.digest() != seen:
                differs_at = start
            start = end
        return differs_at, digest.hexdigest(), buffer

    def _refuse(
        self, key: ObjectKey, last: Part | None, failure: errors.CorruptDataError
    ) -> None:
        log.error("refused reason=%s", failure)
        self._wrong[key] = (trio.current_time(), failure)
        for part in self._cache.parts_of(key):
            self._cache.drop(part)
        if last is not None:
            last.refuse(failure)

    def _let_go_unreachable(self, key: ObjectKey, check: _Check) -> None:
        """Let go what waits to be hashed when something before it is not coming.

        It stays in the cache for as long as it would anyway, and may be hashed there.
        """
        for part in sorted(check.owed.values(), key=lambda part: part.start):
            is_here = part.filled == part.size
            is_known = self._cache.get(key, part.start) is part  # not dropped as false
            if is_here and not (is_known and self._reaches(key, check.position, part.start)):
                self._settle(check, part)
                part.release()
                self._keeper.keep(part)

    def _settle(self, check: _Check, part: Part) -> None:
        """Say that a part, if it was owed, is not waited for any more."""
        if check.owed.get(part.start) is part:
            del check.owed[part.start]
            part.pins -= 1
            self._owed -= part.size
            self._progress.unpark_all()


class _Scratch:
    """A buffer to fetch into that nobody reads from meanwhile."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.size = len(view)
        self.filled = 0

    def rest(self) -> memoryview:
        """Return the buffer for what is still missing."""
        return self._view[self.filled :]

    def arrived(self, count: int) -> None:
        """Say that `count` bytes more are in place."""
        self.filled += count

    def abandon(self) -> None:
        """Do nothing: the buffer is used once."""
