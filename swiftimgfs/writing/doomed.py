"""What a version of an image was made of when that was replaced or removed, looked at again.

Swift has no If-Match for a PUT. So another host may have looked at an image before it was
replaced or removed here, and store its own version afterwards, of segments that are to go.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from swiftimgfs import errors
from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.named_by import named_by, note_named_by
from swiftimgfs.writing.sight import Sight, image_now

if TYPE_CHECKING:
    from collections.abc import Collection

    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.writing.deletion import ObjectName

log = logging.getLogger(__name__)


class Entry(Protocol):
    """The journal's entry of a deletion."""

    async def delete_after(self, moment: float) -> None:
        """Note when it may be done."""
        ...

    async def finished(self) -> None:
        """Note that it is done."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Doomed:
    """What a version of an image was made of, and is needed no more.

    Attributes:
        objects: What is to be deleted.
        entry: The journal's, which ends with them.
        image: Whose version it was; None when it was nobody's yet.
        anchor: See `named_by.anchor_of`; of the version.
        is_removed: The image's name was taken away, and not given to another version.
    """

    objects: Collection[ObjectName]
    entry: Entry | None = None
    image: ObjectName | None = None
    anchor: ObjectName | None = None
    is_removed: bool = False


async def unnamed(store: ImageStore, doomed: Doomed) -> Collection[ObjectName]:
    """Return what is named neither under the image's name nor under one that it got since.

    Args:
        store: Which asks all replicas.
        doomed: What is to be deleted.

    Raises:
        SwiftImgFsError: It cannot be known.
    """
    if doomed.image is None:
        return doomed.objects
    image = await image_now(store, *doomed.image)
    rest = Sight(image, frozenset()).not_named(doomed.objects)
    others = await named_by(store, doomed.anchor) if doomed.anchor is not None else []
    for name in others:
        if name != doomed.image:
            other = await image_now(store, *name)
            rest = Sight(other, frozenset()).not_named(rest)
            await _note_shared(store, (doomed.image, image), (name, other))
    return rest


async def _note_shared(
    store: ImageStore, *images: tuple[ObjectName, StoredImage | None]
) -> None:
    """Have two images that share segments be known to each other's.

    A version was renamed on one host and edited on another one at the same moment.
    """
    (name, image), (other_name, other) = images
    if image is None or other is None or set(image.parts).isdisjoint(other.parts):
        return
    await note_named_by(store, min(image.parts), other_name)
    await note_named_by(store, min(other.parts), name)


async def remove_again(store: ImageStore, doomed: Doomed) -> None:
    """Remove a removed image again if it came back, stored by another host, of what is gone.

    As if it had been stored just before it was removed. Nobody could read it.

    Args:
        store: Which asks all replicas.
        doomed: What was deleted with the image.

    Raises:
        SwiftImgFsError: It cannot be known, or not be done.
    """
    if doomed.image is None or (now := await image_now(store, *doomed.image)) is None:
        return
    missing = set(doomed.objects).intersection(now.parts)
    # Glance gives the segments of an image the same names whoever uploads it again.
    if not missing or await _is_there(store, min(missing)):
        return
    log.warning("removed again, stored of segments that were gone image=%s/%s", *doomed.image)
    await store.delete_object(*doomed.image)
    await delete_objects(store, set(now.parts) - missing)


async def _is_there(store: ImageStore, name: ObjectName) -> bool:
    try:
        await store.head_object(*name)
    except errors.NotFoundError:
        return False
    return True
