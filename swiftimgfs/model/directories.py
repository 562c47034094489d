"""What is in a directory, and what a name is: what the mount asks of Swift's listings.

`listings` loads and keeps them; here a name is looked up, alone or among many of its
directory. What this mount does to the store is noted by `changes`.

Nothing here is shared between tasks over an await: each method decides on what it has just got.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.model.changes import Changes
from swiftimgfs.model.containers import Containers
from swiftimgfs.model.details import ExactTimes, ImageDetails
from swiftimgfs.model.entries import directories_of, file_entry, images_of
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.listings import Listings
from swiftimgfs.model.manifests import Manifests
from swiftimgfs.model.markers import Markers
from swiftimgfs.model.overlay import Overlay
from swiftimgfs.model.paths import StorePath
from swiftimgfs.model.refreshing import Refreshing
from swiftimgfs.model.segments import SegmentRegistry
from swiftimgfs.model.walks import Bursts, WalkAhead
from swiftimgfs.store.naming import glance_image_claiming

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swiftimgfs.model.entries import Entry, Listing
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ImageInfo, ObjectRow

# How many images are asked side by side, of those that are looked at one after the other.
CHUNK = 256
# A directory that is walked is listed again when that takes so many fewer requests.
NAMES_FOR_A_PAGE = 8


@dataclass(frozen=True, slots=True)
class FreshnessOptions:
    """How old what we know may be.

    Attributes:
        attr_timeout: Seconds for which an image is not asked for again.
        list_timeout: Seconds for which a listing is not asked for again.
        exact_times: Whose own mtime is asked for instead of taking the listing's.
        show_segments: Hide nothing.
    """

    attr_timeout: float = 1.0
    list_timeout: float = 60.0
    exact_times: ExactTimes = ExactTimes.LIKELY
    show_segments: bool = False


class Directories:
    """The directories of one store.

    Attributes:
        changes: Where what this mount does is noted.
        refreshing: Has what other hosts did be seen now.
    """

    def __init__(
        self, store: ImageStore, options: FreshnessOptions, nursery: trio.Nursery
    ) -> None:
        """Load listings in `nursery`, which is the mount's."""
        self._store = store
        self._options = options
        self._segments = SegmentRegistry()
        self._details = ImageDetails(
            store,
            self._segments,
            attr_timeout=options.attr_timeout,
            list_timeout=options.list_timeout,
            exact_times=options.exact_times,
        )
        self._overlay = Overlay()
        self._containers = Containers(store)
        self._markers = Markers(
            store, attr_timeout=options.attr_timeout, list_timeout=options.list_timeout
        )
        self._manifests = Manifests(store, self._details)
        self._listings = Listings(
            store,
            nursery,
            self._containers,
            self._details,
            self._segments,
            self._overlay,
            list_timeout=options.list_timeout,
            show_segments=options.show_segments,
            started_ns=time.time_ns(),
        )
        self.changes: Final = Changes(
            self._details, self._overlay, self._listings, self._markers
        )
        self.refreshing: Final = Refreshing(
            store, self._details, self._overlay, self._listings, self._markers
        )
        self._bursts = Bursts(options.list_timeout)
        self._walk_ahead = WalkAhead()

    # ── what is there ──────────────────────────────────────────────────────────────────

    async def listing(self, path: StorePath) -> Listing:
        """Return what is in a directory, at most `list_timeout` old.

        Raises:
            NotFoundError: There is no such container.
        """
        return await self._listings.load(path).whole()

    async def growing_listing(self, path: StorePath) -> Listing:
        """Return the same as soon as the first names are known.

        Who opens one directory after the other finds the next ones loaded.
        """
        listing = self._listings.load(path)
        siblings = None if path.is_root else self._listings.known(path.parent)
        if siblings is not None and not siblings.is_loading:
            for sibling in self._walk_ahead.next_after(path, siblings):
                self._listings.load(sibling)
        return await listing.begun()

    async def fresh_listing(self, path: StorePath) -> Listing:
        """Return what is in a directory now."""
        return await self._listings.reload(path).whole()

    async def lookup(self, path: StorePath) -> Entry:
        """Return what `path` is now: an image at most `attr_timeout` old, or a directory.

        Raises:
            NotFoundError: Neither, or a segment, which is not shown.
        """
        if path.is_container:
            return await self.directory(path)
        if await self._is_hidden(path):
            raise errors.NotFoundError(f"{path}: a segment of an image")
        if self._overlay.directory(path):
            return await self.directory(path)
        listing = self._listings.known(path.parent)
        listed = listing.entries.get(path.component) if listing else None
        if listed is not None and listed.kind is Kind.DIRECTORY:
            return await self.directory(path)
        if listed is not None:
            with contextlib.suppress(errors.NotFoundError):
                return self._entry_of(path, await self.status(path))
        return await self._probe(path)

    async def directory(self, path: StorePath) -> Entry:
        """Return a directory that is there as `stat` shows it: see `markers`.

        Raises:
            NotFoundError: A container that is not there.
        """
        listing = self._listings.known(path.parent)
        listed = listing.entries.get(path.component) if listing else None
        if not self._markers.is_fresh(path):
            count = self._bursts.count(path.parent)
            is_walked = count > self._bursts.few(path.parent) and self._options.attr_timeout
            if listing is None or listed is None or not is_walked:
                await self._markers.look_at(path)
            elif not self._markers.is_settled(path):
                places = directories_of(path.parent, listing.entries.values())
                some = dropwhile(lambda place: place != path, places)
                await self._markers.look_at_many([*islice(some, CHUNK)], lambda: places)
        return self._markers.best(path, listed or self._listings.bare_directory(path.component))

    async def status(self, path: StorePath) -> ImageInfo:
        """Return the image at `path` as `stat` shows it.

        It is at most `attr_timeout` old, by a request of its own; when many of a directory
        are asked for, by the directory's listing and by the requests that `exact` makes.
        """
        info = self._details.fresh(path)
        if info is None and (listing := await self._walked(path.parent)) is not None:
            entry = listing.entries.get(path.component)
            if entry is not None and entry.info is not None and entry.kind is Kind.FILE:
                if self._details.lacks_attributes(entry.info):
                    some = listing.images_from(path.component, CHUNK)
                    await self._details.exact(some, listing.images)
                info = self._details.best(entry.info)
        return info if info is not None else await self.image(path)

    async def _walked(self, directory: StorePath) -> Listing | None:
        """Return the listing of a directory of which many names are asked for; as of now."""
        count = self._bursts.count(directory)
        listing = self._listings.known(directory)
        oldest = self._options.attr_timeout
        if count <= self._bursts.few(directory) or listing is None or not oldest:
            return None
        if listing.completed_at is not None:
            if trio.current_time() - listing.completed_at < oldest:
                return listing
            pages = 1 + len(listing.entries) // self._store.limits.listing
            if count < NAMES_FOR_A_PAGE * pages:
                return None
            return await self._listings.reload(directory).whole()
        return listing

    # ── directories as they are read ───────────────────────────────────────────────────

    def opened(self, path: StorePath) -> None:
        """Say that somebody has opened a directory to read it."""
        self._bursts.opened(path)

    def closed(self, path: StorePath) -> None:
        """Say that one of those is done with it."""
        self._bursts.closed(path)

    def is_walked(self, path: StorePath) -> bool:
        """Return whether the attributes of many names in a directory are asked for."""
        return self._bursts.is_walked(path)

    def is_settled(self, directory: StorePath, entry: Entry) -> bool:
        """Return whether an entry is shown as a look at it alone would show it."""
        if entry.kind is Kind.DIRECTORY:
            return self._markers.is_settled(directory.child(entry.component))
        if entry.info is None:
            return True
        return self._details.is_settled(entry.info)

    async def exact(
        self, directory: StorePath, entries: Sequence[Entry], listed: Sequence[Entry]
    ) -> None:
        """Ask for attributes of entries, where some of all that are listed carry any."""
        await self._details.exact(images_of(entries), lambda: images_of(listed))
        await self._markers.look_at_many(
            directories_of(directory, entries), lambda: directories_of(directory, listed)
        )

    def best(self, directory: StorePath, entry: Entry) -> Entry | None:
        """Return the best that is known of an entry; None when it is not to be shown.

        That is an image that was found gone, or that a manifest names which was asked only
        now. Its listing then has it no more.
        """
        if entry.kind is Kind.DIRECTORY:
            return self._markers.best(directory.child(entry.component), entry)
        listed = entry.info
        if listed is None:
            return entry
        info = self._details.best(listed)
        if info is None:
            place = StorePath(listed.container, listed.name)
            self.changes.found_gone(place, self._overlay.image(place))
            return None
        if self._listings.is_segment(listed.container, listed.name):
            self._listings.set_entry(StorePath(listed.container, listed.name), None)
            return None
        return entry if info is listed else file_entry(entry.component, info)

    async def lookup_image(self, path: StorePath) -> Entry:
        """Return the file `path`, whatever lies deeper: an image at most `attr_timeout` old.

        Raises:
            NotFoundError: There is no image, or it is a segment, which is not shown.
        """
        entry = await self._image_entry(path)
        if entry.kind is Kind.DIRECTORY or await self._is_hidden(path):
            raise errors.NotFoundError(f"{path}: not an image that is shown")
        return entry

    async def image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path`, at most `attr_timeout` old."""
        with self._falling_out(path):
            return await self._details.image(path)

    async def refreshed_image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path` as it is now."""
        with self._falling_out(path):
            return await self._details.refreshed_image(path)

    @contextlib.contextmanager
    def _falling_out(self, path: StorePath) -> Iterator[None]:
        """Have an image that is found gone fall out of its directory's listing."""
        ours = self._overlay.image(path)
        try:
            yield
        except errors.NotFoundError:
            self.changes.found_gone(path, ours)
            raise

    def expire(self, path: StorePath) -> None:
        """Have an image be asked for again by whoever wants it next."""
        self._details.expire(path)

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
        if await self._details.confirm_segment(path):
            raise errors.NotPermittedError(f"{path}: the name belongs to a segment of an image")

    async def objects_below(self, path: StorePath) -> list[str]:
        """Return the names of all objects that a directory is made of, its markers too.

        Segments of images are none of them, wherever these images are: who moved a segment
        would break its image.
        """
        rows = await self._store.list_all(path.container, path.prefix)
        await self._manifests.settle(path.container, rows, (), asks_all=True)
        with contextlib.suppress(errors.NotFoundError):  # manifests beside it are asked, too
            beside = await self.listing(path.parent)
            await self._details.ask_for_manifests(beside.images())
        names = dict.fromkeys(row.name for row in rows)
        names |= dict.fromkeys(self._overlay.images_below(path))
        with contextlib.suppress(errors.NotFoundError):
            if (await self._details.image(path)).is_directory_marker:
                names[path.name] = None
        places = [StorePath(path.container, name) for name in names]
        return [p.name for p in places if not await self._details.confirm_segment(p)]

    # ── steps ──────────────────────────────────────────────────────────────────────────

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
        return min(found, key=lambda entry: entry.kind is not Kind.DIRECTORY)

    async def _image_entry(self, path: StorePath) -> Entry:
        return self._entry_of(path, await self.image(path))

    def _entry_of(self, path: StorePath, info: ImageInfo) -> Entry:
        if self._overlay.is_removed(path, info.last_modified_ns):
            raise errors.NotFoundError(f"{path}: removed by this mount")
        return file_entry(path.component, info)

    async def _directory_entry(self, path: StorePath, first: ObjectRow) -> Entry:
        bare = self._listings.bare_directory(path.component)
        if first.name != path.prefix:  # there is no marker, which would be listed first
            self._markers.note_bare(path, bare)
        elif not self._markers.is_fresh(path):
            await self._markers.look_at(path)
        return self._markers.best(path, bare)

    async def _is_hidden(self, path: StorePath) -> bool:
        """Return whether a manifest that Swift has confirmed names an object."""
        return not self._options.show_segments and await self._details.confirm_segment(path)
