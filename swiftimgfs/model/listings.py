"""Listings of directories: loaded page by page, kept for a while, one for all who wait.

A directory is a container, or a prefix in it. Its listing is read in pages, the next one
while the present one is worked on; it is rid of segments and of names that POSIX cannot hold,
and overlaid with what this mount did. Who reads a directory sees the first names while the
rest is being loaded.

Loading is a task of the mount's; a failure is a value on the listing, which is then not kept.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.model.arrivals import Arrivals
from swiftimgfs.model.entries import Entry, Listing, file_entry
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.manifests import Manifests
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.containers import Answer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from swiftimgfs.model.arrivals import Arrived
    from swiftimgfs.model.containers import Containers
    from swiftimgfs.model.details import ImageDetails
    from swiftimgfs.model.overlay import Overlay
    from swiftimgfs.model.segments import SegmentRegistry
    from swiftimgfs.store.image_store import ImageStore

ROOT = StorePath()
# Seconds in which the next page is asked for before one is looked at, which takes 40 ms and
# lets nobody else run: else Swift had a pause after every other page.
TURN_OF_OTHERS: Final = 0.001
# How many images that we stored and a listing lacks are asked for.
MOST_DOUBTED: Final = 256


class Listings:
    """The listings of a mount, by directory."""

    def __init__(  # noqa: PLR0913  # what a listing is made of
        self,
        store: ImageStore,
        nursery: trio.Nursery,
        containers: Containers,
        details: ImageDetails,
        segments: SegmentRegistry,
        overlay: Overlay,
        *,
        list_timeout: float,
        show_segments: bool,
        started_ns: int,
    ) -> None:
        """Load in `nursery`; directories without a time of their own are of `started_ns`."""
        self._store = store
        self._nursery = nursery
        self._containers = containers
        self._details = details
        self._manifests = Manifests(store, details)
        self._segments = segments
        self._overlay = overlay
        self._list_timeout = list_timeout
        self._show_segments = show_segments
        self._started_ns = started_ns
        self._known: dict[StorePath, Listing] = {}

    def known(self, path: StorePath) -> Listing | None:
        """Return a listing that is at most `list_timeout` old, or being loaded."""
        listing = self._known.get(path)
        if listing is None or not (
            listing.is_loading or trio.current_time() - listing.loaded_at < self._list_timeout
        ):
            return None
        return listing

    def load(self, path: StorePath) -> Listing:
        """Return the known listing of a directory, else one that has just begun to be loaded."""
        return self.known(path) or self.reload(path)

    def reload(self, path: StorePath) -> Listing:
        """Return a listing of what is there now, which has just begun to be loaded."""
        listing = self._known[path] = Listing({}, 0, trio.current_time())
        self._nursery.start_soon(self._load, path, listing)
        return listing

    def forget(self, path: StorePath) -> None:
        """Have the next reader of a directory load it again."""
        self._known.pop(path, None)

    def forget_in(self, directory: StorePath) -> None:
        """Forget the listings of all that is in a directory, and of what it is in."""
        for path in [p for p in self._known if p.is_in(directory) or p == directory.parent]:
            del self._known[path]

    def set_entry(self, path: StorePath, entry: Entry | None) -> None:
        """Note what this mount made of a name, or found of it; None when it is gone."""
        listing = self._known.get(path.parent)
        if listing is not None and entry is not None:
            listing.put(entry)
        elif listing is not None:
            listing.entries.pop(path.component, None)

    def bare_directory(self, component: str) -> Entry:
        """Return a directory of which Swift knows only the name: as old as the mount."""
        return Entry(component, Kind.DIRECTORY, mtime_ns=self._started_ns)

    def is_segment(self, container: str, name: str) -> bool:
        """Return whether an object is not shown because a manifest names it."""
        return not self._show_segments and self._segments.is_segment(container, name)

    # ── loading ────────────────────────────────────────────────────────────────────────

    async def _load(self, path: StorePath, listing: Listing) -> None:
        failure: errors.SwiftImgFsError | None = errors.StoreUnavailableError("given up")
        try:
            await (
                self._load_root(listing) if path.is_root else self._load_pages(path, listing)
            )
            failure = None
        except errors.SwiftImgFsError as caught:
            failure = caught
        finally:
            if failure is not None and self._known.get(path) is listing:
                del self._known[path]
            listing.complete(failure)

    async def _load_root(self, listing: Listing) -> None:
        found, listing.hidden = await self._containers.listed(hides=not self._show_segments)
        self._overlay.settle_directories(ROOT, {entry.component for entry in found})
        removed = {name for name, exists in self._overlay.directories_of(ROOT) if not exists}
        listing.add(entry for entry in found if entry.component not in removed)
        self._add_made_directories(ROOT, listing)

    async def _load_pages(self, path: StorePath, listing: Listing) -> None:
        arrivals = Arrivals(path.prefix)
        send, receive = trio.open_memory_channel[Answer](1)
        with errors.first_failure():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._get_pages, path, send)
                async for answer in receive:
                    await trio.sleep(TURN_OF_OTHERS)
                    arrived = arrivals.take(answer.page())
                    put_off = await self._manifests.settle(
                        path.container, arrived.rows, arrivals.spoilt
                    )
                    listing.hidden += arrived.hidden
                    listing.add(self._shown(path, arrived, put_off))
        await self._lose_what_is_gone(path)
        listing.add(
            file_entry(component, info) for component, info in self._overlay.images_of(path)
        )
        self._overlay.settle_directories(path, arrivals.directories)
        self._add_made_directories(path, listing)

    async def _lose_what_is_gone(self, path: StorePath) -> None:
        """Ask for images that we stored and the whole listing lacks.

        It lags, or another host has removed them. When it lacks very many it lags.
        """
        ours = [info for _, info in self._overlay.images_of(path)]
        if not ours or len(ours) > MOST_DOUBTED:
            return
        with contextlib.suppress(errors.SwiftImgFsError):  # then they show, as far as we know
            for info in await self._details.gone_among(ours):
                self._overlay.forget_image(StorePath(info.container, info.name))

    async def _get_pages(self, path: StorePath, send: trio.MemorySendChannel[Answer]) -> None:
        """Hand over the pages of a listing, the next one asked for while one is looked at."""
        async with send:
            marker: str | None = ""
            while marker is not None:
                answer = await self._store.list_answer(
                    path.container, path.prefix, marker=marker
                )
                marker = answer.next_marker
                await send.send(answer)

    def _shown(
        self, path: StorePath, arrived: Arrived, put_off: Collection[str]
    ) -> Iterator[Entry]:
        for component in arrived.directories:
            place = path.child(component)
            is_removed = self._overlay.directory(place) is False
            if not is_removed and not self.is_segment(path.container, f"{place.name}/"):
                yield self.bare_directory(component)
        start = len(path.prefix)
        for row in arrived.rows:
            if self.is_segment(path.container, row.name):
                continue
            component = row.name[start:]
            info = self._manifests.of(path.container, row, put_off)
            if self._overlay.settle(path, component, row) and info is not None:
                yield file_entry(component, info)

    def _add_made_directories(self, path: StorePath, listing: Listing) -> None:
        made: Iterable[str] = (name for name, is_ in self._overlay.directories_of(path) if is_)
        listing.add(self.bare_directory(component) for component in made)
