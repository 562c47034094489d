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
from typing import TYPE_CHECKING, Final

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
# in two, which are no habit yet. At the start of an image everybody reads on.
HABIT: Final = 512 * 1024
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

    def advance(self, end: int, size: int, *, has_waited: bool) -> bool:
        """Note a read of `size` up to `end`; return whether it is time to fetch ahead.

        It is not while more than half of the window is on its way: what is fetched comes in
        pieces that are worth a GET. The window doubles when it was too small: what was
        planned did not come in time.
        """
        is_late = has_waited and end <= self.planned
        self.expected = max(self.expected, end)
        self.planned = max(self.planned, self.expected)
        self.seen += size
        if not self.is_sequential:
            return False
        if is_late:
            self.window = min(2 * self.window, LARGEST_WINDOW)
        return self.planned - self.expected <= self.window // 2

    def plan(self, largest: int) -> tuple[int, int]:
        """Return (offset, size) of what to fetch ahead now, at most `largest` bytes ahead."""
        self.window = max(min(self.window, largest), BLOCK_SIZE)
        offset = self.planned
        self.planned = max(offset, self.expected + self.window)
        return offset, self.planned - offset


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

    def note(self, layout: Layout, offset: int, size: int, *, has_waited: bool) -> bool:
        """Take note of a read, and have what comes after it fetched. Does not wait.

        Returns:
            Whether it is a jump: away from where anybody read in order or goes on to.
        """
        end = offset + size
        cursor = next((c for c in reversed(self._cursors) if c.continues_at(offset)), None)
        if cursor is None:
            cursor = Cursor(offset, end)
            self._cursors = [*self._cursors[1 - CURSORS :], cursor]
            if offset > 0:
                cursor.seen = size
                return True
        elif cursor is not self._cursors[-1]:
            self._cursors.remove(cursor)
            self._cursors.append(cursor)
        goes_on = offset == cursor.expected
        if cursor.advance(end, size, has_waited=has_waited):
            for piece in layout.pieces(*cursor.plan(self._fetcher.share())):
                if isinstance(piece.source, Stored):
                    self._fetcher.suggest(piece.source, piece.size)
        return not goes_on and not cursor.is_sequential
