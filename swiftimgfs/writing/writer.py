"""One image being written: any byte of it at any time, committed as a whole.

Until a commit nobody sees any of it; a commit is one PUT, of the image or of its manifest,
after which everybody does. `close` comes as `flush`, once for every duplicate of a
descriptor and sometimes before the last write, so a commit can be followed by more bytes
and another commit.

Each cell that is written goes its own way: its upload starts when it is left behind, when
memory is short, or at the commit.

State: clean (Swift has all of it) or dirty; a commit that failed can be tried again, its
bytes are kept. Once a write was refused the image has a gap that nobody will fill: it is
broken, and never committed, until it is emptied.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import trio

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.store.metadata import (
    carried_by_bytes,
    changes_of,
    headers_of,
    merged,
    metadata_of,
)
from swiftimgfs.writing.body import payload_of
from swiftimgfs.writing.cell_uploads import CellUploads
from swiftimgfs.writing.commit import Committed, Committer, Gate, always_open
from swiftimgfs.writing.deletion import CLEAN_UP_SECONDS
from swiftimgfs.writing.dirty_image import DirtyImage
from swiftimgfs.writing.heads import Heads
from swiftimgfs.writing.hooks import STALE_METADATA
from swiftimgfs.writing.recipe import pieces_of, recipe_of
from swiftimgfs.writing.spool import SpoolFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from swiftimgfs.reading.reader import Bytes, ImageReader
    from swiftimgfs.store.image_store import StoredImage
    from swiftimgfs.store.metadata import HeaderChanges
    from swiftimgfs.writing.hooks import JournalEntry, ObjectName
    from swiftimgfs.writing.parts import WriteParts

log = logging.getLogger(__name__)

# Of the connections: with fewer uploads on their way, who has no memory left goes on in the
# spool instead of waiting. (1 GiB in order into a one-node Swift on 2 cores: 283 MB/s; waiting
# for memory instead saves a tenth of the CPU and makes 244.)
ENOUGH_UPLOADS: Final = 0.5


class ImageWriter:
    """Writes one image."""

    def __init__(  # noqa: PLR0913  # where an image is to be, and what it is made from
        self,
        parts: WriteParts,
        container: str,
        name: str,
        reader: ImageReader,
        *,
        base: StoredImage | None,
        is_edit: bool = False,
        gate: Gate = always_open,
    ) -> None:
        """Start an empty image, or one with the bytes of its base.

        Args:
            parts: What all writers share.
            container: Where the image is to be.
            name: Its name there.
            reader: Reads its bytes, those in Swift too.
            base: The image that it will replace, as it was seen when it was opened; None
                when there was none.
            is_edit: Begin with the base's bytes.
            gate: Of the last step of each commit.
        """
        self._parts = parts
        self._reader = reader
        self._uploader = parts.uploader(container, name)
        self._uploader.base_etag = base.info.etag if base else None
        self._format = parts.format_of(self._uploader)
        self._committer = Committer(parts, self._uploader, self._format, base, gate)
        self._spool = SpoolFile(parts.spool_directory)
        layout = base.layout if base and is_edit else None
        self._image = DirtyImage(layout, self._format, self._spool, parts.budget)
        metadata = base.info.metadata if base else {}
        self._watch = parts.watches.of(layout.size if layout else 0, metadata)
        self._headers = carried_by_bytes(base.info) if base and is_edit else {}
        self._is_dirty = not is_edit  # an empty image is also one to be stored
        self._has_new_bytes = not is_edit
        self._refused: errors.SwiftImgFsError | None = None
        self._failure: errors.SwiftImgFsError | None = None  # of the last commit
        self.is_wanted = False  # somebody asked for a commit, and none succeeded since
        self._uploads = CellUploads(parts, self._image, self._format, self._uploader, reader)
        self._heads = Heads(self._image, parts.store.compute, parts.nursery)
        self._lock = trio.Lock()  # writes and commits, one at a time, in the kernel's order
        parts.budget.enter(self)

    @classmethod
    def resumed(
        cls,
        parts: WriteParts,
        recipe: Mapping[str, Any],
        spool: Path | None,
        entry: JournalEntry,
        reader: ImageReader,
        base: StoredImage | None,
    ) -> ImageWriter:
        """Return a writer of what another one could not commit; the spool file stays as it is.

        `base` is what has the image's name now, and may be replaced.

        Raises:
            HostDiskError: The recipe or the spool file is damaged.
        """
        container, name = recipe["container"], recipe["name"]
        writer = cls(parts, container, name, reader, base=base)
        if spool is not None:
            writer._spool = SpoolFile.kept(spool)
        pieces = pieces_of(recipe, writer._spool if spool else None)
        writer._image.begin(Layout(pieces).extents)
        writer._headers = {key.lower(): value for key, value in recipe["headers"].items()}
        writer._watch.close()
        writer._watch = parts.watches.of(max(writer.size, 1), {})
        writer._uploader.adopt(entry)
        return writer

    @property
    def name(self) -> str:
        """The image's name in its container."""
        return self._uploader.name

    @property
    def size(self) -> int:
        """Bytes of the image as it is now."""
        return self._image.extents.size

    @property
    def stored_bytes(self) -> int:
        """Bytes of it that are not holes."""
        return self.size - self._image.extents.zeros

    @property
    def changes(self) -> int:
        """A number that grows when bytes move or change."""
        return self._image.extents.changes

    @property
    def dirty_bytes(self) -> int:
        """Bytes that are here and wait for Swift."""
        return self._image.extents.memory + self._image.extents.spooled

    @property
    def is_dirty(self) -> bool:
        """Whether there is something that Swift has not acknowledged."""
        return self._is_dirty

    @property
    def is_stored(self) -> bool:
        """Whether an image has the name in Swift: the replaced one, or what was committed."""
        return self._committer.base is not None

    def sent(self, sending: Mapping[ObjectName, int]) -> int:
        """Return how many bytes Swift was given since the last commit.

        Args:
            sending: What of each object on its way was sent, of whatever image.
        """
        return self._uploader.sent(sending)

    @property
    def holding(self) -> AbstractAsyncContextManager[object]:
        """While this is entered nobody writes the image, and it is not stored."""
        return self._lock

    def layout(self) -> Layout:
        """Return the image as it was written, wherever its bytes are now."""
        return self._image.extents.snapshot()

    def renamed(self, container: str, name: str, base: StoredImage | None) -> None:
        """Commit under another name from now on, where `base` is what has the name already."""
        old = self._uploader.image
        self._uploader.renamed(container, name)
        self._format.renamed(container, name)
        self._committer.base = base
        self._uploader.base_etag = base.info.etag if base else None
        self._image.renamed(old, (container, name))

    @property
    def headers(self) -> Mapping[str, str]:
        """What the next commit sends with the image: metadata, content type and the like."""
        return self._headers

    def change_headers(self, changes: HeaderChanges) -> None:
        """Have the next commit send headers with the image, or no more (None)."""
        headers = merged(self._headers, changes)
        if headers != self._headers:
            self._headers = headers
            self._is_dirty = True

    def note_headers(self, changes: HeaderChanges) -> None:
        """Send headers with the next commit, which they are no reason for: Swift has them."""
        self._headers = merged(self._headers, changes)

    async def write(self, offset: int, data: bytes) -> None:
        """Take `data` over; what lies between the end and `offset` becomes zeros.

        Waits only when too many bytes wait for Swift.

        Raises:
            TooLargeError: The image would be larger than Swift can hold.
            HostFullError: The spool's disk has no room.
            SwiftImgFsError: What an upload of this image failed with.
        """
        if not data:
            return
        async with self._lock:
            self._raise_refused()
            self._check_size(offset + len(data))
            try:
                frontier = self._image.frontier
                await self._make_room(len(data), is_in_order=offset >= frontier)
                self._is_dirty = self._has_new_bytes = True
                self._image.write(offset, data)
            except errors.SwiftImgFsError as failure:
                self._refused = failure
                raise
            self._watch.written(offset, data)
            if offset >= frontier:
                self._uploads.start_behind(offset + len(data))
                self._heads.written(offset + len(data))
        await self._watch.keep_up()

    async def truncate(self, size: int) -> None:
        """Make the image `size` bytes long, by zeros or by forgetting what is beyond.

        Raises:
            TooLargeError: The image would be larger than Swift can hold.
        """
        async with self._lock:
            self._check_size(size)
            if size == self.size and size:
                return
            self._is_dirty = self._has_new_bytes = True
            self._image.truncate(size)
            self._watch.truncated(size)
            if not size:
                self._refused = None  # nothing is left that could have a gap

    def _check_size(self, size: int) -> None:
        """Refuse what is a mistake: its zeros alone would be gigabytes to be sent."""
        most = self._parts.store.limits.largest_image
        if size > max(most, self.size):
            raise errors.TooLargeError(f"{size} bytes are more than the {most} of an image")

    async def commit(self) -> Committed | None:
        """Return after Swift acknowledged all of the image; None when it had already.

        Nothing is stored, and None returned, when the image's name was removed meanwhile.

        Raises:
            ImageChangedError: Somebody else changed or made the image meanwhile.
            SwiftImgFsError: Swift does not have it; the bytes are kept, try again.
        """
        async with self._lock:
            self._raise_refused()
            if not self._is_dirty:
                return None
            self.is_wanted = True
            try:
                committed = await self._commit()
            except errors.SwiftImgFsError as failure:
                self._failure = failure
                raise
            self.is_wanted = False
            if committed is not None:
                self._is_dirty = self._has_new_bytes = False
            return committed

    async def close(self) -> None:
        """Give the bytes up; delete what was uploaded and never committed."""
        self._parts.budget.leave(self)
        self._watch.close()
        self._image.begin(())
        with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
            await self._uploads.settled()
        await self._committer.abandon()
        self._spool.close()

    async def keep(self) -> bool:
        """Have the journal take over what could not be committed; return whether it did.

        An image with a gap is not kept: nobody could want it.
        """
        if self._refused is not None or not self._is_dirty:
            return False
        with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
            await self._uploads.settled()
        reason = self._failure or errors.StoreUnavailableError("it was not committed")
        try:
            self._image.spill()
            entry = await self._uploader.entry()
            is_kept = await entry.keep(
                recipe_of(
                    self._uploader.image,
                    self._uploader.base_etag,
                    self._headers,
                    self._image.extents.extents,
                ),
                self._spool.path,
                str(reason),
                errors.errno_name(reason.errno),
                is_told=self._failure is not None,
            )
        except errors.HostDiskError as failure:
            log.warning("not kept image=%s/%s reason=%s", *self._uploader.image, failure)
            return False
        if is_kept:
            self._spool.detach()
            self._uploader.leave()
            self._is_dirty = False
        return is_kept

    def relieve(self) -> bool:
        """Free memory or spool: what is stored is forgotten, what is not is uploaded."""
        if not self.dirty_bytes:
            return False
        base = self._committer.base
        if not self._is_dirty and base is not None:
            self._image.begin(base.layout.extents)
            return True
        idle = [c for c in self._image.cells if not c.is_waiting and c.failure is None]
        if not idle:
            return False
        self._uploads.start(min(idle, key=lambda cell: cell.touched))
        return True

    async def _make_room(self, size: int, *, is_in_order: bool) -> None:
        """Wait until `size` bytes more may wait for Swift."""
        enough = max(1, int(self._parts.options.connections * ENOUGH_UPLOADS))
        if is_in_order:
            await self._parts.budget.have_memory(size, enough)
        await self._parts.budget.have_room(size, self._uploads.check)

    def _raise_refused(self) -> None:
        if self._refused is not None:
            raise self._refused

    # ── the steps of a commit ──────────────────────────────────────────────────────────

    async def _commit(self) -> Committed | None:
        if not self._format.is_large(self.size, is_started=self._is_started()):
            return await self._commit_plain()
        self._image.touch_unnamed()
        await self._uploads.finish()
        if self._image.touch_short():
            await self._uploads.finish()
        headers = await self._final_headers(has_holes=self._image.extents.zeros > 0)
        committed = await self._committer.put_large(self._image.rows(), self.layout(), headers)
        if committed is not None:
            self._image.begin(committed.image.layout.extents)
        return committed

    async def _commit_plain(self) -> Committed | None:
        extents = await self._uploads.completed(self._image.extents.extents)
        headers = await self._final_headers(has_holes=False)  # its zeros are stored
        committed = await self._committer.put_plain(payload_of(extents), headers)
        if committed is not None and self._image.stored_in():
            self._image.begin(committed.image.layout.extents)
        return committed

    def _is_started(self) -> bool:
        """Return whether some of the image is in segments already, or on its way there.

        Or had better be: what is left of a plain image would have to be fetched and sent.
        """
        stored = self._image.stored_in()
        in_own = stored.pop(self._uploader.image, 0)
        return bool(stored or self._uploads.flying) or in_own > self._format.plan.segment_size

    async def _final_headers(self, *, has_holes: bool) -> dict[str, str]:
        """Return what is sent with the image: nothing that other bytes had."""
        if not self._has_new_bytes:
            return dict(self._headers)
        headers = merged(self._headers, changes_of(dict.fromkeys(STALE_METADATA)))
        told = await self._watch.finish(self.size, metadata_of(headers), self._read)
        if has_holes:
            told = {**told, "allocated": str(self.stored_bytes)}
        self._headers = {**headers, **headers_of(told)}
        return dict(self._headers)

    async def _read(self, offset: int, size: int) -> Bytes:
        return await self._reader.read(self.layout(), offset, size)
