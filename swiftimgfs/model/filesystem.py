"""The filesystem over an image store: what the kernel's requests call.

`tree` has the verbs about names, `files` those about the bytes of open files, and
`open_directories` directories as they are read; what is none of these is here: attributes,
and how full the store is.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.model import xattrs
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.names import Names, see_entry
from swiftimgfs.model.open_directories import OpenDirectories
from swiftimgfs.model.tree import Tree
from swiftimgfs.store.metadata import (
    carried,
    changes_of,
    check_room,
    headers_of,
    merged,
    metadata_of,
)

if TYPE_CHECKING:
    from swiftimgfs.model.attributes import AttributeChanges
    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.files import OpenFiles
    from swiftimgfs.model.inodes import Inode, InodeTable
    from swiftimgfs.model.usage import StoreUsage, Usage
    from swiftimgfs.model.views import View
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.metadata import HeaderChanges


class ImageFilesystem:
    """Images and directories, by inode number and handle."""

    def __init__(  # noqa: PLR0913  # the parts of a mount
        self,
        store: ImageStore,
        directories: Directories,
        inodes: InodeTable,
        files: OpenFiles,
        usage: StoreUsage,
        view: View,
        *,
        admin_tenants: tuple[str, ...] = (),
        mountpoints: tuple[str, ...] = (),
    ) -> None:
        self._names = Names(store, directories, inodes, files, view)
        self.tree = Tree(self._names, mountpoints)
        self.files = files
        self._store = store
        self._directories = directories
        self._inodes = inodes
        self._usage = usage
        self._view = view
        self._admin_tenants = admin_tenants
        self.open_directories = OpenDirectories(directories, view, self._names, files)

    def inode(self, number: int) -> Inode:
        """Return an inode that the kernel knows."""
        return self._inodes[number]

    def forget(self, number: int, lookups: int) -> None:
        """Take back lookups that the kernel was told of."""
        self._inodes.forget(number, lookups)

    def statfs(self) -> Usage:
        """Return how full the store is, from memory."""
        return self._usage.now()

    def size_of(self, inode: Inode) -> int:
        """Return the size of a file in bytes, of a link that of its text."""
        if inode.kind is Kind.LINK:
            return len(self.tree.link_text(inode))
        return self.files.size_of(inode)

    # ── attributes ─────────────────────────────────────────────────────────────────────

    async def getattr(self, number: int) -> Inode:
        """Return an inode, whose image is at most `attr_timeout` old.

        Raises:
            NotFoundError: Its name is gone.
            ImageChangedError: The same, and it is open. Who asked by the name is told ENOENT
                all the same: at ESTALE the kernel looks the name up again (path_lookup(7)).
        """
        inode = self._inodes[number]
        if inode.is_replaced:
            raise errors.ImageChangedError(f"{inode.path}: replaced while open")
        if inode.is_doubted:
            await self._look_for(inode)
        if inode.kind is Kind.DIRECTORY:
            await self._see_directory(inode)
        while inode.kind is not Kind.DIRECTORY and not self._is_known_here(inode):
            if await self._has_seen(inode):
                break
        return inode

    async def _has_seen(self, inode: Inode) -> bool:
        """See what an image is now; False when this mount has moved or removed it meanwhile."""
        path = inode.path
        try:
            info = await self._directories.status(path)
        except errors.NotFoundError as exc:
            if self._is_known_here(inode) or inode.path != path:
                return False
            if inode.opens:
                raise errors.ImageChangedError(f"{exc}: deleted while open") from exc
            raise
        if self._is_known_here(inode) or inode.path != path:
            return False
        if (info.link is not None) != (inode.kind is Kind.LINK):
            raise errors.ImageChangedError(f"{path}: a link became an image, or back")
        if self.files.leave_behind(inode, info):
            raise errors.ImageChangedError(f"{path}: replaced while open")
        inode.see(info)
        return True

    async def _see_directory(self, directory: Inode) -> None:
        """See what is stored with a directory now; with the mount's root nothing is."""
        path = directory.path
        if directory.parent is None or directory.is_unlinked:
            return
        entry = await self._directories.directory(path)
        if directory.path == path:
            see_entry(directory, entry)

    async def _look_for(self, directory: Inode) -> None:
        """See whether a directory is there still.

        Raises:
            NotFoundError: It is not.
        """
        if directory.parent is not None and not directory.is_unlinked:
            entry = await self._view.lookup(directory.parent.path, directory.component)
            if entry.kind is not Kind.DIRECTORY:
                raise errors.NotFoundError(f"{directory.path}: is an image now")
        directory.is_doubted = False

    def _is_known_here(self, inode: Inode) -> bool:
        """Return whether this mount knows better than Swift what a file is."""
        return inode.is_unlinked or inode.is_leaving or self.files.has_writer(inode)

    async def refresh(self, number: int) -> list[Inode]:
        """See what Swift has now of an image, or of all that is in a directory, however deep.

        Returns:
            The inodes of which the kernel may have been told something older.

        Raises:
            NotFoundError: The image is gone.
        """
        inode = self._inodes[number]
        if inode.kind is not Kind.DIRECTORY:
            self._directories.expire(inode.path)
            return [await self.getattr(number)]
        await self._view.refresh(inode.path)
        below = self._inodes.below(inode)
        for other in below:
            other.is_doubted = other.kind is Kind.DIRECTORY
        return below

    async def setattr(
        self, number: int, changes: AttributeChanges, handle: int | None = None
    ) -> Inode:
        """Change size, mtime, mode or owner; return the inode as it is then."""
        inode = self._inodes[number]
        if changes.size is not None:
            await self.files.truncate(inode, changes.size, handle)
        if changes.metadata():
            self._change(inode, changes_of(changes.metadata()))
        return inode

    async def getxattr(self, number: int, name: bytes) -> bytes:
        """Return the value of an extended attribute."""
        text = _text(name)
        xattrs.check_namespace(text)  # before anything is asked: `ls -l` asks for foreign ones
        return await xattrs.value_of(await self._subject(number), text)

    async def listxattr(self, number: int) -> list[bytes]:
        """Return the names of the extended attributes that have a value."""
        names = await xattrs.names_of(await self._subject(number))
        return [name.encode(errors="surrogateescape") for name in names]

    async def setxattr(self, number: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute."""
        text = _text(name)
        xattrs.check_namespace(text)
        await xattrs.set_value(await self._subject(number), text, value)

    async def removexattr(self, number: int, name: bytes) -> None:
        """Remove an extended attribute."""
        text = _text(name)
        xattrs.check_namespace(text)
        await xattrs.remove(await self._subject(number), text)

    async def _subject(self, number: int) -> xattrs.Subject:
        inode = await self.getattr(number)
        subject = xattrs.Subject(inode, self._store, self._admin_tenants)
        subject.verified = self.files.verified
        if inode.kind is not Kind.DIRECTORY:
            subject.headers = self.files.headers_of(inode)
        else:
            await self._add_what_swift_says(subject)
        if not inode.path.is_root:
            subject.change = functools.partial(self._change_stored, subject)
        return subject

    async def _add_what_swift_says(self, subject: xattrs.Subject) -> None:
        """Ask what a directory carries, and how many names in it are hidden if need be."""
        inode, path = subject.inode, subject.inode.path
        headers: dict[str, str] = {}
        unsent = dict(inode.unsent)  # may be sent after Swift has answered, and before we hear
        if path.is_container:
            subject.container = await self._store.head_container(path.container)
            headers = headers_of(subject.container.metadata)
        elif not path.is_root:
            with contextlib.suppress(errors.NotFoundError):
                marker = await self._store.head_image(path.container, path.prefix)
                headers = carried(marker)
        subject.headers = merged(headers, {**unsent, **inode.unsent})
        subject.hidden = functools.partial(self._count_hidden, inode)

    async def _count_hidden(self, inode: Inode) -> int:
        return (await self._view.listing(inode.path)).hidden

    async def _change_stored(self, subject: xattrs.Subject, changes: HeaderChanges) -> None:
        """Store headers of an image or a directory, if Swift will take them."""
        check_room(metadata_of(merged(subject.headers, changes)), self._store.limits)
        self._change(subject.inode, changes)

    def _change(self, inode: Inode, changes: HeaderChanges) -> None:
        if inode.kind is not Kind.DIRECTORY:
            self.files.change_headers(inode, changes)
        elif inode.path.is_root:
            # Kept here alone: rsync and cp set those of the directory they copy into.
            inode.change(changes, is_sent=True)
        else:
            self.files.posts.change(inode, changes)

    # ── what the kernel was told of ───────────────────────────────────────────────────

    def remember(self, inode: Inode) -> None:
        """Count an entry that the kernel was told of."""
        self._inodes.remember(inode)

    def forgo(self, inode: Inode) -> None:
        """Let an inode go that the kernel was not told of after all."""
        self._inodes.drop_if_unused(inode)

    async def sync_directory(self, handle: int) -> None:
        """Return after the attributes of a directory are in Swift."""
        await self.files.posts.settled(self.open_directories.directory_of(handle))


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
