"""What the mount's root shows, and where in the store a name is.

With the layout `raw` the store shows as it is: the root lists containers, containers list
images, and a name is where its directory's path leads.

With `images` the root is one flat directory of the images of all of Glance's containers: see
`images_view`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from swiftimgfs import errors
from swiftimgfs.model.images_view import ImagesView
from swiftimgfs.model.paths import is_representable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.entries import Entry, Listing
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.naming import Naming


class Layout(enum.Enum):
    """What the mount's root shows: see the module."""

    RAW = "raw"
    IMAGES = "images"


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What the mount's root shows, and what Glance's driver is told about containers.

    Attributes:
        naming: Which containers are the store's, and which of them an image is put in.
        create_containers: Make a container that a new image needs and that is missing.
        storage_policy: Of containers that are made; empty for the cluster's.
    """

    layout: Layout
    naming: Naming
    create_containers: bool = False
    storage_policy: str = ""


class View(Protocol):
    """What depends on the layout. A `parent` is the path of the directory that a name is in."""

    async def lookup(self, parent: StorePath, component: str, /) -> Entry:
        """Return what a name is now.

        Raises:
            NotFoundError: Nothing that is shown.
        """

    async def listing(self, path: StorePath, /) -> Listing:
        """Return what is in a directory, at most `list_timeout` old; it may still be growing."""

    async def refresh(self, path: StorePath, /) -> None:
        """Have whoever asks next for anything in a directory be told by Swift."""

    def place_of(self, parent: StorePath, entry: Entry, /) -> StorePath:
        """Return where an entry that was looked up or listed is."""

    @property
    def follows_paths(self) -> bool:
        """Whether everything is where the path of its directory leads."""

    def names_of(self, root: StorePath, place: StorePath, /) -> tuple[str, ...] | None:
        """Return by which names, from the mount's root, a place is reached; None: by none."""

    def new_place(self, parent: StorePath, component: str, /) -> StorePath:
        """Return where something new of this name goes."""

    def check_may_have_directories(self, parent: StorePath, /) -> None:
        """Refuse to make or remove directories where there can be none.

        Raises:
            NotPermittedError: There can be none.
        """

    async def prepare(self, place: StorePath, /) -> None:
        """Return when an image can be stored at a new place.

        Raises:
            NotFoundError: Its container is missing, and is not to be made.
            NotPermittedError: No image may be there.
        """

    async def left(
        self, containers: Iterable[str], hurry: Callable[[str], Awaitable[None]], /
    ) -> None:
        """Clean up containers that nothing here needs any more; raises nothing of ours.

        Args:
            containers: What an image was in.
            hurry: Returns when nothing waits to be deleted in a container.
        """


class RawView:
    """The store as it is."""

    def __init__(self, directories: Directories) -> None:
        self._directories = directories

    async def lookup(self, parent: StorePath, component: str, /) -> Entry:
        """Return what a name is now."""
        return await self._directories.lookup(parent.child(component))

    async def listing(self, path: StorePath, /) -> Listing:
        """Return what is in a directory, at most `list_timeout` old; it may still be growing."""
        return await self._directories.growing_listing(path)

    async def refresh(self, path: StorePath, /) -> None:
        """Have whoever asks next for anything in a directory be told by Swift."""
        await self._directories.refreshing.refresh(path)

    def place_of(self, parent: StorePath, entry: Entry, /) -> StorePath:
        """Return where the parent's path leads."""
        return parent.child(entry.component)

    @property
    def follows_paths(self) -> bool:
        """Whether everything is where the path of its directory leads: yes."""
        return True

    def names_of(self, root: StorePath, place: StorePath, /) -> tuple[str, ...] | None:
        """Return the parts of its name below the root."""
        if root.is_root:
            names = (place.container, *place.name.split("/"))
        elif place.container == root.container and place.name.startswith(root.prefix):
            names = tuple(place.name.removeprefix(root.prefix).split("/"))
        else:
            return None
        return names if all(map(is_representable, names)) else None

    def new_place(self, parent: StorePath, component: str, /) -> StorePath:
        """Return where the parent's path leads."""
        return parent.child(component)

    def check_may_have_directories(self, _parent: StorePath, /) -> None:
        """Refuse nothing: there are directories everywhere."""

    async def prepare(self, place: StorePath, /) -> None:
        """Refuse an image beside the containers; those that are listed are there.

        Raises:
            NotPermittedError: It would be a container.
        """
        if place.is_container:
            raise errors.NotPermittedError(
                f"{place}: images are in containers, not beside them"
            )

    async def left(
        self, _containers: Iterable[str], _hurry: Callable[[str], Awaitable[None]], /
    ) -> None:
        """Leave containers to who made them."""


def view_of(
    options: ViewOptions, store: ImageStore, directories: Directories, *, list_timeout: float
) -> View:
    """Return the view that a mount was told to have."""
    match options.layout:
        case Layout.RAW:
            return RawView(directories)
        case Layout.IMAGES:
            return ImagesView(
                store,
                directories,
                options.naming,
                may_create=options.create_containers,
                list_timeout=list_timeout,
            )
