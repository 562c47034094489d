"""Names: looking them up, giving them, taking them.

What stands here is the order of steps, and that order is the guarantee, since Swift has no
transactions: a name is given to the new before it is taken from the old, and taken before
what it stood for is deleted. So a failure in between leaves too much, never too little.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.model.files import given_up_when_refused
from swiftimgfs.model.inodes import Inode, InodeTable, Kind
from swiftimgfs.model.paths import StorePath, check_storable, component_of
from swiftimgfs.model.posts import put_marker
from swiftimgfs.model.views import remove_container
from swiftimgfs.store.records import SEGMENT_CONTAINER_SUFFIX

if TYPE_CHECKING:
    from swiftimgfs.model.attributes import AttributeChanges
    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.entries import Entry
    from swiftimgfs.model.files import Opened, OpenFiles
    from swiftimgfs.model.views import View
    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.writing.hooks import JournalEntry

log = logging.getLogger(__name__)


class Tree:
    """The names of the mount."""

    def __init__(
        self,
        store: ImageStore,
        directories: Directories,
        inodes: InodeTable,
        files: OpenFiles,
        view: View,
    ) -> None:
        self._store = store
        self._directories = directories
        self._inodes = inodes
        self._files = files
        self._view = view

    async def lookup(self, parent_number: int, name: bytes) -> Inode:
        """Return what a name is, counted as told to the kernel."""
        parent = self._inodes[parent_number]
        if name == b".":
            inode = parent
        elif name == b"..":
            inode = parent.parent or parent
        else:
            inode = await self._child(parent, component_of(name))
        self._inodes.remember(inode)
        return inode

    async def create(
        self, parent_number: int, name: bytes, flags: int, changes: AttributeChanges
    ) -> tuple[Inode, Opened]:
        """Make a file, which is in Swift when its first commit is.

        Raises:
            NotPermittedError: Beside the containers, or where it would harm an image.
        """
        parent = self._inodes[parent_number]
        path = await self._new_path(parent, name)
        await self._view.prepare(path)
        inode = self._inodes.obtain(parent, path.component, Kind.FILE, path)
        opened = self._files.create(inode, flags, changes)
        self._inodes.remember(inode)
        return inode, opened

    async def mkdir(self, parent_number: int, name: bytes) -> Inode:
        """Make a container, or a directory in one by a marker object."""
        parent = self._inodes[parent_number]
        self._view.check_may_have_directories(parent.path)
        path = await self._new_path(parent, name)
        if not path.is_container:
            await put_marker(self._store, path)
        elif not await self._store.put_container(path.container):
            raise errors.ExistsError(f"{path}: there is such a container")
        self._directories.made_directory(path)
        return await self.lookup(parent_number, name)

    async def rmdir(self, parent_number: int, name: bytes) -> None:
        """Remove a directory that has nothing in it, shown or not.

        Raises:
            DirectoryNotEmptyError: It has.
        """
        parent = self._inodes[parent_number]
        self._view.check_may_have_directories(parent.path)
        inode = await self._child(parent, component_of(name))
        path = inode.path
        if inode.kind is not Kind.DIRECTORY:
            raise errors.NotADirectoryFsError(f"{path}: is a file")
        listing = await self._directories.fresh_listing(path)
        count = len(listing.entries) + listing.hidden
        count += sum(written.parent is inode for written in self._files.being_written())
        if count:
            raise errors.DirectoryNotEmptyError(f"{path}: has {count} entries")
        if path.is_container:
            await remove_container(self._store, path.container)
        else:
            await self._delete_markers(path)
        self._directories.removed_directory(path)
        self._inodes.unlink(inode)

    async def unlink(self, parent_number: int, name: bytes) -> None:
        """Remove an image with its segments; who has it open goes on reading.

        Raises:
            IsADirectoryFsError: It is one.
        """
        inode = await self._child(self._inodes[parent_number], component_of(name))
        path = inode.path
        if inode.kind is Kind.DIRECTORY:
            raise errors.IsADirectoryFsError(f"{path}: is a directory")
        containers = {path.container}
        inode.is_leaving = True
        try:
            image = await self._resolved(path)
            await self._files.remove(inode, image)
        except errors.NotFoundError:
            if not self._files.is_being_written(inode):
                raise
            self._directories.removed(path, None)  # never stored
        else:
            self._directories.removed(path, image.info)
            containers |= _containers_of(image)
        finally:
            inode.is_leaving = False
        self._inodes.unlink(inode)
        await self._leave(inode, containers)

    async def rename(
        self, old: tuple[int, bytes], new: tuple[int, bytes], *, may_replace: bool
    ) -> None:
        """Give an image another name: a copy inside Swift, or of the manifest alone.

        Raises:
            CrossDeviceError: A directory, or out of a container: `mv` then copies.
            ExistsError: The new name is taken and must not be replaced.
        """
        inode = await self._child(self._inodes[old[0]], component_of(old[1]))
        parent = self._inodes[new[0]]
        target = await self._new_path(parent, new[1])
        if inode.kind is Kind.DIRECTORY or target.is_container:
            raise errors.CrossDeviceError(f"{inode.path}: is moved by copying")
        if target == inode.path:
            return
        await self._files.posts.sent(inode)
        replaced = await self._image_in_the_way(parent, target, may_replace=may_replace)
        await self._view.prepare(target)
        source = inode.path
        other = self._inodes.find(parent, target.component)
        if _is_at(replaced, target) and self._files.retarget(inode, target, replaced, other):
            self._directories.removed(source, None)  # the rest is for its commit
            self._inodes.rename(inode, parent, target.component, target)
            return
        async with self._files.removing(replaced) as entry:
            if self._files.retarget(inode, target):  # not in Swift under any name yet
                self._directories.removed(source, None)
                in_use = {source.container}  # its segments go beside it
            else:
                in_use = _containers_of(await self._move(inode, source, target))
        self._inodes.rename(inode, parent, target.component, target)
        left = {source.container}
        if replaced is not None:
            await self._replace(other, replaced, target, entry)
            left |= _containers_of(replaced)
        await self._leave(inode, left - in_use)

    def inode_of(self, parent: Inode, entry: Entry) -> Inode:
        """Return the inode of an entry that was looked up or listed; not yet counted.

        What is being written here is that, whatever Swift has of its name.
        """
        known = self._inodes.find(parent, entry.component)
        if known is not None and self._files.is_being_written(known):
            return known
        follows = self._view.follows_paths
        path = None if follows else self._view.place_of(parent.path, entry)
        inode = self._inodes.obtain(parent, entry.component, entry.kind, path)
        see_entry(inode, entry)
        return inode

    # ── steps ──────────────────────────────────────────────────────────────────────────

    async def _child(self, parent: Inode, component: str) -> Inode:
        """Return the inode of a name, as fresh as `attr_timeout` asks; not yet counted."""
        known = self._inodes.find(parent, component)
        if known is not None and self._files.is_being_written(known):
            return known
        return self.inode_of(parent, await self._view.lookup(parent.path, component))

    async def _new_path(self, parent: Inode, name: bytes) -> StorePath:
        path = self._view.new_place(parent.path, component_of(name))
        check_storable(path, self._store.limits)
        if not path.is_container:
            await self._directories.check_free(path)
        return path

    async def _resolved(self, path: StorePath) -> StoredImage:
        try:
            return await self._store.resolve(await self._directories.refreshed_image(path))
        except errors.ImageChangedError:  # between the two requests
            return await self._store.resolve(await self._directories.refreshed_image(path))

    async def _image_in_the_way(
        self, parent: Inode, target: StorePath, *, may_replace: bool
    ) -> StoredImage | None:
        """Return the image that a rename replaces, None when the name is free."""
        try:
            entry = await self._view.lookup(parent.path, target.component)
        except errors.NotFoundError:
            return None
        if entry.kind is Kind.DIRECTORY:
            raise errors.IsADirectoryFsError(f"{target}: is a directory")
        if not may_replace:
            raise errors.ExistsError(f"{target}: exists")
        return await self._resolved(self._view.place_of(parent.path, entry))

    async def _replace(
        self,
        inode: Inode | None,
        replaced: StoredImage,
        target: StorePath,
        entry: JournalEntry | None,
    ) -> None:
        """Delete what an image was made of that `target` replaced, at another place itself too."""
        info = replaced.info
        if (info.container, info.name) != (target.container, target.name):
            with contextlib.suppress(errors.NotFoundError):
                await self._store.delete_object(info.container, info.name)
            self._directories.removed(StorePath(info.container, info.name), info)
        await self._files.discard(inode, replaced, entry)

    async def _move(self, inode: Inode, source: StorePath, target: StorePath) -> StoredImage:
        """Copy the image or its manifest to the new name, then delete the old name alone."""
        info = await self._directories.refreshed_image(source)
        entry = await self._files.moving(info, target)
        async with given_up_when_refused(entry):
            await self._store.copy_image(info, target.container, target.name)
        moved = await self._resolved(target)
        try:
            await self._store.delete_object(info.container, info.name)
        except errors.NotFoundError:
            log.info("renamed, and the old name was gone already image=%s", source)
        except errors.SwiftImgFsError:
            self._directories.stored(target, moved.info, moved.parts)
            log.warning("renamed half: both names exist old=%s new=%s", source, target)
            raise
        if entry is not None:
            await entry.finished()
        self._directories.removed(source, info)
        self._directories.stored(target, moved.info, moved.parts)
        self._files.renamed(inode, moved)
        inode.see(moved.info)
        return moved

    async def _leave(self, inode: Inode, containers: set[str]) -> None:
        """Give up containers that an image was in, unless it goes on being read or written."""
        if not inode.opens:
            await self._view.left(containers)

    async def _delete_markers(self, path: StorePath) -> None:
        """Delete what only says that there is a directory, never an image of its name."""
        for name in (path.prefix, path.name):
            with contextlib.suppress(errors.NotFoundError):
                info = await self._store.head_image(path.container, name)
                is_empty = info.size == 0 and info.manifest is None
                if name == path.prefix and not is_empty:
                    raise errors.DirectoryNotEmptyError(
                        f"{path}: {name!r} is an object with bytes"
                    )
                if name == path.prefix or info.is_directory_marker:
                    await self._store.delete_object(path.container, name)


def _is_at(image: StoredImage | None, path: StorePath) -> bool:
    """Return whether there is an image, and it is stored under this very name."""
    return image is not None and (image.info.container, image.info.name) == (
        path.container,
        path.name,
    )


def see_entry(inode: Inode, entry: Entry) -> None:
    """Take over what a listing or a lookup says of an inode.

    A listing has directories without what is stored with them: what was known stays.
    """
    if entry.kind is Kind.DIRECTORY and entry.info is None and inode.metadata:
        return
    inode.info = entry.info
    inode.show(entry.metadata, entry.mtime_ns)


def _containers_of(image: StoredImage) -> set[str]:
    """Return the containers of an image and of its segments, without `_segments`."""
    names = {image.info.container, *(container for container, _ in image.parts)}
    return {name.removesuffix(SEGMENT_CONTAINER_SUFFIX) for name in names}
