"""How many bytes of all images together may wait for Swift: the back-pressure of write().

Two limits: what is in memory, and that with what is in the spool. Who is at the second one
waits for uploads; when none is on its way, the writer with the most to give starts one.
So nobody waits for what nobody does. Nothing here awaits but `freed`, `filled`, `emptied`, `have_memory`,
`have_room` and `completing`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import trio

from swiftimgfs import errors
from swiftimgfs.writing.hooks import NoLender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from swiftimgfs.writing.hooks import MemoryLender


class Reliever(Protocol):
    """A writer with dirty bytes."""

    @property
    def dirty_bytes(self) -> int:
        """How many."""
        ...

    def relieve(self) -> bool:
        """Free bytes, or start an upload that will; return whether it could."""
        ...


@dataclass(frozen=True, slots=True)
class DirtySnapshot:
    """What waits for Swift.

    Attributes:
        memory: Bytes in memory.
        memory_limit: Bytes that may be.
        spooled: Bytes on this host's disk.
        spool_limit: Bytes that may wait in all.
        uploads: Segments that are on their way, or about to be.
    """

    memory: int
    memory_limit: int
    spooled: int
    spool_limit: int
    uploads: int


class DirtyBudget:
    """The dirty bytes of a mount.

    Attributes:
        uploads: How many uploads are on their way, or about to be.
    """

    def __init__(
        self, memory_limit: int, spool_size: int, lender: MemoryLender | None = None
    ) -> None:
        self.memory_limit: Final = memory_limit
        self.uploads = 0
        self._spool_size = spool_size
        self._lender = lender or NoLender()
        self._memory = 0
        self._spooled = 0
        self._completing = 0
        self._writers: set[Reliever] = set()
        self._waiting = trio.lowlevel.ParkingLot()
        self._changing = trio.lowlevel.ParkingLot()  # who waits for something, or nothing

    @property
    def used(self) -> int:
        """Bytes that wait for Swift."""
        return self._memory + self._spooled

    def snapshot(self) -> DirtySnapshot:
        """Return what waits now."""
        return DirtySnapshot(
            self._memory, self.memory_limit, self._spooled, self._spool_size, self.uploads
        )

    def has_room(self, size: int) -> bool:
        """Return whether `size` bytes more may wait; a giant may when it is alone."""
        return not self.used or self.used + size <= self._spool_size

    def has_memory(self, size: int) -> bool:
        """Return whether `size` bytes more may wait in memory."""
        return self._memory + size <= self.memory_limit

    def adjust(self, memory: int, spooled: int) -> None:
        """Count bytes that are there from now on, or with a minus are no more."""
        was_used = bool(self.used)
        self._memory += memory
        self._spooled += spooled
        self._borrow(memory)
        if bool(self.used) is not was_used:
            self._changing.unpark_all()
        if memory < 0 or spooled < 0:
            self.wake()

    async def have_memory(self, size: int, enough: int) -> None:
        """Return when `size` bytes more may wait in memory, or fewer than `enough` uploads run."""
        while self.uploads >= enough and not self.has_memory(size):
            await self.freed()

    async def have_room(self, size: int, check: Callable[[], None]) -> None:
        """Return when `size` bytes more may wait for Swift.

        Args:
            size: Bytes.
            check: Raises what is a reason not to wait.

        Raises:
            HostFullError: All room is taken, and nobody can free any.
        """
        while not self.has_room(size):
            can_wait = self.relieve() or self.uploads
            if self.has_room(size):
                break
            check()
            if not can_wait:
                raise errors.HostFullError("spool_size is used up by what Swift does not take")
            await self.freed()
        check()

    def relieve(self) -> bool:
        """Have the writer with the most dirty bytes free some; return whether any could."""
        writers = sorted(self._writers, key=lambda writer: writer.dirty_bytes, reverse=True)
        return any(writer.relieve() for writer in writers)

    def enter(self, writer: Reliever) -> None:
        """Have a writer asked when bytes have to be freed."""
        self._writers.add(writer)

    def leave(self, writer: Reliever) -> None:
        """Ask it no more."""
        self._writers.discard(writer)

    def wake(self) -> None:
        """Have everybody who waits look again."""
        self._waiting.unpark_all()

    async def filled(self) -> None:
        """Return when something waits for Swift."""
        while not self.used:
            await self._changing.park()

    async def emptied(self) -> None:
        """Return when nothing waits for Swift."""
        while self.used:
            await self._changing.park()

    async def freed(self) -> None:
        """Return when something was freed, or an upload has ended."""
        await self._waiting.park()

    @asynccontextmanager
    async def completing(self, size: int) -> AsyncIterator[None]:
        """Have `size` bytes of memory, to complete a segment with what Swift has of it.

        These are apart from the dirty ones, which an upload that waited for them could
        keep from ever going.
        """
        limit = self.memory_limit // 4
        while size and self._completing and self._completing + size > limit:
            await self.freed()
        self._completing += size
        self._borrow(size)
        try:
            yield
        finally:
            self._completing -= size
            self._borrow(-size)
            self.wake()

    def _borrow(self, size: int) -> None:
        if size > 0:
            self._lender.lend(size)
        elif size < 0:
            self._lender.give_back(-size)
