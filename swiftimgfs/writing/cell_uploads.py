"""The cells of one image on their way to Swift, each in a task of the mount.

The failure of an upload is a value, kept with its cell until somebody who can tell an
application asks: it never ends the mount. A cell that was written again in the meantime is
uploaded again, and the first object is deleted. What a partly written cell lacks is fetched
from Swift just before it is sent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.layout import Extent, Inline, Layout, Stored, Zeros
from swiftimgfs.store.request import NO_HEAD
from swiftimgfs.writing.uploader import stored_segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swiftimgfs.reading.reader import ImageReader
    from swiftimgfs.store.large_objects import Segment
    from swiftimgfs.store.request import Head
    from swiftimgfs.writing.cells import Cell, Run
    from swiftimgfs.writing.dirty_image import DirtyImage
    from swiftimgfs.writing.hooks import ImageFormat
    from swiftimgfs.writing.parts import WriteParts
    from swiftimgfs.writing.uploader import Uploader

log = logging.getLogger(__name__)

# What is fetched at a time of a segment that is partly written.
PIECE: Final = 4 * 1024 * 1024
# How many bytes before its first segment an image asks where segments go: three requests, in
# the time in which an application writes this much.
READY_AHEAD: Final = 32 * 1024 * 1024


class CellUploads:
    """Uploads the cells of one image.

    Attributes:
        flying: Those whose upload was asked for and has not ended.
    """

    def __init__(
        self,
        parts: WriteParts,
        image: DirtyImage,
        image_format: ImageFormat,
        uploader: Uploader,
        reader: ImageReader,
    ) -> None:
        self.flying: Final[set[Cell]] = set()
        self._parts = parts
        self._image = image
        self._format = image_format
        self._uploader = uploader
        self._reader = reader
        self._puts = 0
        self._is_foreseen = False

    def check(self) -> None:
        """Tell an application at once that what it goes on to write will not be stored.

        Raises:
            SwiftImgFsError: What an upload failed with that was not tried again since.
        """
        if (failure := self._failure()) is not None:
            raise failure

    async def settled(self) -> None:
        """Return when none is on its way."""
        while self.flying:
            await self._parts.budget.freed()

    def start_behind(self, frontier: int) -> None:
        """Start the uploads of what a writer in order has left behind.

        Not of an image that is small as yet: it will be one object if it stays so.
        """
        self.foresee(frontier)
        is_started = self._puts > 0 or bool(self.flying)
        if not self._format.is_large(self._image.extents.size, is_started=is_started):
            return
        for cell in self._image.cells:
            if cell.end > frontier:
                return
            if not cell.is_waiting and not cell.uploads and self._is_ours(cell):
                self.start(cell)

    def foresee(self, size: int) -> None:
        """Have it known where segments go, when the image will soon be large enough for some."""
        least = max(READY_AHEAD, self._parts.options.large_object_size - READY_AHEAD)
        if size >= least and not self._is_foreseen:
            self._is_foreseen = True
            self._parts.nursery.start_soon(self._get_ready)

    async def _get_ready(self) -> None:
        try:
            await self._format.get_ready()
        except errors.SwiftImgFsError as failure:  # told by the first upload, if it lasts
            log.info(
                "no place for segments yet image=%s/%s reason=%s",
                *self._uploader.image,
                failure,
            )

    def start(self, cell: Cell) -> None:
        """Start the upload of a cell that is not on its way."""
        cell.is_waiting = True
        cell.failure = None
        cell.number = self._puts
        self._puts += 1
        self.flying.add(cell)
        self._parts.budget.uploads += 1
        self._parts.nursery.start_soon(self._upload, cell)

    async def finish(self) -> None:
        """Return when Swift has every byte."""
        for cell in self._image.cells:
            cell.failure = None
        while len(self._image.cells) or self.flying:
            failure = self._failure()
            if failure is not None and not self.flying:
                raise failure
            if failure is None:
                for cell in self._image.cells:
                    if not cell.is_waiting:
                        self.start(cell)
            await self._parts.budget.freed()

    async def completed(self, extents: Sequence[Extent]) -> list[Extent]:
        """Return extents with the bytes themselves where they were in Swift only."""
        completed = []
        for extent in extents:
            if not isinstance(extent.source, Stored):
                completed.append(extent)
                continue
            layout = Layout([(extent.size, extent.source)])
            for at in range(0, extent.size, PIECE):
                data = await self._reader.read(layout, at, min(PIECE, extent.size - at))
                kept = Inline(memoryview(bytes(data)))
                completed.append(Extent(extent.offset + at, len(data), kept))
        return completed

    def _is_ours(self, cell: Cell) -> bool:
        return not any(isinstance(e.source, Stored) for e in self._image.content(cell))

    def _failure(self) -> errors.SwiftImgFsError | None:
        return next((c.failure for c in self._image.cells if c.failure is not None), None)

    async def _upload(self, cell: Cell) -> None:
        try:
            async with self._parts.slots:
                await self._upload_now(cell)
        except errors.SwiftImgFsError as failure:
            log.warning(
                "segment not stored image=%s/%s reason=%s", *self._uploader.image, failure
            )
            cell.failure = failure
        finally:
            cell.is_waiting = cell.is_frozen = False
            self.flying.discard(cell)
            self._parts.budget.uploads -= 1
            self._parts.budget.wake()

    async def _upload_now(self, cell: Cell) -> None:
        missing = sum(e.size for e in self._image.content(cell) if isinstance(e.source, Stored))
        async with self._parts.budget.completing(missing):
            if cell not in self._image.cells:
                return
            cell.is_frozen = True
            cell.uploads += 1
            changes, extents, head = cell.changes, self._image.content(cell), cell.head
            segments: list[Segment] = []
            try:
                pieces = [
                    await self._stored(
                        cell, run, segments, head if run.start == cell.start else NO_HEAD
                    )
                    for run in self._image.runs(cell, extents)
                ]
                is_stale = cell not in self._image.cells or cell.changes != changes
            except errors.SwiftImgFsError:
                await self._drop(segments)
                raise
            if is_stale:
                await self._drop(segments)
            else:
                self._image.settled(cell, pieces)

    async def _stored(
        self, cell: Cell, run: Run, segments: list[Segment], head: Head
    ) -> tuple[int, Stored | Zeros]:
        """Store one run of a cell, unless it is zeros; return it as a piece of a layout."""
        if run.is_zero:
            return run.size, Zeros()
        number = cell.number
        if segments:
            number = self._puts
            self._puts += 1
        extents = await self.completed(run.extents)
        place = await self._format.place(run.start, number)
        head = head if head.size <= run.size else NO_HEAD
        segment = await self._uploader.put(place, extents, self._format.segment_headers, head)
        segments.append(segment)
        return run.size, stored_segment(segment)

    async def _drop(self, segments: list[Segment]) -> None:
        await self._uploader.drop([(s.container, s.name) for s in segments])
