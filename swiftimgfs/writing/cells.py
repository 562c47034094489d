"""Which part of an image is uploaded as a whole when a byte of it changes. Pure.

A *cell* is a segment being changed: the range of the image that will be one stored object,
or a few where it holds long runs of zeros. It comes into being with the first write into
it, and goes when Swift has it; a byte that is only here always lies in one.

- Over a stored object it is that object's range, so that an edit replaces one segment. Of
  an object much larger than a segment (a plain image, a segment of a huge one) it is a
  piece of segment size, and the manifest goes on naming the rest by `range`.
- Over zeros and beyond the end it is a cell of the plan's grid, clipped to them. An end
  that is small is taken with it: who appends a line a day shall not have a row a day.

Some Swifts refuse a manifest with a row below a size of theirs, but for the last one. What
edits leave below it is stored anew at the commit, with some of what follows it.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swiftimgfs.layout import Stored, Zeros
from swiftimgfs.store.request import Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swiftimgfs import errors
    from swiftimgfs.layout import Extent
    from swiftimgfs.writing.extents import ExtentMap
    from swiftimgfs.writing.segmenter import SegmentPlan

# Of a segment: an end that is smaller is uploaded again with what is appended to it.
SMALL_END: Final = 4
# What a row should have at least: who reads through the manifest (Glance) gets rows below
# 1 MiB at one a second from Swift, after some (`SegmentPlan.short_rows`). It is also about
# what can be sent in the time of one request more.
SMALLEST_ROW: Final = 1024 * 1024


@dataclass(eq=False, slots=True)
class Cell:
    """A segment being changed.

    Attributes:
        start: Its first byte in the image.
        end: Its end, which may lie beyond the image's.
        number: Of its upload, among all of the image.
        changes: Counts changes of its bytes: an upload that ends at another number is stale.
        touched: When it was last written, in the writer's own count.
        is_waiting: Its upload was asked for.
        is_frozen: Its upload is on its way: what it had in the spool then stays as it is.
        is_one: It is stored as one object, whatever zeros it holds.
        uploads: How often it was uploaded.
        failure: What its last upload failed with.
        head: The MD5 of its first bytes, as far as that is made (`heads`).
    """

    start: int
    end: int
    number: int = 0
    changes: int = 0
    touched: int = 0
    is_waiting: bool = False
    is_frozen: bool = False
    is_one: bool = False
    uploads: int = 0
    failure: errors.SwiftImgFsError | None = None
    head: Head = field(default_factory=Head)

    def changed(self, *, is_appended: bool = False) -> None:
        """Take note of other bytes; those that are appended leave what was hashed as it is."""
        self.changes += 1
        if not is_appended:
            self.head = Head()


class CellTable:
    """The cells of one image, in order, without overlap. Nothing here awaits."""

    def __init__(self, plan: SegmentPlan, *, is_fixed: bool = False) -> None:
        """Have no cells.

        Args:
            plan: The grid.
            is_fixed: Every cell is one of the grid, whatever is stored there.
        """
        self._plan = plan
        self._is_fixed = is_fixed
        self._cells: list[Cell] = []

    def __iter__(self) -> Iterator[Cell]:
        return iter(tuple(self._cells))

    def __len__(self) -> int:
        return len(self._cells)

    def __contains__(self, cell: Cell) -> bool:
        index = self._index(cell.start)
        return index >= 0 and self._cells[index] is cell

    def at(self, offset: int) -> Cell | None:
        """Return the cell with a byte, if there is one."""
        index = self._index(offset)
        if index >= 0 and offset < self._cells[index].end:
            return self._cells[index]
        return None

    def touch(self, image: ExtentMap, offset: int) -> Cell:
        """Return the cell in which a byte is to be written, made if need be.

        `offset` is at most the image's size: what is appended begins there.
        """
        cell = self.at(offset)
        if cell is not None:
            return cell
        start, end = self._range(image, offset)
        index = self._index(offset)
        if index >= 0:
            start = max(start, self._cells[index].end)
        if index + 1 < len(self._cells):
            end = min(end, self._cells[index + 1].start)
        return self.add(start, end)

    def add(self, start: int, end: int, *, is_one: bool = False) -> Cell:
        """Return a new cell; no other may be there."""
        cell = Cell(start, end, is_one=is_one)
        self._cells.insert(self._index(start) + 1, cell)
        return cell

    def remove(self, cell: Cell) -> None:
        """Forget a cell: all of it is stored, or it is no part of the image any more."""
        if cell in self:
            del self._cells[self._index(cell.start)]

    def truncate(self, size: int) -> None:
        """Forget the cells beyond the image's new end; note the one that was cut."""
        for cell in reversed(self._cells):
            if cell.end <= size:
                return
            cell.changed()
            if cell.start >= size:
                self._cells.remove(cell)

    def clear(self) -> None:
        """Forget all of them."""
        self._cells.clear()

    def _index(self, offset: int) -> int:
        return bisect.bisect_right(self._cells, offset, key=lambda cell: cell.start) - 1

    def _range(self, image: ExtentMap, offset: int) -> tuple[int, int]:
        grid = self._plan.cell_of(offset)
        if self._is_fixed:
            return grid
        extent = image.at(offset)
        if extent is None:
            return self._range_at_end(image, grid)
        if isinstance(extent.source, Stored):
            return self._range_in_object(extent, offset)
        end = grid[1] if extent.end == image.size else min(grid[1], extent.end)
        return max(grid[0], extent.offset), end

    def _range_at_end(self, image: ExtentMap, grid: tuple[int, int]) -> tuple[int, int]:
        start, end = grid
        last = image.last()
        if last is None:
            return start, end
        size = end - start
        if isinstance(last.source, Zeros):
            return max(start, last.offset), end
        small = max(size // SMALL_END, self._plan.smallest)
        is_small = isinstance(last.source, Stored) and last.size < small
        return (last.offset if is_small else image.size), end

    def _range_in_object(self, extent: Extent, offset: int) -> tuple[int, int]:
        step = self._plan.segment_size
        if extent.size <= 2 * step:
            return extent.offset, extent.end
        start = extent.offset + (offset - extent.offset) // step * step
        end = start + step
        crumb = max(min(SMALLEST_ROW, step), self._plan.smallest)
        if extent.end - end < crumb:
            end = extent.end
        if start - extent.offset < crumb:
            start = extent.offset
        return start, end


@dataclass(frozen=True, slots=True)
class Hole:
    """Zeros among the rows of an image: `size` of them."""

    size: int


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring pieces of a cell that are stored as one object, or are all zeros."""

    start: int
    end: int
    extents: tuple[Extent, ...]
    is_zero: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class RowSizes:
    """What is worth a row of its own in an image, in bytes.

    Attributes:
        hole: Zeros from so many on are named, and not stored.
        piece: What lies between two such holes is stored with zeros up to so many.
        smallest: Swift takes no row below it, but the last.
        largest_short: (size, offset) of the last piece, in that order, that is stored
            without zeros, though it has less than `piece`.
    """

    hole: int
    piece: int
    smallest: int = 1
    largest_short: tuple[int, int] = (0, 0)

    def least(self, start: int, size: int) -> int:
        """Return how many bytes are stored for a piece of `size` at `start`, at least."""
        is_short = (size, start) <= self.largest_short
        return self.smallest if is_short else max(self.piece, self.smallest)


def _full_row(plan: SegmentPlan) -> int:
    return max(min(SMALLEST_ROW, plan.segment_size), plan.smallest)


def may_name_zeros(extents: Sequence[Extent], plan: SegmentPlan) -> bool:
    """Return whether a cell of these pieces holds zeros that are worth a row at all."""
    return any(_holes(extents, _full_row(plan)))


def row_sizes(extents: Sequence[Extent], plan: SegmentPlan) -> RowSizes:
    """Return the sizes of rows that fit an image as it is now.

    Zeros are stored with small pieces only where those are more than `plan` has short rows
    for; the smallest go without, for they would take the most. An upload changes nothing of
    that for what is not uploaded yet: a piece that is stored counts as what it has become.
    """
    full = _full_row(plan)
    hole = shortest_hole(extents, full, plan.segment_size, plan.most_rows)
    end = extents[-1].end if extents else 0
    pieces, stored = _short_pieces(extents, hole, full)
    left = max(0, plan.short_rows(end) - stored)
    largest_short = (full, end)
    if left < len(pieces):
        largest_short = sorted(pieces)[left - 1] if left else (0, 0)
    return RowSizes(hole, full, plan.smallest, largest_short)


def _short_pieces(
    extents: Iterable[Extent], hole: int, full: int
) -> tuple[list[tuple[int, int]], int]:
    """Return (size, offset) of what is short and to be stored, and how much is stored so."""
    pieces: list[tuple[int, int]] = []
    stored, start, end = 0, 0, 0
    for extent in extents:
        is_stored = isinstance(extent.source, Stored)
        if is_stored or (isinstance(extent.source, Zeros) and extent.size >= hole):
            if 0 < extent.offset - start < full:
                pieces.append((extent.offset - start, start))
            stored += is_stored and extent.size < full
            start = extent.end
        end = extent.end
    if 0 < end - start < full:
        pieces.append((end - start, start))
    return pieces, stored


def runs_of(extents: list[Extent], sizes: RowSizes) -> list[Run]:
    """Cut the pieces of a cell into what has to be stored and what is zeros.

    Zeros count from `sizes.hole` bytes on, less what is stored of them with a small piece
    before: fewer cost less than the rows that name them. At the cell's end a small piece is
    stored with some of the zeros before it. Nothing is shorter than `sizes.smallest`, but
    for a cell that is.
    """
    if not extents:
        return []
    start, end = extents[0].offset, extents[-1].end
    runs: list[Run] = []
    at = start
    for hole_start, whole_end in _holes(extents, sizes.hole):
        hole_end = _end_of_hole(whole_end, end, sizes)
        if hole_end - hole_start < min(sizes.hole, end - start):
            continue
        first = hole_start
        if hole_start > at:  # what is stored before the hole
            stored_end = max(hole_start, at + sizes.least(at, hole_start - at))
            if hole_end - stored_end < sizes.hole and hole_end < end:
                continue
            is_whole = hole_end - stored_end < sizes.smallest
            first = hole_end if is_whole else stored_end
            runs.append(_run(extents, at, first, is_zero=False))
        if first < hole_end:
            runs.append(_run(extents, first, hole_end, is_zero=True))
        at = hole_end
    if at < end:
        runs.append(_run(extents, at, end, is_zero=False))
    return runs


def shortest_hole(
    extents: Iterable[Extent], smallest: int, largest: int, most_rows: int
) -> int:
    """Return from how many bytes on the holes of an image are named, and not stored.

    `smallest`, if the holes and what lies between them take at most `most_rows` rows then,
    else twice that, and so on, up to `largest`.
    """
    holes = sorted(extent.size for extent in extents if isinstance(extent.source, Zeros))
    size = smallest
    while size < largest and 2 * (len(holes) - bisect.bisect_left(holes, size)) > most_rows:
        size = min(2 * size, largest)
    return size


def _end_of_hole(hole_end: int, end: int, sizes: RowSizes) -> int:
    """Return where zeros end that leave enough for what is stored after them."""
    if hole_end == end:
        return end
    return min(hole_end, end - sizes.least(hole_end, end - hole_end))


def _holes(extents: Sequence[Extent], shortest: int) -> Iterator[tuple[int, int]]:
    whole = extents[-1].end - extents[0].offset
    for extent in extents:
        is_hole = isinstance(extent.source, Zeros) and extent.size >= min(shortest, whole)
        if is_hole:
            yield extent.offset, extent.end


def _run(extents: list[Extent], start: int, end: int, *, is_zero: bool) -> Run:
    inside = [e.clip(start, end) for e in extents if e.offset < end and e.end > start]
    return Run(start, end, tuple(inside), is_zero)


def short_ranges(extents: Sequence[Extent], smallest: int) -> list[tuple[int, int]]:
    """Return what has to be stored as one each, so that only the last row is shorter.

    Each begins with an extent that is shorter, and takes of what follows it no more than it
    needs, or than would be left too short itself.
    """
    ranges = []
    start = 0  # of what is left of an extent
    for number, extent in enumerate(extents):
        is_last = number == len(extents) - 1
        if start >= extent.end or is_last or extent.end - start >= smallest:
            start = max(start, extent.end)
            continue
        end = _end_of_short(extents[number + 1 :], start + smallest, smallest)
        ranges.append((start, end))
        start = end
    return ranges


def _end_of_short(following: Iterable[Extent], end: int, smallest: int) -> int:
    """Return where a range ends that needs all up to `end`, or the end of the image."""
    at = 0
    for extent in following:
        at = extent.end
        if at >= end:
            return end if at - end >= smallest else at
    return at


def rows_of_hole(size: int, zeros: int) -> list[int]:
    """Return how long the rows of a hole are, none longer than `zeros`, about equal."""
    count = -(-size // zeros)
    return [size // count + (number < size % count) for number in range(count)]


def size_of_zeros(holes: list[int], rows: int, smallest: int = 1) -> int:
    """Return the least size of an object of zeros that names `holes` in `rows` rows.

    A mebibyte at a time, but no larger than the largest hole. No row of a hole in several
    is below `smallest`: about equal rows have more than half of the object. Nor is one below
    `SMALLEST_ROW`, but for a hole that is.
    """
    largest, total = max(holes), sum(holes)
    rows = max(rows, len(holes))
    full = max(-(-hole // max(1, hole // SMALLEST_ROW)) for hole in holes)
    share = -(-total // (rows * SMALLEST_ROW)) * SMALLEST_ROW
    size = max(SMALLEST_ROW, full, 2 * smallest, share)
    while size < largest and sum(-(-hole // size) for hole in holes) > rows:
        size += max(SMALLEST_ROW, size // 16 // SMALLEST_ROW * SMALLEST_ROW)
    return min(size, largest)
