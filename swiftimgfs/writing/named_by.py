"""Which images may name the segments of one version: told by the first of these.

A large image is renamed by a copy of its manifest, and until the old name is gone both name
the same segments. Swift has no condition by which the two requests could be one: another host
that stores or removes the image under its old name at that moment would delete segments
that the new name needs. So the new name is noted with a segment before it is given, and
whoever deletes segments of a version looks there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from swiftimgfs import errors
from swiftimgfs.store.kept_attributes import changes_for, value_of
from swiftimgfs.store.metadata import changes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.upload_record import ObjectName

log = logging.getLogger(__name__)

NAMED_BY: Final = b"named.by"  # kept as an attribute of the segment: images, as in a URL
MOST_NAMES: Final = 4  # those of before have been renamed again long since
LONGEST: Final = 2048  # bytes, of the 4096 that Swift has for all metadata of an object


def anchor_of(parts: Iterable[ObjectName]) -> ObjectName | None:
    """Return the object by which a version of an image is known to all hosts.

    In whatever order they know its parts; None for an image without any.
    """
    return min(parts, default=None)


async def note_named_by(store: ImageStore, anchor: ObjectName, *images: ObjectName) -> None:
    """Note that `images` name the version with this anchor, or are about to.

    Who may not change segments does not note it.

    Raises:
        SwiftImgFsError: It was not noted, but may be another time.
    """
    try:
        info = await store.newest().head_image(*anchor)
        before = [name for name in _names_in(info.metadata) if name not in images]
        value = _text_of([*before, *images][-MOST_NAMES:]).encode()
        if len(value) > LONGEST:
            value = _text_of(images[-1:]).encode()
        longest = store.limits.longest_meta_value
        await store.post_image(
            info, changes_of(changes_for(info.metadata, NAMED_BY, value, longest))
        )
    except (errors.ForbiddenError, errors.NotFoundError) as failure:
        log.info("new name not noted image=%s/%s reason=%s", *images[-1], failure)


async def named_by(store: ImageStore, anchor: ObjectName) -> list[ObjectName]:
    """Return the images that were noted last for the version with this anchor.

    Raises:
        SwiftImgFsError: It cannot be known.
    """
    try:
        return _names_in((await store.head_image(*anchor)).metadata)
    except errors.NotFoundError:
        return []


def _text_of(names: Iterable[ObjectName]) -> str:
    return " ".join("/".join(quote(part, safe="") for part in name) for name in names)


def _names_in(metadata: Mapping[str, str]) -> list[ObjectName]:
    text = (value_of(metadata, NAMED_BY) or b"").decode(errors="replace")
    pairs = (word.partition("/") for word in text.split())
    return [(unquote(container), unquote(name)) for container, slash, name in pairs if slash]
