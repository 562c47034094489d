"""Versions of images that are open: which one an open gets, and how the next one is made.

A handle is pinned to the version of the image that was there when it was opened. Whoever
writes makes the next version, which the handles that share the writer see at once, and
everybody else after the commit.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.model.attributes import AttributeChanges
from swiftimgfs.model.handles import OpenImage
from swiftimgfs.model.name_locks import NameLocks
from swiftimgfs.model.removed_open import RemovedOpen
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.store.metadata import carried_by_bytes, changes_of, headers_of, merged
from swiftimgfs.writing.deletion import CLEAN_UP_SECONDS
from swiftimgfs.writing.hooks import STALE_METADATA
from swiftimgfs.writing.options import LargeObject
from swiftimgfs.writing.writer import ImageWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.posts import Posts
    from swiftimgfs.reading.fetcher import Fetcher
    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.parts import WriteParts

log = logging.getLogger(__name__)

# What a file does not keep when it is written anew. A signature stays, like all else that
# somebody stored with it: the new bytes have to be those.
_OF_THE_BYTES = changes_of(dict.fromkeys({*STALE_METADATA, "mtime"}))


class Versions:
    """The versions of images that are open.

    Attributes:
        current: The one that an open gets, of each inode that is open.
        name_locks: Held by who changes what Swift has under a name.
        removed_open: Plain ones whose name was removed.
    """

    def __init__(
        self,
        store: ImageStore,
        directories: Directories,
        fetcher: Fetcher,
        writing: WriteParts,
        posts: Posts,
    ) -> None:
        self.current: Final[dict[Inode, OpenImage]] = {}
        self.name_locks: Final = NameLocks()
        self.removed_open: Final = RemovedOpen(store, self.name_locks)
        self._store = store
        self._directories = directories
        self._fetcher = fetcher
        self._writing = writing
        self._options = writing.options
        self._posts = posts

    def is_being_written(self, inode: Inode) -> bool:
        """Return whether there is something of the image that is not in Swift."""
        image = self.current.get(inode)
        return image is not None and image.writer is not None and image.writer.is_dirty

    def doubt(self, inode: Inode) -> None:
        """Have an image be looked at when it is opened next, however lately that was done."""
        self._directories.expire(inode.path)

    async def refresh(self, inode: Inode) -> bool:
        """Look at the image as it is now; return whether it is another one than before."""
        before = inode.info
        now = await self._directories.image(inode.path)
        inode.see(now)
        return before is None or (before.etag, before.size) != (now.etag, now.size)

    def leave_behind(self, inode: Inode, now: ImageInfo) -> bool:
        """Return whether somebody reads another version of an image than is there now.

        That version keeps the inode, and what is there now gets another. With the size of
        what is there now the kernel would cut off the reader by itself: the end of a file
        that is no end, instead of ESTALE.
        """
        image = self.current.get(inode)
        if image is None or image.writer is not None or image.stored is None:
            return False
        seen = image.stored.info
        is_newer = now.last_modified_ns > seen.last_modified_ns  # a listing may be an older one
        if not image.handles or seen.etag == now.etag or not is_newer:
            return False
        image.is_superseded = True
        inode.is_replaced = True
        return True

    async def current_version(self, inode: Inode) -> OpenImage:
        """Return the version that is there now, shared with the handles that see it already."""
        if (image := self._shared_version(inode)) is not None:
            return image
        stored = await self._resolved(inode)
        self._directories.changes.note_resolved(stored)
        # Somebody else may have opened the same version while Swift was asked.
        if (image := self._shared_version(inode)) is not None:
            return image
        return self._supersede(OpenImage(inode, stored, ImageReader(self._fetcher)))

    async def _resolved(self, inode: Inode) -> StoredImage:
        assert inode.info is not None  # noqa: S101  # a file that was looked up
        try:
            return await self._store.resolve(inode.info)
        except errors.ImageChangedError:  # since it was looked up
            inode.see(await self._directories.refreshed_image(inode.path))
            return await self._store.resolve(inode.info)

    def _shared_version(self, inode: Inode) -> OpenImage | None:
        image = self.current.get(inode)
        if image is not None and (self.is_being_written(inode) or _is_version(image, inode)):
            return image
        return None

    def start_version(self, inode: Inode, replaced: OpenImage | None) -> OpenImage:
        """Return an empty next version of an image, being written."""
        image = OpenImage(inode, None, ImageReader(self._fetcher), replaces=replaced)
        base = replaced.stored if replaced else None
        writer = self._start_writing(image, base, is_edit=False)
        if inode.info is not None:
            writer.change_headers(merged(carried_by_bytes(inode.info), _OF_THE_BYTES))
        image.written_ns = inode.mtime_ns = time.time_ns()
        return self._supersede(image)

    def _supersede(self, image: OpenImage) -> OpenImage:
        """Make this the version that is opened from now on.

        The kernel keeps one set of pages for an inode, whatever version a handle was opened
        on. So who has an older version open gets ESTALE from here on: its bytes in those
        pages would be false bytes to everybody else.
        """
        older = self.current.get(image.inode)
        if older is not None:
            older.is_superseded = True
        self.current[image.inode] = image
        return image

    def _start_writing(
        self, image: OpenImage, base: StoredImage | None, *, is_edit: bool
    ) -> ImageWriter:
        """Give an open image a writer, which replaces `base`."""
        path = image.inode.path
        image.reader.expect_changes()
        image.writer = ImageWriter(
            self._writing,
            path.container,
            path.name,
            image.reader,
            base=base,
            is_edit=is_edit,
            gate=functools.partial(self._storing, image.inode),
        )
        return image.writer

    @contextlib.asynccontextmanager
    async def _storing(self, inode: Inode) -> AsyncIterator[bool]:
        """Hold the name of an image while it is stored; say whether it has one still."""
        async with self.name_locks.holding(inode.path):
            yield not inode.is_unlinked

    def writer_of(self, image: OpenImage) -> ImageWriter:
        """Return what writes an image.

        Raises:
            ImageChangedError: There is a newer version of it.
            NotPermittedError: It is Glance's.
        """
        if image.writer is not None:
            return image.writer
        check_current(image)
        self.check_may_change(image.inode)
        writer = self._start_writing(image, image.stored, is_edit=True)
        # Since it was opened somebody may have changed what it carries.
        inode = image.inode
        if inode.info is not None and _is_version(image, inode):
            gone = dict.fromkeys(writer.headers)
            writer.note_headers({**gone, **carried_by_bytes(inode.info), **inode.unsent})
        return writer

    def check_may_change(self, inode: Inode) -> None:
        """Refuse to change an image that is Glance's.

        Raises:
            NotPermittedError: Glance wrote it, and `allow_glance_writes` is off.
        """
        info = inode.info
        options = self._options
        if info and not options.allow_glance_writes and options.naming.is_glance_image(info):
            raise errors.NotPermittedError(
                f"{inode.path}: Glance keeps checksums of this image, so it cannot be changed"
                " (-o allow_glance_writes)"
            )

    def apply(self, image: OpenImage, changes: AttributeChanges) -> None:
        """Have the next commit of an image store attributes."""
        metadata = changes.metadata()
        inode = image.inode
        inode.metadata = {**inode.metadata, **metadata}
        if changes.mtime_ns is not None:
            inode.mtime_ns = changes.mtime_ns
            image.written_ns = None
        if image.writer is not None:
            image.writer.change_headers(headers_of(metadata))

    async def commit(self, image: OpenImage) -> None:
        """Return after an image is in Swift, unless nobody can see it any more."""
        if image.writer is None or (image.inode.is_unlinked and image.writer.is_dirty):
            return
        is_kept = not self.is_as_glance or "mtime" in image.inode.metadata
        if image.written_ns is not None and is_kept and image.writer.is_dirty:
            self.apply(image, AttributeChanges(mtime_ns=image.written_ns))
        async with self._posts.held(image.inode):
            committed = await image.writer.commit()
        if committed is None:
            return
        image.stored = committed.image
        inode = image.inode
        inode.see(committed.image.info)
        inode.cached_etag = (
            None  # there may be pages of what was before: the next open drops them
        )
        self._directories.changes.stored(
            inode.path, committed.image.info, committed.image.parts
        )
        self._directories.changes.doomed(committed.doomed)
        if image.replaces is not None and image.replaces.handles:
            image.replaces.doomed.append(committed.doomed)
        else:
            await self._writing.garbage.discard(committed.doomed)

    def is_left_as_it_is(self, info: ImageInfo) -> bool:
        """Return whether nothing of ours is to be stored with an image: it is Glance's."""
        return self.is_as_glance or self._options.naming.is_glance_image(info)

    @property
    def is_as_glance(self) -> bool:
        """Whether nothing is stored with an image but what somebody asked for."""
        return self._options.large_object is LargeObject.GLANCE

    async def close(self, image: OpenImage) -> None:
        """Give up an open image: what could not be stored goes to the journal."""
        image.reader.close()
        if self.current.get(image.inode) is image:
            del self.current[image.inode]
        if image.writer is not None:
            if image.writer.is_dirty and not image.inode.is_unlinked:
                log.error("not stored image=%s size=%d", image.inode.path, image.writer.size)
                # What is still being written, with no close yet, is nobody's image.
                if image.handles == 0 or image.writer.is_wanted:
                    await image.writer.keep()
            await image.writer.close()
            image.writer = None
        with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
            if image.removed is not None:
                await self.removed_open.delete(image, image.removed)
            for doomed in image.doomed:
                await self._writing.garbage.discard(doomed)


def check_current(image: OpenImage) -> None:
    """Refuse bytes of a version that the inode, by any lookup since, no longer is.

    The kernel would cut them, or fill them up with zeros, at the newer version's size.
    """
    is_current = image.writer is not None or image.inode.is_unlinked
    if image.is_superseded or not (is_current or _is_version(image, image.inode)):
        raise errors.ImageChangedError(f"{image.inode.path}: there is a newer version")


def _is_version(image: OpenImage, inode: Inode) -> bool:
    return bool(image.stored and inode.info and image.stored.info.etag == inode.info.etag)
