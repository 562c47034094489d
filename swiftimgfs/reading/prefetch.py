"""What to fetch before it is asked for: cursors, and how far each looks ahead.

A `Cursor` follows one sequential reader of an image. Several live on one image, because tools
read metadata and data in turn, and the kernel reorders its own read-ahead. A read elsewhere
starts another cursor, which fetches nothing ahead until it was read on from; so random reads
cost what they ask for, and a reader who turns sequential is soon known as one.

How far a cursor looks ahead doubles only when its reader had to wait, and never beyond its
share of the cache, which shrinks as there are more readers.

Source: mountpoint-s3's windows that grow on a stall, JuiceFS's several sessions a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from swiftimgfs.layout import Stored
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE

if TYPE_CHECKING:
    from swiftimgfs.layout import Layout
    from swiftimgfs.reading.fetcher import Fetcher

MIB: Final = 1024 * 1024
CURSORS: Final = 8
FIRST_WINDOW: Final = MIB
LARGEST_WINDOW: Final = 8 * PART_SIZE  # as many GETs as there are connections
# What was read in order before it is taken for a habit: the kernel reads a request of 256 KiB
# in two, and others lie near it by chance, which are no habit yet. At the start of an image everybody reads on.
HABIT: Final = 1024 * 1024
# The kernel's read-ahead comes out of order by as much as it reads ahead, tools skip a little.
BACKWARD: Final = 2 * MIB
FORWARD: Final = 4 * MIB


@dataclass(slots=True)
class Cursor:
    """One sequential reader, by offsets into the image.

    Attributes:
        start: Where it began to read in order.
        expected: Where it goes on.
        seen: How many bytes it has read since.
        planned: Up to where fetching was already asked for.
        window: How far it looks ahead, in bytes.
    """

    start: int
    expected: int
    seen: int = 0
    planned: int = 0
    window: int = FIRST_WINDOW

    def continues_at(self, offset: int) -> bool:
        """Return whether a read at `offset` belongs to this reader."""
        return self.expected - BACKWARD <= offset <= self.expected + FORWARD

    @property
    def is_sequential(self) -> bool:
        """Whether it has read in order for long enough to go on doing so.

        Reads by chance that come close to each other are not in order: half of what lies
        between the first and the last byte has to be read.
        """
        distance = self.expected - self.start
        is_habit = self.start == 0 or distance >= HABIT
        return is_habit and 2 * self.seen >= distance

    def advance(self, offset: int, size: int, *, has_waited: bool) -> bool:
        """Note a read of `size` at `offset`; return whether it is time to fetch ahead.

        It is when what is on its way leaves room in the window for a whole part, or for half
        of a window that is not that large: what is fetched is worth a GET. The window doubles
        when it was too small: what was planned did not come in time.
        """
        end = offset + size
        is_late = has_waited and end <= self.planned
        if not self.is_sequential:  # what was skipped until now nobody reads in order
            self.planned = max(self.planned, offset)
        self.expected = max(self.expected, end)
        self.seen += size
        if not self.is_sequential:
            self.planned = max(self.planned, end)
            return False
        if is_late:
            self.window = min(2 * self.window, LARGEST_WINDOW)
        return self.planned - self.expected <= max(self.window - PART_SIZE, self.window // 2)

    def plan(self, largest: int) -> tuple[int, int]:
        """Return (offset, size) of what to fetch now, at most `largest` bytes ahead.

        All that is read in order is fetched in order, what the kernel asks for out of order
        and what it skips too.
        """
        self.window = max(min(self.window, largest), BLOCK_SIZE)
        offset = self.planned
        self.planned = max(offset, self.expected + self.window)
        return offset, self.planned - offset


class Noted(NamedTuple):
    """What a read is; a tuple, because one is made for each read.

    Attributes:
        cursor: Who reads, when it is in order.
        is_jump: It goes away from where anybody read in order or goes on to.
    """

    cursor: Cursor | None
    is_jump: bool


class Prefetcher:
    """Follows the readers of one open image."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._cursors: list[Cursor] = []  # the one that was read from last is the last
        fetcher.prefetchers.add(self)

    @property
    def sequential(self) -> int:
        """How many sequential readers there are."""
        return sum(cursor.is_sequential for cursor in self._cursors)

    def close(self) -> None:
        """Leave the readers' shares of the cache to others."""
        self._fetcher.prefetchers.discard(self)

    def note(self, layout: Layout, offset: int, size: int, *, has_waited: bool) -> Noted:
        """Take note of a read, and have what comes after it fetched. Does not wait."""
        end = offset + size
        cursor = next((c for c in reversed(self._cursors) if c.continues_at(offset)), None)
        if cursor is None:
            cursor = Cursor(offset, end)
            self._cursors = [*self._cursors[1 - CURSORS :], cursor]
            if offset > 0:
                cursor.seen = size
                cursor.planned = end
                return Noted(None, is_jump=True)
        elif cursor is not self._cursors[-1]:
            self._cursors.remove(cursor)
            self._cursors.append(cursor)
        goes_on = offset == cursor.expected
        if cursor.advance(offset, size, has_waited=has_waited):
            self.fetch_ahead(layout, cursor)
        if cursor.is_sequential:
            return Noted(cursor, is_jump=False)
        return Noted(None, is_jump=not goes_on)

    def fetch_ahead(self, layout: Layout, cursor: Cursor) -> None:
        """Have what comes next fetched, as far as there is room for it now."""
        offset, size = cursor.plan(self._fetcher.share())
        size -= _beyond_a_part(layout, offset, size)
        cursor.planned = offset + size
        for piece in layout.pieces(offset, size):
            has_room_for = piece.size
            if isinstance(piece.source, Stored):
                has_room_for = self._fetcher.suggest(piece.source, piece.size)
            if has_room_for < piece.size:
                cursor.planned = piece.offset + has_room_for
                return


def _beyond_a_part(layout: Layout, offset: int, size: int) -> int:
    """Return by how much a range ends after the end of a part, if it has a whole one.

    The rest of that part comes the next time, all of it in one GET.
    """
    end = offset + size
    for piece in layout.pieces(end, 1):
        beyond = piece.source.start % PART_SIZE if isinstance(piece.source, Stored) else 0
        return beyond if beyond + PART_SIZE <= size else 0
    return 0
