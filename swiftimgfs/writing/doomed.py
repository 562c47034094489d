"""What a version of an image was made of when that was replaced or removed, looked at again.

Swift has no If-Match for a PUT. So another host may have looked at an image before it was
replaced or removed here, and store its own version afterwards, of segments that are to go.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from swiftimgfs import errors
from swiftimgfs.store.large_objects import Segment, slo_etag
from swiftimgfs.store.metadata import carried
from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.named_by import named_by, note_named_by
from swiftimgfs.writing.sight import Sight, image_now

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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


@dataclass(frozen=True, slots=True)
class Version:
    """What replaced the version that is doomed, as a manifest that can be stored again.

    Attributes:
        image: The image as it was stored.
        rows: What its manifest names; none of a DLO.
    """

    image: StoredImage
    rows: Sequence[Segment] = ()


def version_of(image: StoredImage, rows: Sequence[Segment | bytes]) -> Version | None:
    """Return an image with what its manifest names; None unless it can be stored again."""
    if image.info.dlo is not None:
        return Version(image)
    segments = [row for row in rows if isinstance(row, Segment)]
    is_whole = segments and len(segments) == len(rows)
    return (
        Version(image, segments) if is_whole and slo_etag(segments) == image.info.etag else None
    )


@dataclass(frozen=True, slots=True, eq=False)
class Doomed:
    """What a version of an image was made of, and is needed no more.

    Attributes:
        objects: What is to be deleted.
        entry: The journal's, which ends with them.
        image: Whose version it was; None when it was nobody's yet.
        anchor: See `named_by.anchor_of`; of the version.
        is_removed: The image's name was taken away, and not given to another version.
        successor: What has the name since, if it is a large image.
    """

    objects: Collection[ObjectName]
    entry: Entry | None = None
    image: ObjectName | None = None
    anchor: ObjectName | None = None
    is_removed: bool = False
    successor: Version | None = None


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
    others = await _others(store, doomed)
    if image is None and await _has_lost_its_name(store, doomed, others):
        image = await _stored_again(store, doomed)
    rest = Sight(image, frozenset()).not_named(doomed.objects)
    for name, other in others.items():
        rest = Sight(other, frozenset()).not_named(rest)
        await _note_shared(store, (doomed.image, image), (name, other))
    return rest


async def _others(store: ImageStore, doomed: Doomed) -> dict[ObjectName, StoredImage]:
    """Return the images of other names that name what is doomed, or did, by a rename."""
    names = await named_by(store, doomed.anchor) if doomed.anchor is not None else []
    found = {name: await image_now(store, *name) for name in names if name != doomed.image}
    return {name: image for name, image in found.items() if image is not None}


async def _has_lost_its_name(
    store: ImageStore, doomed: Doomed, others: Mapping[ObjectName, StoredImage]
) -> bool:
    """Return whether a rename of the version before took the name of its successor away.

    It had looked at the old name before we stored the successor, and deleted it afterwards.
    An image that was removed, or renamed, has no segments any more, or another name.
    """
    if doomed.successor is None:
        return False
    parts = doomed.successor.image.parts
    renamed = [image.parts for image in others.values() if doomed.anchor in image.parts]
    fresh = set(parts).difference(*renamed)
    if not (renamed and fresh and await _is_there(store, min(fresh))):
        return False
    for name in await named_by(store, min(parts)):
        image = await image_now(store, *name)
        if image is not None and not fresh.isdisjoint(image.parts):
            return False
    return True


async def _stored_again(store: ImageStore, doomed: Doomed) -> StoredImage | None:
    """Give a successor its name again, unless somebody else has it by now."""
    assert doomed.successor is not None  # noqa: S101  # it is what has lost its name
    info, rows = doomed.successor.image.info, doomed.successor.rows
    place = info.container, info.name
    with contextlib.suppress(errors.ExistsError):
        if rows:
            await store.put_manifest(*place, rows, carried(info), is_new=True)
        else:
            await store.put_object(*place, b"", carried(info), is_new=True)
        log.warning("stored again, a rename had taken its name away image=%s/%s", *place)
    return await image_now(store, *place)


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
