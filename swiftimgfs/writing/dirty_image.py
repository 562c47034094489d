"""The bytes of one image while it is changed: where each of them is, and what they become.

A write goes into the cells that it touches (`cells`), and its bytes into memory, as the
kernel's own buffers, or into the spool file:

- what comes in order, gaps included, stays in memory as long as there is some: it is on its
  way to Swift soon;
- everything else goes to the spool. What an upload is just sending from there stays as it
  is: a write to it goes to memory instead.
- Zeros take neither.

Nothing here awaits, or asks Swift.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swiftimgfs.layout import Inline, Spooled, Stored, Zeros
from swiftimgfs.store.large_objects import Segment
from swiftimgfs.writing.body import without_zeros
from swiftimgfs.writing.cells import (
    Cell,
    CellTable,
    Hole,
    Run,
    may_name_zeros,
    row_sizes,
    runs_of,
    short_ranges,
)
from swiftimgfs.writing.extents import ExtentMap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swiftimgfs.layout import Extent, Layout
    from swiftimgfs.writing.budget import DirtyBudget
    from swiftimgfs.writing.hooks import ImageFormat, ObjectName
    from swiftimgfs.writing.spool import SpoolFile


class DirtyImage:
    """The bytes of an image that is being changed.

    Attributes:
        extents: Where each byte is.
        cells: What is to be uploaded.
        frontier: Where the last write in order has ended.
    """

    def __init__(
        self,
        base: Layout | None,
        image_format: ImageFormat,
        spool: SpoolFile,
        budget: DirtyBudget,
    ) -> None:
        self.extents: Final = ExtentMap()
        self.cells: Final = CellTable(image_format.plan, is_fixed=image_format.is_fixed)
        self.frontier = 0
        self._format = image_format
        self._spool = spool
        self._budget = budget
        self._counted = (0, 0)
        self._writes = 0
        self.begin(base.extents if base else ())

    def begin(self, extents: Iterable[Extent]) -> None:
        """Have these bytes, and no others."""
        self.cells.clear()
        self.extents.truncate(0)
        for extent in extents:
            self.extents.replace(extent.offset, extent.size, [(extent.size, extent.source)])
        for extent in tuple(self.extents.extents):  # a row of data, or what is sent again
            if isinstance(extent.source, Inline | Spooled):
                self._touch_all(extent)
        self.frontier = self.extents.size
        self.count()

    def spill(self) -> None:
        """Put what is in memory into the spool; nothing may be on its way to Swift.

        Raises:
            HostFullError: The spool's disk is full.
        """
        for extent in tuple(self.extents.extents):
            if isinstance(extent.source, Inline):
                self._spool.write(extent.offset, extent.source.data[: extent.size])
                spooled = Spooled(self._spool, extent.offset)
                self.extents.replace(extent.offset, extent.size, [(extent.size, spooled)])
        self.count()

    def write(self, offset: int, data: bytes) -> None:
        """Take bytes over.

        Raises:
            HostFullError: The spool's disk is full.
        """
        self._writes += 1
        is_in_order = offset >= self.frontier
        if is_in_order:
            self.frontier = offset + len(data)
        if offset > self.extents.size:
            self.truncate(offset)
        for part, is_zero in without_zeros(data):
            if is_zero:
                self._write_zeros(offset, len(part), is_in_order=is_in_order)
            else:
                self._write(offset, part, is_in_order=is_in_order)
            offset += len(part)
        self.count()

    def truncate(self, size: int) -> None:
        """Cut the image, or add zeros."""
        if size < self.extents.size:
            self.frontier = min(self.frontier, size)
        self.extents.truncate(size)
        self.cells.truncate(size)
        self.count()

    def stored_in(self) -> dict[ObjectName, int]:
        """Return how many bytes of it are in each object of Swift's."""
        stored: Counter[ObjectName] = Counter()
        for extent in self.extents.extents:
            if isinstance(extent.source, Stored):
                stored[extent.source.container, extent.source.object] += extent.size
        return stored

    def renamed(self, old: ObjectName, new: ObjectName) -> None:
        """Have what is stored in one object be found in another, of the same bytes."""
        container, name = new
        for extent in tuple(self.extents.extents):
            source = extent.source
            if isinstance(source, Stored) and (source.container, source.object) == old:
                moved = replace(source, container=container, object=name)
                self.extents.replace(extent.offset, extent.size, [(extent.size, moved)])

    def count(self) -> None:
        """Tell the budget what is dirty now."""
        memory, spooled = self.extents.memory, self.extents.spooled
        if (memory, spooled) != self._counted:
            self._budget.adjust(memory - self._counted[0], spooled - self._counted[1])
            self._counted = memory, spooled

    def settled(self, cell: Cell, pieces: Sequence[tuple[int, Stored | Zeros]]) -> None:
        """Have what Swift has by now of a cell, instead of what is here."""
        size = sum(count for count, _ in pieces)
        self.extents.replace(cell.start, size, list(pieces))
        self.cells.remove(cell)
        self._spool.punch(cell.start, size)
        self.count()

    def content(self, cell: Cell) -> list[Extent]:
        """Return the pieces of a cell as they are now."""
        return self.extents.pieces(cell.start, cell.end)

    def runs(self, cell: Cell, extents: list[Extent]) -> list[Run]:
        """Return a cell's pieces as objects to be stored and zeros to be named."""
        plan = self._format.plan
        may_name = self._format.names_zeros and may_name_zeros(extents, plan)
        if cell.is_one or not may_name:
            start, end = extents[0].offset, extents[-1].end
            return [Run(start, end, tuple(extents), is_zero=False)]
        return runs_of(extents, row_sizes(self.extents.extents, plan))

    def rows(self) -> list[Segment | Hole]:
        """Return what a manifest of the image names; nothing of it may be here only."""
        rows: list[Segment | Hole] = []
        for extent in self.extents.extents:
            source = extent.source
            if isinstance(source, Zeros):
                rows.append(Hole(extent.size))
            elif isinstance(source, Stored):
                rows.append(
                    Segment(
                        source.container,
                        source.object,
                        source.object_size,
                        source.etag,
                        source.start,
                        extent.size,
                    )
                )
            else:
                raise AssertionError(f"{extent} is not in Swift")  # noqa: TRY004  # a bug here
        return rows

    def touch_unnamed(self) -> None:
        """Have all uploaded that no row may name: what lies in a manifest, zeros if need be."""
        for extent in tuple(self.extents.extents):
            source = extent.source
            is_manifest = isinstance(source, Stored) and source.is_manifest
            is_hole = isinstance(source, Zeros) and not self._format.names_zeros
            if is_manifest or is_hole:
                self._touch_all(extent)

    def touch_short(self) -> bool:
        """Have uploaded as one what no row may be: all but the last have a least size.

        Nothing may wait for Swift. Return whether there was any.
        """
        ranges = short_ranges(self.extents.extents, self._format.plan.smallest)
        for start, end in ranges:
            self.cells.add(start, end, is_one=True)
        return bool(ranges)

    def _touch_all(self, extent: Extent) -> None:
        offset = extent.offset
        while offset < extent.end:
            offset = self.cells.touch(self.extents, offset).end

    # ── where bytes go ─────────────────────────────────────────────────────────────────

    def _write(self, offset: int, data: memoryview, *, is_in_order: bool) -> None:
        while data:
            cell = self.cells.touch(self.extents, offset)
            part = data[: cell.end - offset]
            source = self._kept(cell, offset, part, is_in_order=is_in_order)
            self.extents.replace(offset, len(part), [(len(part), source)])
            self._touched(cell, is_in_order=is_in_order)
            offset += len(part)
            data = data[len(part) :]

    def _kept(
        self, cell: Cell, offset: int, part: memoryview, *, is_in_order: bool
    ) -> Inline | Spooled:
        waiting = self.extents.memory - self._counted[0]  # of this write, not yet counted
        has_memory = self._budget.has_memory(waiting + len(part))
        if cell.is_frozen or (is_in_order and has_memory):
            return Inline(part)
        self._spool.write(offset, part)
        return Spooled(self._spool, offset)

    def _write_zeros(self, offset: int, size: int, *, is_in_order: bool) -> None:
        end = offset + size
        if all(isinstance(e.source, Zeros) for e in self.extents.pieces(offset, end)):
            self.extents.truncate(max(end, self.extents.size))
            return
        while offset < end:
            cell = self.cells.touch(self.extents, offset)
            count = min(end, cell.end) - offset
            self.extents.replace(offset, count, [(count, Zeros())])
            self._touched(cell, is_in_order=is_in_order)
            offset += count

    def _touched(self, cell: Cell, *, is_in_order: bool) -> None:
        cell.changed(is_appended=is_in_order)
        cell.touched = self._writes
