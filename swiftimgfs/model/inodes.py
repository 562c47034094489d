"""Inodes: their numbers, their names and their lookup counts.

Invariant: an inode is in the table while the kernel knows it (lookups > 0), a handle is
open on it (opens > 0) or Swift was not told of a change (unsent); the root always is. An inode knows its parent, so renaming a
directory renames everything below it at once. Nothing here awaits, so every method is
atomic for the other tasks.

Source: pyfuse3, "Lookup Counts" and "Request Handlers".
"""

from __future__ import annotations

import enum
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.metadata import merged, metadata_changes_of
from swiftimgfs.store.records import NO_METADATA, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.store.metadata import HeaderChanges
    from swiftimgfs.store.records import ImageInfo

ROOT_NUMBER: Final = 1  # FUSE_ROOT_ID
ACCOUNT: Final = StorePath()


class Kind(enum.Enum):
    """What an inode is."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"


@dataclass(eq=False, slots=True)
class Inode:
    """A file, a directory or a link that the kernel may ask about.

    Attributes:
        component: Its name in `parent`.
        info: The image, or the marker of a directory, as last seen.
        mtime_ns: When it was last modified.
        metadata: Attributes that were stored with it, or are about to be.
        unsent: Changes of its headers that Swift does not have yet.
        lookups: How often the kernel was told of it, and has not said that it forgot.
        opens: Handles that are open on it.
        is_unlinked: Its name is gone; only handles keep it.
        is_doubted: A directory that somebody else may have removed.
        is_replaced: It is unlinked because another host stored another image of its name.
        is_leaving: This mount is taking its name away at this moment.
        cached_etag: The version of which the kernel may have pages.
        place: Where it is in the store, when that does not follow from its parent's path.
    """

    number: int
    parent: Inode | None
    component: str
    kind: Kind
    info: ImageInfo | None = None
    mtime_ns: int = 0
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    unsent: dict[str, str | None] = field(default_factory=dict)
    lookups: int = 0
    opens: int = 0
    is_unlinked: bool = False
    is_replaced: bool = False
    is_doubted: bool = False
    is_leaving: bool = False
    cached_etag: str | None = None
    root: StorePath = ACCOUNT
    place: StorePath | None = None

    def see(self, info: ImageInfo) -> None:
        """Take over what an image is now."""
        self.info = info
        self.show(info.metadata, info.mtime_ns)

    def show(self, metadata: Mapping[str, str], mtime_ns: int) -> None:
        """Take over what was stored with it, under what is not in Swift yet."""
        self.metadata, self.mtime_ns = metadata, mtime_ns
        if self.unsent:
            self._overlay(self.unsent)

    def change(self, changes: HeaderChanges, *, is_sent: bool = False) -> None:
        """Show changes of headers; somebody is about to send them, or `unsent` has them."""
        if not is_sent:
            self.unsent |= changes
        self._overlay(changes)

    def forget_unsent(self, changes: HeaderChanges, info: ImageInfo | None = None) -> None:
        """Have changes be in Swift, or lost; it has `info` now, or what it was before."""
        for key, value in changes.items():
            if key in self.unsent and self.unsent[key] == value:
                del self.unsent[key]
        known = info or self.info
        if known is not None:
            self.see(known)

    def _overlay(self, changes: HeaderChanges) -> None:
        metadata = metadata_changes_of(changes)
        self.metadata = merged(self.metadata, metadata)
        mtime_ns = parse_seconds(metadata.get("mtime") or "")
        if mtime_ns is not None:
            self.mtime_ns = mtime_ns

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and those of the directories that it is in, from the mount's root."""
        return () if self.parent is None else (*self.parent.names, self.component)

    @property
    def path(self) -> StorePath:
        """Where it is in the store: by the names of its parents, unless it has a `place`."""
        if self.place is not None:
            return self.place
        if self.parent is None:
            return self.root
        return self.parent.path.child(self.component)


