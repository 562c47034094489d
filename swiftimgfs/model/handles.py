"""Open files and directories, by handle number. Nothing here awaits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.model.activity import ImageActivity
from swiftimgfs.store.image_store import through_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.reading.reader import ImageReader
    from swiftimgfs.store.image_store import StoredImage
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.doomed import Doomed
    from swiftimgfs.writing.hooks import ObjectName
    from swiftimgfs.writing.writer import ImageWriter

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class OpenImage:
    """One version of an image that is open, shared by the handles that see this version.

    Attributes:
        stored: What Swift has of it: what its readers are pinned to.
        writer: What makes the next version, while somebody writes.
        replaces: The version that the writer's commit replaces, which may be open too.
        handles: How many handles share it.
        doomed: What is to be deleted when the last handle is closed.
        removed: What of Swift's is to be deleted then, as it was when its name was removed.
        is_superseded: The inode was opened again, and is another version now.
        is_through_manifest: Its segments are not for us to read by themselves.
        written_ns: When it was last written, until somebody sets another time.
        moves: How often it was renamed while it was open.
        position: Where the latest read has ended.
        read: Bytes that readers were given.
    """

    inode: Inode
    stored: StoredImage | None
    reader: ImageReader
    writer: ImageWriter | None = None
    replaces: OpenImage | None = None
    handles: int = 0
    doomed: list[Doomed] = field(default_factory=list)
    removed: ImageInfo | None = None
    is_superseded: bool = False
    is_through_manifest: bool = False
    written_ns: int | None = None
    moves: int = 0
    position: int = 0
    read: int = 0

    def layout(self) -> Layout:
        """Return the image as its handles see it now."""
        if self.writer is not None:
            return self.writer.layout()
        if self.is_through_manifest and self.stored is not None:
            return through_manifest(self.stored.info)
        return self.stored.layout if self.stored else Layout([])

    @property
    def changes(self) -> int:
        """A number that grows when bytes of the layout move or change."""
        return self.moves + (self.writer.changes if self.writer is not None else 0)

    def activity(self, sending: Mapping[ObjectName, int]) -> ImageActivity:
        """Return what is going on with it; `sending` as for `ImageWriter.sent`."""
        told = ImageActivity(
            str(self.inode.path), self.size, self.handles, self.position, self.read
        )
        writer = self.writer
        if writer is None or not writer.is_dirty or self.inode.is_unlinked:
            return told
        return replace(
            told,
            is_written=True,
            is_waited_for=writer.is_wanted,
            waiting=writer.dirty_bytes,
            sent=writer.sent(sending),
        )

    @property
    def size(self) -> int:
        """Bytes of the image as its handles see it."""
        if self.writer is not None:
            return self.writer.size
        return self.stored.layout.size if self.stored else 0


@dataclass(eq=False, slots=True)
class FileHandle:
    """One open(2) of a file.

    Attributes:
        has_changed: It made, emptied, wrote or truncated the image: its close stores it.
    """

    image: OpenImage
    may_read: bool
    may_write: bool
    has_changed: bool = False


class HandleTable(Generic[T]):
    """Handles of one sort, by number."""

    def __init__(self) -> None:
        self._handles: dict[int, T] = {}
        self._numbers = itertools.count(1)

    def add(self, handle: T) -> int:
        """Return the number of a new handle."""
        number = next(self._numbers)
        self._handles[number] = handle
        return number

    def __getitem__(self, number: int) -> T:
        """Return an open handle.

        Raises:
            BadHandleError: It is not open.
        """
        try:
            return self._handles[number]
        except KeyError:
            raise errors.BadHandleError(f"handle {number} is not open") from None

    def replace(self, number: int, handle: T) -> None:
        """Have an open handle be another one."""
        self[number]  # it has to be open
        self._handles[number] = handle

    def remove(self, number: int) -> T:
        """Return a handle that is open no longer."""
        handle = self[number]
        del self._handles[number]
        return handle

    def all(self) -> list[T]:
        """Return what is open."""
        return list(self._handles.values())
