"""An image that is being changed, as extents: what a layout is while it is not frozen. Pure.

Invariant: the extents are in order, without gap or overlap, from byte 0 to `size`, and
neighbours that are one thing (zeros; bytes that follow each other in a stored object or in
the spool) are one extent. Nothing here awaits: a change is whole when the next task runs.

A write costs a bisection and one splice of a list, whatever the image's size: 16,384 writes
of 4 KiB into one segment are 16,384 extents, and a splice in them is a memmove.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from swiftimgfs.layout import Extent, Inline, Layout, Spooled, Stored, Zeros

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swiftimgfs.layout import Source

Pieces = list[tuple[int, "Source"]]  # (size in bytes, source)


class ExtentMap:
    """The extents of one image, which can be overwritten.

    Attributes:
        memory: Bytes in it that are in this process's memory.
        spooled: Bytes in it that are in the spool file.
        zeros: Bytes in it that nobody has to store.
        changes: Counts changes. Who read pieces of it over an await looks whether it is
            still the same number; else what they named may be gone.
    """

    def __init__(self, pieces: Iterable[tuple[int, Source]] = ()) -> None:
        self._extents: list[Extent] = []
        self._offsets: list[int] = []
        self._layout: Layout | None = None
        self.memory = self.spooled = self.zeros = 0
        self.changes = 0
        for size, source in pieces:
            self.replace(self.size, size, [(size, source)])

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self._extents[-1].end if self._extents else 0

    @property
    def extents(self) -> Sequence[Extent]:
        """All extents, in order; valid until the next change."""
        return self._extents

    def snapshot(self) -> Layout:
        """Return the image as it is now, frozen."""
        if self._layout is None:
            self._layout = Layout(extents=self._extents)
        return self._layout

    def pieces(self, start: int, end: int) -> list[Extent]:
        """Return the extents between two offsets, clipped to them and to the image."""
        end = min(end, self.size)
        if start >= end:
            return []
        first = bisect.bisect_right(self._offsets, start) - 1
        last = bisect.bisect_left(self._offsets, end)
        found = self._extents[first:last]
        found[0] = found[0].clip(start, end)
        found[-1] = found[-1].clip(start, end)
        return found

    def at(self, offset: int) -> Extent | None:
        """Return the extent with a byte of the image; None beyond its end."""
        if offset >= self.size:
            return None
        return self._extents[bisect.bisect_right(self._offsets, offset) - 1]

    def last(self) -> Extent | None:
        """Return the extent at the image's end."""
        return self._extents[-1] if self._extents else None

    def replace(self, offset: int, size: int, pieces: Pieces) -> None:
        """Have `pieces`, of `size` bytes together, instead of what was there from `offset` on.

        `offset` is at most the image's size; what goes beyond it makes the image larger.
        """
        assert offset <= self.size  # noqa: S101  # a gap is filled by who knows with what
        end = offset + size
        first = bisect.bisect_left(self._offsets, offset)
        if first and self._extents[first - 1].end > offset:
            first -= 1
        last = bisect.bisect_left(self._offsets, end, lo=first)
        old = self._extents[first:last]
        new: list[Extent] = []
        if first and (not old or old[0].offset == offset):
            first -= 1  # so that what goes on from the neighbour is joined with it
            old.insert(0, self._extents[first])
        if old and old[0].offset < offset:
            new.append(old[0].clip(old[0].offset, offset))
        for count, source in pieces:
            _append(new, offset, count, source)
            offset += count
        if old and old[-1].end > end:
            tail = old[-1].clip(end, old[-1].end)
            _append(new, tail.offset, tail.size, tail.source)
        elif last < len(self._extents):
            tail = self._extents[last]
            if new and _continues(new[-1], tail.source):
                old.append(tail)
                _append(new, tail.offset, tail.size, tail.source)
                last += 1
        self._splice(first, last, old, new)

    def truncate(self, size: int) -> None:
        """Forget what comes after the first `size` bytes, or add zeros up to there."""
        if size > self.size:
            missing = size - self.size
            self.replace(self.size, missing, [(missing, Zeros())])
            return
        first = bisect.bisect_left(self._offsets, size)
        new: list[Extent] = []
        if first and self._extents[first - 1].end > size:
            first -= 1
            new.append(self._extents[first].clip(self._extents[first].offset, size))
        self._splice(first, len(self._extents), self._extents[first:], new)

    def _splice(self, first: int, last: int, old: list[Extent], new: list[Extent]) -> None:
        self._extents[first:last] = new
        self._offsets[first:last] = [extent.offset for extent in new]
        for extents, sign in ((old, -1), (new, 1)):
            for extent in extents:
                self._count(extent, sign)
        self._layout = None
        self.changes += 1

    def _count(self, extent: Extent, sign: int) -> None:
        match extent.source:
            case Inline():
                self.memory += sign * extent.size
            case Spooled():
                self.spooled += sign * extent.size
            case Zeros():
                self.zeros += sign * extent.size
            case Stored():
                pass


def _append(extents: list[Extent], offset: int, size: int, source: Source) -> None:
    """Add an extent at the end, as part of the one before when it goes on from there."""
    if size <= 0:
        return
    if extents and _continues(extents[-1], source):
        before = extents.pop()
        offset, size, source = before.offset, before.size + size, before.source
    extents.append(Extent(offset, size, source))


def _continues(before: Extent, source: Source) -> bool:
    """Return whether `source` is what follows `before` in the same object or file."""
    match before.source, source:
        case Zeros(), Zeros():
            return True
        case (Stored(), Stored()) | (Spooled(), Spooled()):
            return before.source.advance(before.size) == source
        case _:
            return False
