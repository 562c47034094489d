"""Whether a container holds the segments of the one it is named after.

It is called `<container>_segments`, and we made it for that, or a manifest *in that
container* names objects in it: what only has the name, and images of its own, large ones
too, is no business of that container.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.store.records import SEGMENT_CONTAINER_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ObjectRow

# How many manifests are looked at side by side.
MANIFESTS_AT_ONCE: Final = 8


async def segment_container_of(store: ImageStore, container: str) -> str | None:
    """Return the container that holds segments of the images in this one; None without one."""
    candidate = container + SEGMENT_CONTAINER_SUFFIX
    if len(candidate.encode()) > store.limits.longest_container_name:
        return None
    return candidate if await holds_segments(store, container, candidate) else None


async def holds_segments(store: ImageStore, container: str, candidate: str) -> bool:
    """Return whether a container is there, and holds segments of the images in another."""
    try:
        info = await store.head_container(candidate)
    except errors.NotFoundError:
        return False
    if info.is_our_segment_container or info.object_count == 0:
        return info.is_our_segment_container
    return await _names_any_in(store, container, candidate)


async def _names_any_in(store: ImageStore, container: str, candidate: str) -> bool:
    """Return whether a manifest in `container` names an object in `candidate`, as of now."""
    marker: str | None = ""
    while marker is not None:
        page = await store.list_page(container, delimiter="", marker=marker)
        marker = page.next_marker
        rows = [row for row in page.rows if row.may_be_manifest and not row.is_directory_marker]
        for start in range(0, len(rows), MANIFESTS_AT_ONCE):
            some = rows[start : start + MANIFESTS_AT_ONCE]
            if candidate in await _segment_containers(store, container, some):
                return True
    return False


async def _segment_containers(
    store: ImageStore, container: str, rows: Sequence[ObjectRow]
) -> set[str]:
    """Return the containers of everything that these manifests name."""
    found: set[str] = set()

    async def ask(name: str) -> None:
        with contextlib.suppress(errors.NotFoundError):  # gone meanwhile
            image = await store.resolve(await store.head_image(container, name))
            found.update(where for where, _ in image.parts)

    with errors.first_failure():
        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(ask, row.name)
    return found
