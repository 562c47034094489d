"""What a name is, and where something of a name would go: what all verbs on names begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.paths import StorePath, check_storable, component_of
from swiftimgfs.store.records import NO_METADATA, SEGMENT_CONTAINER_SUFFIX

if TYPE_CHECKING:
    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.entries import Entry
    from swiftimgfs.model.files import OpenFiles
    from swiftimgfs.model.inodes import Inode, InodeTable
    from swiftimgfs.model.views import View
    from swiftimgfs.store.image_store import ImageStore, StoredImage


@dataclass(frozen=True, slots=True)
class Names:
    """The parts of a mount that have to do with names, and how they go together."""

    store: ImageStore
    directories: Directories
    inodes: InodeTable
    files: OpenFiles
    view: View

    async def child(self, parent: Inode, component: str) -> Inode:
        """Return the inode of a name, as fresh as `attr_timeout` asks; not yet counted."""
        known = self.inodes.find(parent, component)
        if known is not None and self.files.is_being_written(known):
            return known
        return self.inode_of(parent, await self.view.lookup(parent.path, component))

    def inode_of(self, parent: Inode, entry: Entry) -> Inode:
        """Return the inode of an entry that was looked up or listed; not yet counted.

        What is being written here is that, whatever Swift has of its name.
        """
        known = self.inodes.find(parent, entry.component)
        if known is not None and self.files.is_being_written(known):
            return known
        if known is not None and entry.info is not None and entry.kind is Kind.FILE:
            self.files.leave_behind(known, entry.info)
        path = None if self.view.follows_paths else self.view.place_of(parent.path, entry)
        inode = self.inodes.obtain(parent, entry.component, entry.kind, path)
        see_entry(inode, entry)
        return inode

    async def new_path(self, parent: Inode, name: bytes) -> StorePath:
        """Return where something new of a name goes.

        Raises:
            NameTooLongError: Swift cannot hold the name.
            NotPermittedError: It would become part of somebody's image.
        """
        path = self.view.new_place(parent.path, component_of(name))
        check_storable(path, self.store.limits)
        if not path.is_container:
            await self.directories.check_free(path)
        return path

    async def resolved(self, path: StorePath) -> StoredImage:
        """Return an image as it is now, with all that it is made of."""
        try:
            return await self.store.resolve(await self.directories.refreshed_image(path))
        except errors.ImageChangedError:  # between the two requests
            return await self.store.resolve(await self.directories.refreshed_image(path))

    async def check_empty(self, inode: Inode) -> None:
        """Refuse a directory that has anything in it, shown or not.

        Raises:
            DirectoryNotEmptyError: It has.
        """
        listing = await self.directories.fresh_listing(inode.path)
        count = len(listing.entries) + listing.hidden
        count += sum(written.parent is inode for written in self.files.being_written())
        if count:
            raise errors.DirectoryNotEmptyError(f"{inode.path}: has {count} entries")

    async def leave(self, inode: Inode, containers: set[str]) -> None:
        """Give up containers that an image was in, unless it goes on being read or written."""
        if not inode.opens:
            await self.view.left(containers, self.files.removals.hurry)


def see_entry(inode: Inode, entry: Entry) -> None:
    """Take over what a listing or a lookup says of an inode.

    A listing has directories without what is stored with them: what was known stays.
    """
    is_bare = entry.info is None and entry.metadata is NO_METADATA
    if entry.kind is Kind.DIRECTORY and is_bare and inode.metadata:
        return
    inode.info = entry.info
    inode.show(entry.metadata, entry.mtime_ns)


def containers_of(image: StoredImage) -> set[str]:
    """Return the containers of an image and of its segments, without `_segments`."""
    names = {image.info.container, *(container for container, _ in image.parts)}
    return {name.removesuffix(SEGMENT_CONTAINER_SUFFIX) for name in names}
