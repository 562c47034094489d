"""Our inodes as the kernel's structures, and the kernel's wishes as our values. Pure."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyfuse3

from swiftimgfs.model.attributes import AttributeChanges, stored_attributes
from swiftimgfs.model.inodes import Inode, Kind

if TYPE_CHECKING:
    from swiftimgfs.model.usage import Usage

# What tools should read and write at a time; the kernel's largest request.
PREFERRED_IO = 1024 * 1024
BLOCK = 512  # what st_blocks counts, whatever st_blksize says
FRAGMENT = 4096  # what statvfs counts in: with larger ones a small quota would be none
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Presentation:
    """What images and directories look like where nothing is stored with them.

    Attributes:
        uid: Owner.
        gid: Group.
        umask: Permission bits that nobody gets.
        attr_timeout: Seconds for which the kernel may believe what it was told.
    """

    uid: int
    gid: int
    umask: int
    attr_timeout: float


def entry_attributes(
    inode: Inode, size: int, allocated: int, presentation: Presentation
) -> pyfuse3.EntryAttributes:
    """Return an inode as the kernel wants it; `size` in bytes, and how many are no holes."""
    stored = stored_attributes(inode.metadata)
    is_directory = inode.kind is Kind.DIRECTORY
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = inode.number
    entry.st_mode = _mode(inode.kind, stored.mode, presentation.umask)
    entry.st_nlink = 2 if is_directory else 1
    entry.st_uid = presentation.uid if stored.uid is None else stored.uid
    entry.st_gid = presentation.gid if stored.gid is None else stored.gid
    entry.st_size = 0 if is_directory else size
    entry.st_blocks = 0 if is_directory else -(-allocated // BLOCK)
    entry.st_blksize = PREFERRED_IO
    entry.st_mtime_ns = entry.st_ctime_ns = entry.st_atime_ns = inode.mtime_ns
    entry.entry_timeout = entry.attr_timeout = presentation.attr_timeout
    return entry


def _mode(kind: Kind, permissions: int | None, umask: int) -> int:
    if kind is Kind.LINK:
        return stat.S_IFLNK | 0o777
    if kind is Kind.DIRECTORY:
        return stat.S_IFDIR | (0o777 & ~umask if permissions is None else permissions)
    return stat.S_IFREG | (0o666 & ~umask if permissions is None else permissions)


def statvfs_data(usage: Usage) -> pyfuse3.StatvfsData:
    """Return how full the store is as the kernel wants it."""
    data = pyfuse3.StatvfsData()
    data.f_bsize = PREFERRED_IO
    data.f_frsize = FRAGMENT
    free = usage.free // FRAGMENT
    data.f_blocks = -(-usage.used // FRAGMENT) + free
    data.f_bfree = data.f_bavail = free
    data.f_files = usage.objects + usage.free_objects
    data.f_ffree = data.f_favail = usage.free_objects
    data.f_namemax = LONGEST_NAME
    return data


def changes_from(
    wanted: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields
) -> AttributeChanges:
    """Return what a setattr request wants; atime and ctime are nothing that Swift keeps."""
    return AttributeChanges(
        mode=stat.S_IMODE(wanted.st_mode) if fields.update_mode else None,
        uid=wanted.st_uid if fields.update_uid else None,
        gid=wanted.st_gid if fields.update_gid else None,
        mtime_ns=wanted.st_mtime_ns if fields.update_mtime else None,
        size=wanted.st_size if fields.update_size else None,
    )
