"""What is in a directory, and what a name is: listings with an age, made from Swift's.

A directory is a container, or a prefix in it. Its listing is read in pages, rid of segments
and of names that POSIX cannot hold, overlaid with what this mount did, and kept for
`list_timeout` seconds.

Concurrent requests for one listing share it. Apart from that nothing here is shared
between tasks over an await: each method decides on what it has just got.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.model.details import ImageDetails
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.overlay import Overlay
from swiftimgfs.model.paths import StorePath, is_representable
from swiftimgfs.model.segments import SegmentRegistry
from swiftimgfs.store.naming import glance_image_claiming
from swiftimgfs.store.records import SEGMENT_CONTAINER_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swiftimgfs.model.segments import Parts
    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.store.records import ContainerRow, ImageInfo, ObjectRow

# How many manifests of a container are looked at to learn whether its `_segments` neighbour
# holds segments; one of them usually tells.
MANIFESTS_ASKED = 8


@dataclass(frozen=True, slots=True)
class FreshnessOptions:
    """How old what we know may be.

    Attributes:
        attr_timeout: Seconds for which an image is not asked for again.
        list_timeout: Seconds for which a listing is not asked for again.
        is_mtime_exact: Ask for each image's own mtime instead of taking the listing's.
        show_segments: Hide nothing.
    """

    attr_timeout: float = 1.0
    list_timeout: float = 60.0
    is_mtime_exact: bool = True
    show_segments: bool = False


@dataclass(frozen=True, slots=True)
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
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Listing:
    """The entries of a directory by name, and how many names are not shown."""

    entries: dict[str, Entry]
    hidden: int
    loaded_at: float


class Directories:
    """The directories of one store."""

    def __init__(self, store: ImageStore, options: FreshnessOptions) -> None:
        self._store = store
        self._options = options
        self._segments = SegmentRegistry()
        self._details = ImageDetails(
            store,
            self._segments,
            attr_timeout=options.attr_timeout,
            is_mtime_exact=options.is_mtime_exact,
        )
        self._overlay = Overlay()
        self._listings: dict[StorePath, Listing] = {}
        self._loading: dict[StorePath, trio.Event] = {}
        self._refreshes = 0
        self._started_ns = time.time_ns()

    # ── what is there ──────────────────────────────────────────────────────────────────

    async def listing(self, path: StorePath) -> Listing:
        """Return what is in a directory, at most `list_timeout` old.

        Raises:
            NotFoundError: There is no such container.
        """
        while (event := self._loading.get(path)) is not None:
            await event.wait()
        known = self._listings.get(path)
        if known is not None and self._is_younger(known, self._options.list_timeout):
            return known
        event = self._loading[path] = trio.Event()
        refreshes = self._refreshes
        try:
            listing = await (self._load_root() if path.is_root else self._load(path))
            if refreshes == self._refreshes:  # else it may be older than what was asked for
                self._listings[path] = listing
            return listing
        finally:
            del self._loading[path]
            event.set()

    async def fresh_listing(self, path: StorePath) -> Listing:
        """Return what is in a directory now."""
        self._listings.pop(path, None)
        return await self.listing(path)

    async def lookup(self, path: StorePath) -> Entry:
        """Return what `path` is now: an image at most `attr_timeout` old, or a directory.

        Raises:
            NotFoundError: Neither, or a segment, which is not shown.
        """
        if path.is_container:
            return await self._container(path)
        if self._is_hidden(path.container, path.name):
            raise errors.NotFoundError(f"{path}: a segment of an image")
        if self._overlay.directory(path):
            return self._bare_directory(path.component)
        known = self._listings.get(path.parent)
        if known is not None and self._is_younger(known, self._options.list_timeout):
            entry = known.entries.get(path.component)
            if entry is not None and entry.kind is Kind.DIRECTORY:
                return entry
        return await self._probe(path)

    async def lookup_image(self, path: StorePath) -> Entry:
        """Return the file `path`, whatever lies deeper: an image at most `attr_timeout` old.

        Raises:
            NotFoundError: There is no image, or it is a segment, which is not shown.
        """
        entry = await self._image_entry(path)
        if entry.kind is Kind.DIRECTORY or self._is_hidden(path.container, path.name):
            raise errors.NotFoundError(f"{path}: not an image that is shown")
        return entry

    async def image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path`, at most `attr_timeout` old."""
        return await self._details.image(path)

    async def refreshed_image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path` as it is now."""
        return await self._details.refreshed_image(path)

    def expire(self, path: StorePath) -> None:
        """Have an image be asked for again by whoever wants it next."""
        self._details.expire(path)

    async def refresh(self, directory: StorePath) -> None:
        """Have whoever asks next for anything in a directory, however deep, be told by Swift.

        What this mount did there is compared with Swift now, since no listing that lags may
        hide it, and somebody else may have taken it away again.
        """
        self._refreshes += 1
        for path in [p for p in self._listings if p.is_in(directory) or p == directory.parent]:
            del self._listings[path]
        self._details.expire(directory)
        images, directories = self._overlay.below(directory)
        with errors.first_failure():
            async with trio.open_nursery() as nursery:
                for path in images:
                    nursery.start_soon(self._confirm_image, path)
                for path in directories:
                    nursery.start_soon(self._confirm_directory, path)

    async def _confirm_image(self, path: StorePath) -> None:
        try:
            await self.refreshed_image(path)
        except errors.NotFoundError:
            self._overlay.forget(path)

    async def _confirm_directory(self, path: StorePath) -> None:
        try:
            page = await self._store.list_page(
                path.container, path.prefix, delimiter="", limit=1
            )
        except errors.NotFoundError:
            self._overlay.forget(path)
        else:
            if path.name and not page.rows:
                self._overlay.forget(path)

    async def check_free(self, path: StorePath) -> None:
        """Refuse a name that would make what is stored there part of somebody's image.

        A DLO is whatever lies under its prefix, and an SLO's segments must stay as they are.

        Raises:
            NotPermittedError: An image would be harmed.
        """
        claiming = glance_image_claiming(path.component)
        if claiming is not None and not self._segments.is_segment(path.container, path.name):
            with contextlib.suppress(errors.NotFoundError):
                await self._details.image(path.parent.child(claiming))
        if self._segments.is_segment(path.container, path.name):
            raise errors.NotPermittedError(f"{path}: the name belongs to a segment of an image")

    # ── what this mount learnt and did ─────────────────────────────────────────────────

    def note_resolved(self, image: StoredImage) -> None:
        """Take note of what an image is made of, when somebody had to learn it."""
        self._details.note(image.info, image.parts)

    def stored(self, path: StorePath, info: ImageInfo, parts: Parts | None = None) -> None:
        """Note that we stored an image, or changed its metadata."""
        self._details.note(info, parts)
        self._overlay.stored(path, info)
        self._set_entry(path, _file_entry(path.component, info))

    def removed(self, path: StorePath, info: ImageInfo | None) -> None:
        """Note that we took an image's name away; None when it had never been stored.

        A directory that it was alone in stays for now: Swift has no directory without
        something in it, but `rm -r` removes what it emptied.
        """
        self._details.forget(path)
        self._overlay.removed(path, info)
        if path.parent.name:
            self._overlay.made_directory(path.parent)
        self._set_entry(path, None)

    def made_directory(self, path: StorePath) -> None:
        """Note that we made a directory."""
        self._overlay.made_directory(path)
        self._set_entry(path, Entry(path.component, Kind.DIRECTORY, mtime_ns=time.time_ns()))

    def removed_directory(self, path: StorePath) -> None:
        """Note that we removed a directory."""
        self._overlay.removed_directory(path)
        self._listings.pop(path, None)
        self._listings.pop(path.parent, None)  # an image that it shadowed shows again

    # ── containers ─────────────────────────────────────────────────────────────────────

    async def _load_root(self) -> Listing:
        now = trio.current_time()
        rows = await self._store.list_containers()
        segment_containers = await self._segment_containers(rows)
        shown = [row for row in rows if row.name not in segment_containers]
        entries = {
            row.name: Entry(row.name, Kind.DIRECTORY, mtime_ns=row.last_modified_ns)
            for row in shown
            if is_representable(row.name)
        }
        hidden = len(shown) - len(entries)
        self._overlay_directories(StorePath(), entries)
        return Listing(entries, hidden, now)

    async def _segment_containers(self, rows: list[ContainerRow]) -> set[str]:
        """Return which containers hold the segments of the container they are named after."""
        found: set[str] = set()

        async def ask(container: str, candidate: ContainerRow) -> None:
            may_have = candidate.object_count > 0  # or had: the account's listing lags
            if may_have and await self._has_segments_in(container, candidate.name):
                found.add(candidate.name)
                return
            info = await self._store.head_container(candidate.name)
            if info.object_count == 0:
                has_segments = info.is_our_segment_container
            else:
                has_segments = not may_have and await self._has_segments_in(
                    container, candidate.name
                )
            if has_segments:
                found.add(candidate.name)

        names = {row.name for row in rows}
        if not self._options.show_segments:
            with errors.first_failure():
                async with trio.open_nursery() as nursery:
                    for row in rows:
                        container = row.name.removesuffix(SEGMENT_CONTAINER_SUFFIX)
                        if container != row.name and container in names:
                            nursery.start_soon(ask, container, row)
        return found

    async def _has_segments_in(self, container: str, candidate: str) -> bool:
        """Return whether a manifest in `container` names an object in `candidate`."""
        asked = 0
        marker: str | None = ""
        while marker is not None and asked < MANIFESTS_ASKED:
            if self._segments.names_any_in(candidate):
                return True
            page = await self._store.list_page(container, delimiter="", marker=marker)
            marker = page.next_marker
            manifests = [
                r for r in page.rows if r.may_be_manifest and not r.is_directory_marker
            ]
            await self._details.ask(container, manifests[:MANIFESTS_ASKED])
            asked += len(manifests)
        return self._segments.names_any_in(candidate)

    async def _container(self, path: StorePath) -> Entry:
        known = self._listings.get(StorePath())
        if known is not None and self._is_younger(known, self._options.attr_timeout):
            entry = known.entries.get(path.component)
            if entry is not None:
                return entry
        info = await self._store.head_container(path.container)
        return Entry(path.component, Kind.DIRECTORY, None, info.mtime_ns, info.metadata)

    # ── in a container ─────────────────────────────────────────────────────────────────

    async def _load(self, path: StorePath) -> Listing:
        now = trio.current_time()
        rows: list[ObjectRow] = []
        directories: list[str] = []
        marker: str | None = ""
        while marker is not None:
            page = await self._store.list_page(path.container, path.prefix, marker=marker)
            markers = [
                r.name for r in page.rows if r.is_directory_marker or r.name == path.prefix
            ]
            rows += [row for row in page.rows if row.name not in markers]
            directories += [name for name in (*page.subdirs, *markers) if name != path.prefix]
            marker = page.next_marker
        await self._details.ask(path.container, rows)
        entries: dict[str, Entry] = {}
        hidden = self._add_directories(path, directories, entries)
        hidden += self._add_images(path, rows, entries)
        self._overlay_directories(path, entries)
        return Listing(entries, hidden, now)

    def _add_directories(
        self, path: StorePath, names: Iterable[str], entries: dict[str, Entry]
    ) -> int:
        """Add directories to `entries`; return how many cannot be shown."""
        hidden = 0
        for name in names:
            component = name[len(path.prefix) :].removesuffix("/")
            if self._is_hidden(path.container, name):
                continue
            if is_representable(component):
                entries[component] = self._bare_directory(component)
            else:
                hidden += 1
        return hidden

    def _add_images(
        self, path: StorePath, rows: Iterable[ObjectRow], entries: dict[str, Entry]
    ) -> int:
        """Add images to `entries`, ours and the listed; return how many cannot be shown."""
        hidden = 0
        for row in rows:
            component = row.name[len(path.prefix) :]
            if self._is_hidden(path.container, row.name):
                continue
            if component in entries or not is_representable(component):
                hidden += 1  # a directory shadows a file of the same name
                continue
            info = self._details.of(path.container, row)
            if self._overlay.settle(path, component, row) and info is not None:
                entries[component] = _file_entry(component, info)
        for component, info in self._overlay.images_of(path):
            entries.setdefault(component, _file_entry(component, info))
        return hidden

    def _overlay_directories(self, path: StorePath, entries: dict[str, Entry]) -> None:
        listed = {c for c, entry in entries.items() if entry.kind is Kind.DIRECTORY}
        self._overlay.settle_directories(path, listed)
        for component, exists in self._overlay.directories_of(path):
            if exists:
                entries.setdefault(component, self._bare_directory(component))
            elif component in entries and entries[component].kind is Kind.DIRECTORY:
                del entries[component]

    async def _probe(self, path: StorePath) -> Entry:
        """Ask Swift what a name is: an image, a directory, both (a directory), or neither."""
        found: list[Entry] = []

        async def as_image() -> None:
            with contextlib.suppress(errors.NotFoundError):
                found.append(await self._image_entry(path))

        async def as_directory() -> None:
            page = await self._store.list_page(
                path.container, f"{path.name}/", delimiter="", limit=1
            )
            if page.rows and self._overlay.directory(path) is not False:
                found.append(await self._directory_entry(path, page.rows[0]))

        with errors.first_failure():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(as_image)
                nursery.start_soon(as_directory)
        if not found:
            raise errors.NotFoundError(f"{path}: no such image or directory")
        return min(found, key=lambda entry: entry.kind is Kind.FILE)

    async def _image_entry(self, path: StorePath) -> Entry:
        info = await self.image(path)
        if self._overlay.is_removed(path, info.last_modified_ns):
            raise errors.NotFoundError(f"{path}: removed by this mount")
        return _file_entry(path.component, info)

    async def _directory_entry(self, path: StorePath, first: ObjectRow) -> Entry:
        info = None
        if first.name == path.prefix:  # the marker itself: it may carry attributes
            with contextlib.suppress(errors.NotFoundError):
                info = await self._store.head_image(path.container, first.name)
        if info is None:
            return self._bare_directory(path.component)
        return replace(_file_entry(path.component, info), kind=Kind.DIRECTORY)

    # ── helpers ────────────────────────────────────────────────────────────────────────

    def _is_hidden(self, container: str, name: str) -> bool:
        return not self._options.show_segments and self._segments.is_segment(container, name)

    def _bare_directory(self, component: str) -> Entry:
        """Return a directory of which Swift knows only the name: as old as the mount."""
        return Entry(component, Kind.DIRECTORY, mtime_ns=self._started_ns)

    @staticmethod
    def _is_younger(listing: Listing, age: float) -> bool:
        return trio.current_time() - listing.loaded_at < age

    def _set_entry(self, path: StorePath, entry: Entry | None) -> None:
        listing = self._listings.get(path.parent)
        if listing is not None and entry is not None:
            listing.entries[path.component] = entry
        elif listing is not None:
            listing.entries.pop(path.component, None)


def _file_entry(component: str, info: ImageInfo) -> Entry:
    """Return the entry of an image, or of the directory that a marker stands for."""
    kind = Kind.DIRECTORY if info.is_directory_marker else Kind.FILE
    return Entry(component, kind, info=info, mtime_ns=info.mtime_ns, metadata=info.metadata)
