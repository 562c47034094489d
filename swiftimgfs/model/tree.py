"""Names: looking them up, giving them, taking them.

What stands here is the order of steps, and that order is the guarantee, since Swift has no
transactions: a name is given to the new before it is taken from the old, and taken before
what it stood for is deleted. So a failure in between leaves too much, never too little.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model import links
from swiftimgfs.model.containers import remove_container
from swiftimgfs.model.inodes import Inode, Kind
from swiftimgfs.model.names import containers_of
from swiftimgfs.model.paths import StorePath, existing_component_of
from swiftimgfs.model.posts import put_marker
from swiftimgfs.model.renames import Renames
from swiftimgfs.store.metadata import headers_of
from swiftimgfs.store.records import LinkTarget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swiftimgfs.model.attributes import AttributeChanges
    from swiftimgfs.model.files import Opened
    from swiftimgfs.model.names import Names

log = logging.getLogger(__name__)


class Tree:
    """The names of the mount.

    Attributes:
        renames: What gives other names.
    """

    def __init__(self, names: Names, mountpoints: Sequence[str] = ()) -> None:
        """Work on `names`; links with absolute text lead below one of `mountpoints`."""
        self.renames: Final = Renames(names)
        self._names = names
        self._store = names.store
        self._directories = names.directories
        self._inodes = names.inodes
        self._files = names.files
        self._view = names.view
        self._mountpoints = mountpoints

    async def lookup(self, parent_number: int, name: bytes) -> Inode:
        """Return what a name is, counted as told to the kernel."""
        parent = self._inodes[parent_number]
        if name == b".":
            inode = parent
        elif name == b"..":
            inode = parent.parent or parent
        else:
            inode = await self._names.child(parent, existing_component_of(name))
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
        path = await self._names.new_path(parent, name)
        await self._view.prepare(path)
        inode = self._inodes.obtain(parent, path.component, Kind.FILE, path)
        opened = self._files.create(inode, flags, changes)
        self._inodes.remember(inode)
        return inode, opened

    async def mkdir(self, parent_number: int, name: bytes) -> Inode:
        """Make a container, or a directory in one by a marker object."""
        parent = self._inodes[parent_number]
        self._view.check_may_have_directories(parent.path)
        path = await self._names.new_path(parent, name)
        if not path.is_container:
            await put_marker(self._store, path)
        elif not await self._store.put_container(path.container):
            raise errors.ExistsError(f"{path}: there is such a container")
        self._directories.changes.made_directory(path)
        return await self.lookup(parent_number, name)

    async def rmdir(self, parent_number: int, name: bytes) -> None:
        """Remove a directory that has nothing in it, shown or not.

        Raises:
            DirectoryNotEmptyError: It has.
        """
        parent = self._inodes[parent_number]
        self._view.check_may_have_directories(parent.path)
        inode = await self._names.child(parent, existing_component_of(name))
        path = inode.path
        if inode.kind is not Kind.DIRECTORY:
            raise errors.NotADirectoryFsError(f"{path}: is a file")
        await self._names.check_empty(inode)
        if path.is_container:
            await self._files.removals.hurry(path.container)
            await remove_container(self._store, path.container)
        else:
            await self._delete_markers(path)
        self._directories.changes.removed_directory(path)
        self._inodes.unlink(inode)

    async def unlink(self, parent_number: int, name: bytes) -> None:
        """Remove an image with its segments; who has it open goes on reading.

        Raises:
            IsADirectoryFsError: It is one.
        """
        parent = self._inodes[parent_number]
        inode = await self._names.child(parent, existing_component_of(name))
        path = inode.path
        if inode.kind is Kind.DIRECTORY:
            raise errors.IsADirectoryFsError(f"{path}: is a directory")
        async with self._files.name_locks.holding(path):
            containers = await self._remove(inode)
            self._inodes.unlink(inode)
        await self._names.leave(inode, containers)

    async def _remove(self, inode: Inode) -> set[str]:
        """Take an image's name away in Swift; return the containers that it was in."""
        path = inode.path
        inode.is_leaving = True
        try:
            image = await self._names.resolved(path)
            await self._files.removals.remove(inode, image)
        except errors.NotFoundError:
            if not self._files.is_being_written(inode):
                raise
            self._directories.changes.removed(path, None)  # never stored
            return {path.container}
        finally:
            inode.is_leaving = False
        self._directories.changes.removed(path, image.info)
        return {path.container} | containers_of(image)

    # ── links ──────────────────────────────────────────────────────────────────────────

    async def symlink(self, parent_number: int, name: bytes, text: bytes) -> Inode:
        """Make a symlink of Swift's, which leads to an object.

        Raises:
            NotPermittedError: The text leads to no object that is there, or out of the mount.
        """
        parent = self._inodes[parent_number]
        path = await self._names.new_path(parent, name)
        await self._view.prepare(path)
        target = await self._link_target(parent, os.fsdecode(text))
        link = LinkTarget(target.container, target.name)
        kept = headers_of(links.kept_text(text))
        async with self._files.name_locks.holding(path):
            is_new = self._files.removed_open.at(path) is None
            info = await self._store.put_link(
                path.container, path.name, link, kept, is_new=is_new
            )
        self._directories.changes.stored(path, info)
        return await self.lookup(parent_number, name)

    async def _link_target(self, parent: Inode, text: str) -> StorePath:
        names = links.names_at(parent.names, text, self._mountpoints)
        if not names or text.endswith("/"):
            raise errors.NotPermittedError(f"{text!r}: not in this mount, where links lead")
        directory = functools.reduce(StorePath.child, names[:-1], self._inodes.root.path)
        try:
            entry = await self._view.lookup(directory, names[-1])
        except errors.NotFoundError as failure:
            raise errors.NotPermittedError(f"{text!r}: Swift has no such image") from failure
        place = self._view.place_of(directory, entry)
        is_there = self._view.names_of(self._inodes.root.path, place) == names
        if entry.kind is Kind.DIRECTORY or not is_there:
            raise errors.NotPermittedError(f"{text!r}: is no image, which links lead to")
        return place

    def link_text(self, inode: Inode) -> bytes:
        """Return what is written in a link.

        Raises:
            InvalidRequestError: It is none.
        """
        link = inode.info.link if inode.info else None
        if link is None or inode.parent is None:
            raise errors.InvalidRequestError(f"{inode.path}: is no link")
        target = None
        if not link.account:
            place = StorePath(link.container, link.name)
            target = self._view.names_of(self._inodes.root.path, place)
        if target is None:
            return self._store.path_of(link).encode()
        return os.fsencode(
            links.shown_text(inode.parent.names, target, inode.metadata, self._mountpoints)
        )

    # ── steps ──────────────────────────────────────────────────────────────────────────

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
