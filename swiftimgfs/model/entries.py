"""Names in a directory as values, and a directory's listing that may still be growing.

There may be a million of them: an entry shares what it can with its neighbours, and a plain
object's costs about 400 bytes with its name.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from swiftimgfs.model.inodes import Kind
from swiftimgfs.store.records import NO_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swiftimgfs import errors
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.records import ImageInfo


@dataclass(slots=True)  # not frozen: that takes three times as long, a million times
class Entry:
    """One name in a directory.

    Attributes:
        info: The image of a file; of a directory the marker that was looked up, if any.
        mtime_ns: Of a directory without its own.
        metadata: Attributes that were stored with it.
    """

    component: str
    kind: Kind
    info: ImageInfo | None = None
    mtime_ns: int = 0
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)


def file_entry(component: str, info: ImageInfo) -> Entry:
    """Return the entry of an image, or of the link or directory that an object stands for."""
    kind = Kind.DIRECTORY if info.is_directory_marker else Kind.FILE
    if info.link is not None:
        kind = Kind.LINK
    return Entry(component, kind, info, info.mtime_ns, info.metadata)


@dataclass(slots=True, eq=False)
class Listing:
    """The entries of a directory by name, and how many names are not shown.

    While it is being loaded it grows by batches; who reads it meanwhile takes them one by
    one. What this mount does to the directory changes `entries` alone, at any time.

    Attributes:
        loaded_at: When loading began, by trio's clock.
        completed_at: When all was there; None while it is being loaded.
        batches: What came, in order; given up when all is there.
        failure: What loading ended with, if not well.
    """

    entries: dict[str, Entry]
    hidden: int
    loaded_at: float
    completed_at: float | None = None
    batches: list[list[Entry]] = field(default_factory=list)
    failure: errors.SwiftImgFsError | None = None
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def is_loading(self) -> bool:
        """Whether more may come."""
        return self.completed_at is None

    def add(self, entries: Iterable[Entry]) -> None:
        """Add what came; names that are there already stay as they are."""
        batch = [entry for entry in entries if entry.component not in self.entries]
        self.entries.update((entry.component, entry) for entry in batch)
        if batch:
            self.batches.append(batch)
            self._wake()

    def put(self, entry: Entry) -> None:
        """Have a name in it that this mount made or changed; who reads the directory sees it."""
        is_new = entry.component not in self.entries
        self.entries[entry.component] = entry
        if is_new and self.is_loading:
            self.batches.append([entry])
            self._wake()

    def complete(self, failure: errors.SwiftImgFsError | None = None) -> None:
        """Say that nothing more comes."""
        self.completed_at, self.failure = trio.current_time(), failure
        self._wake()

    async def whole(self) -> Listing:
        """Return when all is there.

        Raises:
            SwiftImgFsError: What loading failed with.
        """
        while self.is_loading:
            await self._changed.wait()
        if self.failure is not None:
            raise self.failure
        return self

    async def batch(self, number: int) -> list[Entry] | None:
        """Return what came as number `number`; None when there is no more.

        Raises:
            SwiftImgFsError: What loading failed with.
        """
        while number >= len(self.batches):
            if self.failure is not None:
                raise self.failure
            if not self.is_loading:
                return None
            await self._changed.wait()
        return self.batches[number]

    async def begun(self) -> Listing:
        """Return when something is there, or all.

        Raises:
            SwiftImgFsError: What loading failed with.
        """
        await self.batch(0)
        return self

    def images(self) -> list[ImageInfo]:
        """Return the images in it."""
        return images_of(self.entries.values())

    def images_from(self, component: str, count: int) -> list[ImageInfo]:
        """Return the images among up to `count` entries from this name on."""
        names = sorted(self.entries)
        first = bisect.bisect_left(names, component)
        return images_of(self.entries[name] for name in names[first : first + count])

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def directories_of(directory: StorePath, entries: Iterable[Entry]) -> list[StorePath]:
    """Return where the directories among entries of a directory are."""
    return [directory.child(e.component) for e in entries if e.kind is Kind.DIRECTORY]


def images_of(entries: Iterable[Entry]) -> list[ImageInfo]:
    """Return the images among entries."""
    return [e.info for e in entries if e.info is not None and e.kind is Kind.FILE]
