"""The layout `images`: the images of all of Glance's containers in one flat directory.

A new image goes where Glance's driver would put it; one that is there already is wherever it
is, since who chose its container may have been told otherwise: another seed, another
driver. So where a name is has to be found out:

1. in the container that the driver would choose, by one HEAD, which mostly suffices;
2. else in the other containers of the store, by their names, at most `list_timeout` old.
   Names only: to ask for the details of all images, as a listing does, is not for a lookup.

Of an image that is in two containers the driver's choice is shown, else the first by name.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.model.containers import remove_container
from swiftimgfs.model.entries import Listing
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.paths import StorePath, is_representable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.entries import Entry
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.naming import Naming

log = logging.getLogger(__name__)

ACCOUNT = StorePath()


@dataclass(frozen=True, slots=True)
class _Names:
    """The names in a container, and when they were listed."""

    names: frozenset[str]
    listed_at: float


class ImagesView:
    """The images of all of Glance's containers in one directory, the root.

    Containers that this mount made are remembered until the account's listing has them.
    """

    def __init__(
        self,
        store: ImageStore,
        directories: Directories,
        naming: Naming,
        *,
        may_create: bool,
        list_timeout: float,
    ) -> None:
        """Show the images of the containers that `naming` knows.

        Args:
            store: Where they are.
            directories: What is known of it.
            naming: Which containers are Glance's, and where a new image goes.
            may_create: Make a container that a new image needs and that is missing.
            list_timeout: Seconds for which the names in a container are believed.
        """
        self._store = store
        self._directories = directories
        self._naming = naming
        self._may_create = may_create
        self._list_timeout = list_timeout
        self._made: set[str] = set()
        self._names: dict[str, _Names] = {}
        self._listing_names = trio.Lock()  # so that many lookups list each container once

    # ── what is there ──────────────────────────────────────────────────────────────────

    async def lookup(self, parent: StorePath, component: str, /) -> Entry:
        """Return the image of a name, in whichever container it is."""
        chosen = self.new_place(parent, component)
        with contextlib.suppress(errors.NotFoundError):
            return await self._directories.lookup_image(chosen)
        for place in await self._places_besides(chosen):
            with contextlib.suppress(errors.NotFoundError):
                return await self._directories.lookup_image(place)
        raise errors.NotFoundError(f"{component}: no image in {chosen.container} or beside it")

    async def listing(self, _path: StorePath, /) -> Listing:
        """Return the images of all containers.

        What is no image, and all but one of several of one name, count as hidden.
        """
        merged = Listing({}, 0, trio.current_time())
        for container, listing in (await self._listings()).items():
            merged.loaded_at = min(merged.loaded_at, listing.loaded_at)
            merged.hidden += listing.hidden
            for component, entry in listing.entries.items():
                is_second = component in merged.entries
                merged.hidden += is_second or entry.kind is Kind.DIRECTORY
                if entry.kind is not Kind.DIRECTORY and not (
                    is_second and container != self._naming.container_of(component)
                ):
                    merged.entries[component] = entry
        merged.complete()
        return merged

    async def refresh(self, _path: StorePath, /) -> None:
        """Have whoever asks next for anything be told by Swift: the root has all containers."""
        self._names.clear()
        await self._directories.refreshing.refresh(ACCOUNT)

    def place_of(self, parent: StorePath, entry: Entry, /) -> StorePath:
        """Return where an image is; where it will be, when it is not in Swift yet."""
        if entry.info is None:
            return self.new_place(parent, entry.component)
        return StorePath(entry.info.container, entry.info.name)

    @property
    def follows_paths(self) -> bool:
        """Whether everything is where the path of its directory leads: no."""
        return False

    def names_of(self, _root: StorePath, place: StorePath, /) -> tuple[str, ...] | None:
        """Return the name of an image in one of the store's containers."""
        is_shown = self._naming.is_store_container(place.container)
        return (place.name,) if is_shown and is_representable(place.name) else None

    def new_place(self, _parent: StorePath, component: str, /) -> StorePath:
        """Return where Glance's driver would put an image."""
        return StorePath(self._naming.container_of(component), component)

    # ── what may be done ───────────────────────────────────────────────────────────────

    def check_may_have_directories(self, _parent: StorePath, /) -> None:
        """Refuse directories.

        Raises:
            NotPermittedError: Always.
        """
        raise errors.NotPermittedError("there are only images here, and no directories")

    async def prepare(self, place: StorePath, /) -> None:
        """Return when an image can be stored, with its container made if that is allowed.

        Raises:
            NotFoundError: Its container is missing, and is not to be made.
            NotPermittedError: The name would lead it out of the store's containers.
        """
        container = place.container
        if not self._naming.is_store_container(container):
            raise errors.NotPermittedError(
                f"{place}: not the name of an image: {container!r} would be none of the"
                " store's containers, so that it would not be listed"
            )
        try:
            await self._store.head_container(container)
        except errors.NotFoundError:
            if not self._may_create:
                reason = f"there is no container {container!r} (-o create_container_on_put)"
                log.warning("image not made image=%s reason=%s", place, reason)
                raise errors.NotFoundError(f"{place}: {reason}") from None
            await self._store.put_container(container)
            self._made.add(container)
            log.info("container made container=%s image=%s", container, place)

    async def left(
        self, containers: Iterable[str], hurry: Callable[[str], Awaitable[None]], /
    ) -> None:
        """Remove the containers that images had for themselves, as Glance does with an image.

        They may have been the image's own, or hold the segments of one that got its name by
        a rename; `_segments` go with the container that they are named after.
        """
        if not self._naming.is_multi_tenant:
            return
        for container in containers:
            is_shared = container == self._naming.container
            if not is_shared and self._naming.is_store_container(container):
                await hurry(container)
                await self._remove_if_empty(container)

    async def _remove_if_empty(self, container: str) -> None:
        try:
            if (await self._store.list_page(container, delimiter="", limit=1)).has_any:
                log.info("container kept, it has objects container=%s", container)
                return
            await remove_container(self._store, container)
            log.info("container removed container=%s", container)
        except errors.NotFoundError:
            log.debug("container gone already container=%s", container)
        except errors.DirectoryNotEmptyError as failure:
            log.info("container kept container=%s reason=%s", container, failure)
        except errors.SwiftImgFsError as failure:
            log.warning("container not removed container=%s reason=%s", container, failure)

    # ── containers ─────────────────────────────────────────────────────────────────────

    async def _containers(self) -> list[str]:
        """Return the store's containers by name, at most `list_timeout` old."""
        account = await self._directories.listing(ACCOUNT)
        listed = {c for c in account.entries if self._naming.is_store_container(c)}
        self._made -= listed
        return sorted(listed | self._made)

    async def _listings(self) -> dict[str, Listing]:
        """Return the listings of the store's containers, in the order of their names."""
        containers = await self._containers()
        listings: dict[str, Listing] = {}

        async def load(container: str) -> None:
            try:
                listings[container] = await self._directories.listing(StorePath(container))
            except errors.NotFoundError:  # removed since the account was listed
                self._made.discard(container)

        with errors.first_failure():
            async with trio.open_nursery() as nursery:
                for container in containers:
                    nursery.start_soon(load, container)
        return {name: listings[name] for name in containers if name in listings}

    async def _places_besides(self, chosen: StorePath) -> list[StorePath]:
        """Return where else in the store there seems to be an object of this name."""
        async with self._listing_names:
            containers = await self._containers()
            others = [c for c in containers if c != chosen.container]
            oldest = trio.current_time() - self._list_timeout
            with errors.first_failure():
                async with trio.open_nursery() as nursery:
                    for container in others:
                        known = self._names.get(container)
                        if known is None or known.listed_at <= oldest:
                            nursery.start_soon(self._list_names, container)
            self._names = {c: n for c, n in self._names.items() if c in containers}
            found = [c for c in others if chosen.component in self._names[c].names]
            return [StorePath(container, chosen.component) for container in found]

    async def _list_names(self, container: str) -> None:
        now = trio.current_time()
        names: frozenset[str] = frozenset()
        with contextlib.suppress(errors.NotFoundError):
            rows = await self._store.list_all(container, "")
            names = frozenset(row.name for row in rows)
        self._names[container] = _Names(names, now)
