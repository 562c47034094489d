"""Images as open files: handles, and the bytes that go through them.

A handle is pinned to the version of the image that was there when it was opened. Whoever
writes makes the next version, which the handles that share the writer see at once, and
everybody else after the commit. What a removed or replaced image was made of is deleted
when the last handle on that version is closed.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.attributes import AttributeChanges, allocated_bytes
from swiftimgfs.model.followers import Followers
from swiftimgfs.model.handles import FileHandle, HandleTable, OpenImage
from swiftimgfs.model.posts import Posts
from swiftimgfs.model.removals import Removals
from swiftimgfs.model.versions import Versions, check_current
from swiftimgfs.store.metadata import carried, merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.model.activity import ImageActivity
    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.inodes import Inode, InodeTable
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.reading.block_cache import ObjectKey
    from swiftimgfs.reading.fetcher import Fetcher
    from swiftimgfs.reading.reader import Bytes
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.metadata import HeaderChanges
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.hooks import ObjectName
    from swiftimgfs.writing.parts import WriteParts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What open(2) gives: the handle, and what the kernel may keep of the image's pages."""

    handle: int
    is_direct: bool
    keeps_pages: bool
    has_changed: bool


class OpenFiles:
    """The files that are open, and how their bytes move.

    Attributes:
        bytes_read: What readers were given.
        bytes_written: What writers gave.
    """

    def __init__(
        self,
        store: ImageStore,
        directories: Directories,
        inodes: InodeTable,
        fetcher: Fetcher,
        writing: WriteParts,
    ) -> None:
        self.posts: Final = Posts(store, directories, inodes, writing.nursery)
        self._inodes = inodes
        self._fetcher = fetcher
        self._versions = Versions(store, directories, fetcher, writing, self.posts)
        self.name_locks: Final = self._versions.name_locks
        self.removed_open: Final = self._versions.removed_open
        self._handles: HandleTable[FileHandle] = HandleTable()
        self.followers = Followers(self._versions, writing)
        self.removals: Final = Removals(store, directories.changes, self._versions, writing)
        self.bytes_read = self.bytes_written = 0

    # ── opening and closing ────────────────────────────────────────────────────────────

    async def open(self, inode: Inode, flags: int) -> Opened:
        """Open an image; with O_TRUNC, start its next version.

        Raises:
            NotPermittedError: It would change an image that Glance owns.
            ImageChangedError: Another host replaced it while it was open: the kernel then
                looks the name up again, and opens what is there now (path_lookup(7)).
        """
        access = flags & os.O_ACCMODE
        may_write = access != os.O_RDONLY
        if may_write:  # who writes stores the image as it is now, with what it carries
            await self.posts.sent(inode)
        has_changed = not self.is_being_written(inode) and await self._versions.refresh(inode)
        if inode.info is not None and self.leave_behind(inode, inode.info):
            raise errors.ImageChangedError(f"{inode.path}: replaced while open")
        image = await self._versions.current_version(inode)
        if may_write and flags & os.O_APPEND and image.writer is None:
            # Told at once: it is opened for nothing else.
            self._versions.check_may_change(inode)
        if is_emptied := bool(flags & os.O_TRUNC):  # by who only reads, too: as Linux does
            self._versions.check_may_change(inode)
            image = await self._emptied(image)
        handle = FileHandle(
            image,
            may_read=access != os.O_WRONLY,
            may_write=may_write,
            has_changed=is_emptied,
        )
        return self._opened(handle, has_changed=has_changed)

    def leave_behind(self, inode: Inode, now: ImageInfo) -> bool:
        """Have who reads another version than is there `now` keep the inode, without a name."""
        is_behind = not inode.is_unlinked and self._versions.leave_behind(inode, now)
        if is_behind:
            self._inodes.unlink(inode)
        return is_behind

    def create(self, inode: Inode, flags: int, changes: AttributeChanges) -> Opened:
        """Open an image that is not in Swift yet; its first commit makes it."""
        # Of that name there may be an image that was removed, but is still being read.
        image = self._versions.start_version(inode, self.removed_open.at(inode.path))
        if not self._versions.is_as_glance:
            self._versions.apply(image, changes)
        access = flags & os.O_ACCMODE
        may_read = access != os.O_WRONLY
        handle = FileHandle(image, may_read=may_read, may_write=True, has_changed=True)
        return self._opened(handle, has_changed=False)

    async def release(self, number: int) -> None:
        """Close a handle; with the last one, give back what only it needed.

        Nobody hears of an error here, so what is not stored by now goes into the log.
        """
        image = self._handles.remove(number).image
        image.handles -= 1
        image.inode.opens -= 1
        if image.handles == 0:
            await self._commit_the_rest(image)
            await self._versions.close(image)
        self._inodes.drop_if_unused(image.inode)

    async def _commit_the_rest(self, image: OpenImage) -> None:
        """Store what came after the last close: pages of a mapping that outlived it."""
        if image.writer is None or not image.writer.is_dirty or image.writer.is_wanted:
            return
        try:
            await self._versions.commit(image)
        except errors.SwiftImgFsError as failure:
            path = image.inode.path
            reason = errors.reason_beside(path, failure)
            log.warning("not stored after the last close image=%s reason=%s", path, reason)

    async def close_all(self) -> None:
        """Give up everything that is open, at unmount."""
        await self.posts.all_sent()
        for image in {handle.image for handle in self._handles.all()}:
            await self._versions.close(image)

    # ── bytes ──────────────────────────────────────────────────────────────────────────

    async def read(self, number: int, offset: int, size: int) -> Bytes:
        """Return `size` bytes from `offset`, fewer only at the end of the image."""
        handle = self._handles[number]
        image = handle.image
        if not handle.may_read:
            raise errors.BadHandleError(f"handle {number} is not open for reading")
        while True:
            check_current(image)
            changes = image.changes
            try:
                data = await self._read(image, offset, size)
            except errors.ImageChangedError:
                if image.changes == changes:
                    raise
                continue
            if image.changes == changes:
                break
        check_current(image)  # it may have been superseded while Swift was asked
        size = len(data)
        image.position = offset + size
        image.read += size
        self.bytes_read += size
        return data

    async def _read(self, image: OpenImage, offset: int, size: int) -> Bytes:
        """Read once: bytes that somebody writes meanwhile may move away under it."""
        try:
            return await image.reader.read(image.layout(), offset, size)
        except errors.ForbiddenError as failure:
            if image.is_through_manifest or image.stored is None or not image.stored.parts:
                raise
            log.info(
                "reading through the manifest image=%s reason=%s", image.inode.path, failure
            )
            image.is_through_manifest = True
            return await image.reader.read(image.layout(), offset, size)

    def doubt(self, number: int) -> Inode:
        """Return what a handle is open on, and have it looked at when it is opened next."""
        inode = self._handles[number].image.inode
        self._versions.doubt(inode)
        return inode

    async def write(self, number: int, offset: int, data: bytes) -> None:
        """Take `data` over; see `ImageWriter.write`."""
        handle = self._handles[number]
        if not handle.may_write:
            raise errors.BadHandleError(f"handle {number} is not open for writing")
        image = handle.image
        handle.has_changed = True
        await self._versions.writer_of(image).write(offset, data)
        image.written_ns = image.inode.mtime_ns = time.time_ns()
        self.bytes_written += len(data)

    async def flush(self, number: int) -> None:
        """Return after an image that this handle changed is in Swift.

        Who only looks at an image that another handle is writing does not store a half of it.
        """
        handle = self._handles[number]
        if handle.has_changed:
            await self._versions.commit(handle.image)
        await self.posts.settled(handle.image.inode)

    async def sync(self, number: int) -> None:
        """Return after everything written so far is in Swift, by whatever handle."""
        handle = self._handles[number]
        if handle.may_write:
            await self._versions.commit(handle.image)
        await self.posts.settled(handle.image.inode)

    def path_of(self, number: int) -> StorePath:
        """Return where the image of a handle is."""
        return self._handles[number].image.inode.path

    def check_may_change(self, inode: Inode) -> None:
        """Refuse to change an image that is Glance's; see `Versions`."""
        self._versions.check_may_change(inode)

    # ── what else happens to open images ───────────────────────────────────────────────

    @property
    def verified(self) -> Mapping[ObjectKey, float]:
        """When each object was right that was compared with its MD5, since the epoch."""
        return self._fetcher.verifier.verified

    def size_of(self, inode: Inode) -> int:
        """Return the size of a file, as who opens it now would see it."""
        image = self._versions.current.get(inode)
        if image is not None and image.writer is not None:
            return image.writer.size
        return inode.info.size if inode.info else 0

    def stored_bytes_of(self, inode: Inode) -> int:
        """Return how many of its bytes are not holes, as far as that is known."""
        image = self._versions.current.get(inode)
        if image is not None and image.writer is not None:
            return image.writer.stored_bytes
        size = inode.info.size if inode.info else 0
        return min(size, allocated_bytes(inode.metadata, size))

    def being_written(self) -> list[Inode]:
        """Return the files of which something is not in Swift."""
        return [inode for inode in self._versions.current if self.is_being_written(inode)]

    def being_committed(self) -> list[tuple[StorePath, int]]:
        """Return the images that somebody waits for, and how many bytes each lacks in Swift."""
        return [
            (inode.path, image.writer.dirty_bytes)
            for inode, image in self._versions.current.items()
            if image.writer is not None and image.writer.is_dirty and image.writer.is_wanted
        ]

    def activity(self, sending: Mapping[ObjectName, int]) -> tuple[ImageActivity, ...]:
        """Return what is going on with each open image; `sending` as for `ImageWriter.sent`."""
        opened = [handle.image for handle in self._handles.all()]
        images = dict.fromkeys([*opened, *self._versions.current.values()])
        return tuple(image.activity(sending) for image in images)

    def is_being_written(self, inode: Inode) -> bool:
        """Return whether there is something of the image that is not in Swift."""
        return self._versions.is_being_written(inode)

    def has_writer(self, inode: Inode) -> bool:
        """Return whether it is open and was written: then we know of it what there is to know."""
        image = self._versions.current.get(inode)
        return image is not None and image.writer is not None

    def headers_of(self, inode: Inode) -> Mapping[str, str]:
        """Return what an image carries, with changes that are not in Swift yet."""
        image = self._versions.current.get(inode)
        if image is not None and image.writer is not None:
            return merged(image.writer.headers, inode.unsent)
        return merged(carried(inode.info) if inode.info else {}, inode.unsent)

    def change_headers(self, inode: Inode, changes: HeaderChanges) -> None:
        """Change what an image carries: with its next commit, if there will be one.

        An image that is being made here is not Glance's before its last close, though it may
        be in Swift by now: `touch` closes a duplicate before it sets the time.

        Raises:
            NotPermittedError: It is Glance's.
        """
        if inode.is_unlinked and not self.has_writer(inode):
            inode.change(changes, is_sent=True)  # nobody else will see it
            return
        image = self._versions.current.get(inode)
        writer = image.writer if image is not None else None
        if image is not None and "x-object-meta-mtime" in changes:
            image.written_ns = None
        if writer is not None and writer.is_dirty:
            writer.change_headers(changes)
            inode.change(changes, is_sent=True)
            return
        if writer is None:
            self.check_may_change(inode)
        else:
            writer.note_headers(changes)
        self.posts.change(inode, changes)

    async def truncate(self, inode: Inode, size: int, number: int | None = None) -> None:
        """Give an image another size; without a handle that writes it, store it at once.

        Args:
            inode: The image.
            size: Bytes.
            number: Of the handle that was used, if one was.

        Raises:
            NotPermittedError: It would change an image that Glance owns.
        """
        await self.posts.sent(inode)
        if number is not None:
            image = self._handles[number].image
            self._handles[number].has_changed = True
        else:
            image = await self._versions.current_version(inode)
        if size != image.size:
            await self._versions.writer_of(image).truncate(size)
            image.written_ns = inode.mtime_ns = time.time_ns()
        if any(h.has_changed for h in self._handles.all() if h.image is image):
            return
        try:
            await self._versions.commit(image)  # no handle's close would
        finally:
            if image.handles == 0:
                await self._versions.close(image)

    # ── steps ──────────────────────────────────────────────────────────────────────────

    async def _emptied(self, image: OpenImage) -> OpenImage:
        """Return an image without bytes, for O_TRUNC: with others who write it, the same.

        Where there are only readers it is the next version: see `_supersede`.
        """
        writers = any(h.may_write for h in self._handles.all() if h.image is image)
        if not writers and not self.is_being_written(image.inode):
            return self._versions.start_version(image.inode, image)
        await self._versions.writer_of(image).truncate(0)
        image.written_ns = image.inode.mtime_ns = time.time_ns()
        return image

    def _opened(self, handle: FileHandle, *, has_changed: bool) -> Opened:
        image, inode = handle.image, handle.image.inode
        image.handles += 1
        inode.opens += 1
        etag = image.stored.info.etag if image.stored and image.writer is None else None
        keeps_pages = etag is not None and etag == inode.cached_etag
        inode.cached_etag = etag
        return Opened(
            self._handles.add(handle),
            is_direct=not handle.may_read,
            keeps_pages=keeps_pages,
            has_changed=has_changed,
        )
