"""Directories as they are read: open handles, and the names that come through them.

A handle has the names in a fixed order, the one in which they came; a number in it is what
seekdir(3) goes back to. So no name is missed or repeated while others come and go; who goes
back to the start (rewinddir) sees what is there by then. While a listing is being loaded the
handle grows with it.

Reading a directory asks for no attributes: the kernel is given those of the listing, and told
not to keep what a look at the name alone might show otherwise. Once it was seen to ask for
many names of a directory, they are asked for here, side by side: see `walks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from swiftimgfs.model.entries import Entry
from swiftimgfs.model.handles import HandleTable
from swiftimgfs.model.inodes import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.entries import Listing
    from swiftimgfs.model.files import OpenFiles
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.names import Names
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.model.views import View

# How many names are asked for side by side.
CHUNK = 256


@dataclass(slots=True, eq=False)
class DirectoryHandle:
    """One opendir(3).

    Attributes:
        path: Where it was when it was opened.
        entries: The names so far, in order.
        listing: What grows still; None when all is there.
        taken: How many of its batches are among the entries.
        window: Some of the entries as they are shown, and whether the kernel may keep that.
        start: The number of the first of them.
    """

    inode: Inode
    path: StorePath
    entries: list[Entry]
    listing: Listing | None = None
    taken: int = 0
    window: list[tuple[Entry, bool]] = field(default_factory=list)
    start: int = 0


class OpenDirectories:
    """The directories that are open."""

    def __init__(
        self, directories: Directories, view: View, names: Names, files: OpenFiles
    ) -> None:
        self._directories = directories
        self._view = view
        self._names = names
        self._files = files
        self._handles: HandleTable[DirectoryHandle] = HandleTable()

    async def open(self, inode: Inode) -> int:
        """Return a handle on the names in a directory.

        Raises:
            NotFoundError: There is no such directory any more.
        """
        handle = self._handles.add(await self._started(inode))
        self._directories.opened(inode.path)
        return handle

    def directory_of(self, handle: int) -> Inode:
        """Return what an open directory is."""
        return self._handles[handle].inode

    async def rewind(self, handle: int) -> None:
        """Start again, with the names that are there now, if any were read."""
        directory = self._handles[handle]
        if directory.taken or directory.listing is None:
            fresh = await self._started(directory.inode)
            fresh.path = directory.path
            self._handles.replace(handle, fresh)

    def has_come(self, handle: int, index: int) -> bool:
        """Return whether Swift has told already of entry number `index`, or of the end."""
        directory = self._handles[handle]
        listing = directory.listing
        return (
            listing is None
            or index < len(directory.entries)
            or directory.taken < len(listing.batches)
            or not listing.is_loading
        )

    async def entries(self, handle: int, index: int) -> Iterator[tuple[Inode, bool]] | None:
        """Return some entries of an open directory, from number `index` on; None after the last.

        Nothing is awaited between two of them: of 100,000 names that would be a fifth of the
        time. The caller remembers an inode when the kernel has been told of it, else forgoes
        it.

        Returns:
            For each its inode, and whether the kernel may keep its attributes.

        Raises:
            SwiftImgFsError: What loading the rest failed with.
        """
        directory = self._handles[handle]
        offset = index - directory.start
        if not 0 <= offset < len(directory.window):
            if not await self._look_at(directory, index):
                return None
            offset = 0
        return (
            (self._names.inode_of(directory.inode, entry), is_settled)
            for entry, is_settled in islice(directory.window, offset, None)
        )

    async def _look_at(self, directory: DirectoryHandle, index: int) -> bool:
        """Have entries from `index` on in the window; return whether there are any.

        What was found gone falls out of the directory.
        """
        path = directory.inode.path
        while True:
            while index >= len(directory.entries):
                if not await self._grow(directory):
                    return False
            some = directory.entries[index : index + CHUNK]
            is_walked = self._directories.is_walked(path)
            if is_walked:
                await self._directories.exact(path, some, directory.entries)
            best = (self._directories.best(path, entry) for entry in some)
            shown = [entry for entry in best if entry is not None]
            directory.entries[index : index + CHUNK] = shown
            if shown:
                break
        directory.start = index
        directory.window = [
            (entry, is_walked or self._directories.is_settled(path, entry)) for entry in shown
        ]
        return True

    def release(self, handle: int) -> None:
        """Close a directory."""
        self._directories.closed(self._handles[handle].path)
        self._handles.remove(handle)

    async def _started(self, inode: Inode) -> DirectoryHandle:
        listing = await self._view.listing(inode.path)
        if listing.is_loading:
            return DirectoryHandle(inode, inode.path, [], listing)
        entries = list(listing.entries.values())
        written = self._written(inode, set(listing.entries))
        return DirectoryHandle(inode, inode.path, [*entries, *written])

    async def _grow(self, directory: DirectoryHandle) -> bool:
        """Take over what came of the listing; return whether there may be more."""
        listing = directory.listing
        if listing is None:
            return False
        batch = await listing.batch(directory.taken)
        if batch is None:
            names = {entry.component for entry in directory.entries}
            directory.entries += self._written(directory.inode, names)
            directory.listing = None
        elif directory.taken < len(listing.batches):
            directory.taken += 1
            directory.entries += [e for e in batch if e.component in listing.entries]
        return True

    def _written(self, inode: Inode, names: set[str]) -> list[Entry]:
        """Return the names of what is being written there, and not in Swift yet."""
        return [
            Entry(written.component, Kind.FILE)
            for written in self._files.being_written()
            if written.parent is inode
            and not written.is_unlinked
            and written.component not in names
        ]
