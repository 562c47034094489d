"""One method per request of the kernel: unpack, call, pack.

Only an errno may leave a handler: anything else that is raised ends the mount (measured
with pyfuse3 3.5.0: `cat` then gets "Transport endpoint is not connected"). The decorator
`replying` is the one place where a failure becomes an errno.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import stat
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

import pyfuse3
import trio

from swiftimgfs import errors
from swiftimgfs.fuse.attributes import (
    Presentation,
    changes_from,
    entry_attributes,
    statvfs_data,
)
from swiftimgfs.fuse.directory_reply import DOTS, DirectoryReply
from swiftimgfs.fuse.failures import Refusals
from swiftimgfs.model.attributes import AttributeChanges
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.xattrs import REFRESH

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from swiftimgfs.model.files import Opened
    from swiftimgfs.model.filesystem import ImageFilesystem
    from swiftimgfs.model.inodes import Inode

CHANGES_AT_ONCE: Final = 1000  # that the kernel is told of before others get a turn
P = ParamSpec("P")
T = TypeVar("T")


def replying(
    handler: Callable[Concatenate[ImageOperations, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[ImageOperations, P], Coroutine[Any, Any, T]]:
    """Make whatever a handler raises an errno, and say why in the log."""
    names = list(inspect.signature(handler).parameters)[1:]

    @functools.wraps(handler)
    async def reply(self: ImageOperations, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as failure:
            operation = handler.__name__
            request = {**dict(zip(names, args, strict=False)), **kwargs}
            self.refusals.note(operation, self.image_of(operation, request), failure)
            raise pyfuse3.FUSEError(errors.errno_of(failure)) from failure

    return reply  # type: ignore[return-value]  # mypy minds that `self` has a name


class ImageOperations(pyfuse3.Operations):
    """The kernel's requests to a mount of an image store."""

    enable_writeback_cache = False  # it muddles size, mtime and errors, and helps 4 KiB only
    enable_acl = False

    def __init__(self, filesystem: ImageFilesystem, presentation: Presentation) -> None:
        super().__init__()
        self._fs = filesystem
        self._presentation = presentation
        self.refusals: Final = Refusals()
        self.is_serving = trio.Event()

    def init(self) -> None:
        """Say that the kernel is there; its first request. Nothing may be raised here."""
        self.is_serving.set()

    def image_of(self, operation: str, request: Mapping[str, Any]) -> str:
        """Return what a request is about, by the names of its arguments; empty when unknown."""
        parent = request.get("parent_inode", request.get("parent_inode_old"))
        name = request.get("name", request.get("name_old", b""))
        try:
            if parent is not None:
                component = name.decode(errors="replace")
                return str(self._fs.inode(parent).path.child(component))
            if "inode" in request:
                return str(self._fs.inode(request["inode"]).path)
            if operation.endswith("dir"):
                return str(self._fs.open_directories.directory_of(request["fh"]).path)
            return str(self._fs.files.path_of(request["fh"]))
        except (errors.SwiftImgFsError, KeyError):
            return ""

    def _attributes(self, inode: Inode) -> pyfuse3.EntryAttributes:
        allocated = self._fs.files.stored_bytes_of(inode)
        return entry_attributes(inode, self._fs.size_of(inode), allocated, self._presentation)

    def _tell_gone(self, number: int) -> None:
        """Have the kernel forget the name of an inode, and tell who watches it (inotify).

        Not before we return: it takes a lock of the directory that a request to us may hold,
        so a thread of pyfuse3's waits for that.
        """
        inode = self._fs.inode(number)
        if inode.parent is not None and not inode.is_unlinked:
            # Of a directory that somebody stands in the kernel would not take that it is gone.
            deleted = number if inode.kind is Kind.FILE else 0
            pyfuse3.invalidate_entry_async(
                inode.parent.number, inode.component.encode(), deleted, ignore_enoent=True
            )

    # ── names ──────────────────────────────────────────────────────────────────────────

    @replying
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Tell what a name is."""
        return self._attributes(await self._fs.tree.lookup(parent_inode, name))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Forget inodes. Nobody hears of an error here, and none may be raised."""
        for inode, nlookup in inode_list:
            self._fs.forget(inode, nlookup)

    @replying
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a container or a directory in one."""
        return self._attributes(await self._fs.tree.mkdir(parent_inode, name))

    @replying
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """Remove an empty directory."""
        await self._fs.tree.rmdir(parent_inode, name)

    @replying
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """Remove an image."""
        await self._fs.tree.unlink(parent_inode, name)

    @replying
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        """Rename an image, a link or a directory."""
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise errors.InvalidRequestError("Swift cannot exchange two names")
        await self._fs.tree.renames.rename(
            (parent_inode_old, name_old),
            (parent_inode_new, name_new),
            may_replace=not flags & pyfuse3.RENAME_NOREPLACE,
        )

    @replying
    async def mknod(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Make an empty image, as tar does for one with extended attributes; nothing else."""
        if not stat.S_ISREG(mode):
            raise errors.NotPermittedError("an image store has images and directories only")
        changes = self._changes_of_new(mode, ctx)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        inode, opened = await self._fs.tree.create(parent_inode, name, flags, changes)
        try:
            await self._fs.files.flush(opened.handle)
        finally:
            await self._fs.files.release(opened.handle)
        return self._attributes(inode)

    @replying
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a link to an image."""
        return self._attributes(await self._fs.tree.symlink(parent_inode, name, target))

    @replying
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        """Tell what is written in a link."""
        return self._fs.tree.link_text(self._fs.inode(inode))

    @replying
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Refuse a second name: deleting either would delete the segments of both."""
        raise errors.NotPermittedError("an image has one name")

    # ── attributes ─────────────────────────────────────────────────────────────────────

    @replying
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Tell what an inode is."""
        try:
            return self._attributes(await self._fs.getattr(inode))
        except (errors.NotFoundError, errors.ImageChangedError):
            self._tell_gone(inode)
            raise

    @replying
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Change size, times, mode or owner."""
        changes = changes_from(attr, fields)
        return self._attributes(await self._fs.setattr(inode, changes, fh))

    @replying
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Tell how full the store is."""
        return statvfs_data(self._fs.statfs())

    @replying
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        """Tell the value of an extended attribute."""
        if name == REFRESH:  # for who may not write here, or on a read-only mount
            await self._refresh(inode)
            return b""
        return await self._fs.getxattr(inode, name)

    @replying
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        """Tell the names of the extended attributes."""
        return await self._fs.listxattr(inode)

    @replying
    async def setxattr(
        self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext
    ) -> None:
        """Set an extended attribute."""
        if name == REFRESH:
            await self._refresh(inode)
        else:
            await self._fs.setxattr(inode, name, value)

    async def _refresh(self, number: int) -> None:
        """See what Swift has now, and have the kernel ask for it."""
        try:
            changed = await self._fs.refresh(number)
        except (errors.NotFoundError, errors.ImageChangedError):
            self._tell_gone(number)
            raise
        for count, inode in enumerate(changed, 1):
            _tell_changed(inode.number)
            if count % CHANGES_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    @replying
    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        """Remove an extended attribute."""
        await self._fs.removexattr(inode, name)

    # ── directories ────────────────────────────────────────────────────────────────────

    @replying
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        """Open a directory."""
        return await self._fs.open_directories.open(self._fs.inode(inode))

    @replying
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Reply with entries from `start_id` on: `.`, `..`, then the names in order."""
        directories = self._fs.open_directories
        if start_id == 0:
            await directories.rewind(fh)
        reply = DirectoryReply(token, self._attributes)
        if not reply.add_dots(directories.directory_of(fh), start_id):
            return
        start = number = max(start_id, DOTS)
        # Who has names already does not wait for those that are still on their way.
        while number == start or directories.has_come(fh, number - DOTS):
            entries = await directories.entries(fh, number - DOTS)
            if entries is None:
                return
            for inode, is_settled in entries:
                number += 1
                if not reply.add(inode, number, is_settled=is_settled):
                    self._fs.forgo(inode)
                    return
                self._fs.remember(inode)

    @replying
    async def releasedir(self, fh: int) -> None:
        """Close a directory."""
        self._fs.open_directories.release(fh)

    @replying
    async def fsyncdir(self, fh: int, datasync: bool) -> None:  # noqa: FBT001  # the kernel's
        """Store attributes; names are in Swift when the request that made them returns."""
        await self._fs.sync_directory(fh)

    # ── files ──────────────────────────────────────────────────────────────────────────

    @replying
    async def open(
        self, inode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        """Open an image."""
        opened = await self._fs.files.open(self._fs.inode(inode), flags)
        if opened.has_changed:
            _tell_changed(inode)  # the kernel knows the size of another version, perhaps
        return _file_info(opened)

    @replying
    async def create(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make an image and open it."""
        changes = self._changes_of_new(mode, ctx)
        inode, opened = await self._fs.tree.create(parent_inode, name, flags, changes)
        return _file_info(opened), self._attributes(inode)

    def _changes_of_new(self, mode: int, ctx: pyfuse3.RequestContext) -> AttributeChanges:
        """Return what is stored with a new image: only what it would not look like anyway."""
        permissions = stat.S_IMODE(mode) & ~ctx.umask
        default = 0o666 & ~self._presentation.umask
        return AttributeChanges(
            mode=permissions if permissions != default else None,
            uid=ctx.uid if ctx.uid != self._presentation.uid else None,
            gid=ctx.gid if ctx.gid != self._presentation.gid else None,
        )

    @replying
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Return bytes, fewer than asked for only at the end."""
        try:
            # pyfuse3 takes any buffer, and a memoryview costs no copy; its stub says bytes.
            return await self._fs.files.read(fh, off, size)  # type: ignore[return-value]
        except errors.ImageChangedError:
            _tell_changed(self._fs.files.doubt(fh).number)  # and who opens it now sees it
            raise

    @replying
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Take bytes over."""
        await self._fs.files.write(fh, off, buf)
        return len(buf)

    @replying
    async def flush(self, fh: int) -> None:
        """Store what was written; comes at each close(2), whose caller gets the errno."""
        await self._fs.files.flush(fh)

    @replying
    async def fsync(self, fh: int, datasync: bool) -> None:  # noqa: FBT001  # the kernel's
        """Store what was written."""
        await self._fs.files.sync(fh)

    @replying
    async def release(self, fh: int) -> None:
        """Close a handle; nobody hears of an error here."""
        await self._fs.files.release(fh)


def _tell_changed(number: int) -> None:
    """Have the kernel ask again what an inode is.

    Only its attributes: they take no lock. Dropping pages from here could wait for a read of
    our own; the kernel drops them when the image is opened in another version, as it is told
    then, or when it sees another size or time.
    """
    with contextlib.suppress(FileNotFoundError):  # the kernel does not know it any more
        pyfuse3.invalidate_inode(number, attr_only=True)


def _file_info(opened: Opened) -> pyfuse3.FileInfo:
    # Write-only handles bypass the page cache: 2-3 times faster, and no request for
    # security.capability before each write.
    return pyfuse3.FileInfo(
        fh=opened.handle, direct_io=opened.is_direct, keep_cache=opened.keeps_pages
    )