class InodeTable:
    """All inodes, by number, and by name below their parents."""

    def __init__(self, root: StorePath) -> None:
        """Have `root` as the mount's root directory."""
        now_ns = time.time_ns()
        self.root = Inode(ROOT_NUMBER, None, "", Kind.DIRECTORY, mtime_ns=now_ns, root=root)
        self._by_number = {ROOT_NUMBER: self.root}
        # By the directory's number first: a key of both would be one object more for each name.
        self._by_name: dict[int, dict[str, Inode]] = {}
        self._numbers = itertools.count(ROOT_NUMBER + 1)

    def __len__(self) -> int:
        return len(self._by_number)

    def __getitem__(self, number: int) -> Inode:
        """Return the inode of a number that the kernel sent.

        Raises:
            NotFoundError: The kernel was told to forget it, or never knew it.
        """
        try:
            return self._by_number[number]
        except KeyError:
            raise errors.NotFoundError(f"inode {number} is not known") from None

    def find(self, parent: Inode, component: str) -> Inode | None:
        """Return the inode of a name, if the kernel knows it."""
        return self._by_name.get(parent.number, {}).get(component)

    def below(self, directory: Inode) -> list[Inode]:
        """Return a directory, and what the kernel knows of what is in it, however deep."""
        return [inode for inode in self._by_number.values() if _is_in(inode, directory)]

    def find_below(self, directory: Inode, name: str) -> Inode | None:
        """Return the inode of a name that lies deeper, if the kernel knows all on the way."""
        inode: Inode | None = directory
        for component in name.split("/"):
            inode = self.find(inode, component) if inode is not None else None
        return inode

    def obtain(
        self, parent: Inode, component: str, kind: Kind, path: StorePath | None = None
    ) -> Inode:
        """Return the inode of a name: the one that the kernel knows, or a new one.

        A name that was a file and is a directory now, or is at another place in the store,
        gets another inode. The caller counts a lookup with `remember` as soon as the kernel
        has been told.

        Args:
            parent: The directory.
            component: The name in it.
            kind: What it is.
            path: Where it is; by default where the parent's path leads.
        """
        place = None if path is None else _place(parent, component, path)
        inode = self.find(parent, component)
        if inode is not None and inode.kind is kind and inode.place == place:
            return inode
        if inode is not None:
            self.unlink(inode)
        number = next(self._numbers)
        inode = Inode(number, parent, component, kind, place=place)
        self._by_number[number] = inode
        self._by_name.setdefault(parent.number, {})[component] = inode
        return inode

    def remember(self, inode: Inode) -> None:
        """Count a lookup: the kernel has been told of the inode once more."""
        inode.lookups += 1

    def forget(self, number: int, lookups: int) -> None:
        """Take back `lookups` lookups; the inode goes when none is left and nobody has it open."""
        inode = self._by_number.get(number)
        if inode is not None:
            inode.lookups -= lookups
            self.drop_if_unused(inode)

    def unlink(self, inode: Inode) -> None:
        """Free the name of an inode, which stays while it is known or open."""
        inode.is_unlinked = True
        self._forget_name(inode)

    def rename(
        self, inode: Inode, parent: Inode, component: str, path: StorePath | None = None
    ) -> None:
        """Give an inode another name; whatever had that name is unlinked.

        Args:
            inode: The file or directory.
            parent: The directory that it is in from now on.
            component: Its name there.
            path: Where it is then; by default where the parent's path leads.
        """
        replaced = self.find(parent, component)
        if replaced is not None and replaced is not inode:
            self.unlink(replaced)
        self._forget_name(inode)
        inode.parent, inode.component = parent, component
        inode.place = _place(parent, component, path)
        self._by_name.setdefault(parent.number, {})[component] = inode

    def drop_if_unused(self, inode: Inode) -> None:
        """Let an inode go that neither the kernel nor a handle needs, nor a change."""
        is_needed = inode.lookups > 0 or inode.opens > 0 or inode.unsent
        if not is_needed and inode is not self.root:
            self._by_number.pop(inode.number, None)
            self._forget_name(inode)

    def _forget_name(self, inode: Inode) -> None:
        if inode.parent is None:
            return
        names = self._by_name.get(inode.parent.number, {})
        if names.get(inode.component) is inode:
            del names[inode.component]
            if not names:
                del self._by_name[inode.parent.number]


def _is_in(inode: Inode, directory: Inode) -> bool:
    above: Inode | None = inode
    while above is not None and above is not directory:
        above = above.parent
    return above is directory


def _place(parent: Inode, component: str, path: StorePath | None) -> StorePath | None:
    """Return `path` when the parent's path does not lead there, else None."""
    return None if path is None or path == parent.path.child(component) else path
