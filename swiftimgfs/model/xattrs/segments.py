"""The segments of a large image, as an attribute, and in pages where one cannot hold them."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.layout import Stored, Zeros
from swiftimgfs.model.xattrs.subject import Attribute

if TYPE_CHECKING:
    from swiftimgfs.layout import Extent
    from swiftimgfs.model.xattrs.subject import Subject

LARGEST_VALUE: Final = 65_000  # Linux's XATTR_SIZE_MAX is 65,536
# For `swiftimgfs verify`: the segments in pages, because those of hundreds are more than a
# value can hold, and whether segment number N is a manifest itself.
_PAGE: Final = re.compile(r"user\.swift\.segments\.(\d{1,6})(\.manifest)?", re.ASCII)


async def segments(subject: Subject) -> str | None:
    """Return all of them.

    Raises:
        AttributeTooLargeError: They are more than an attribute can hold.
    """
    pages = await _segment_pages(subject)
    if len(pages) > 1:
        raise errors.AttributeTooLargeError(
            f"{subject.inode.path}: read user.swift.segments.0 to .{len(pages) - 1}"
        )
    return pages[0] if pages else None


def page_attribute(name: str) -> Attribute | None:
    """Return the attribute that is one page of the segments, or the manifest of one."""
    match = _PAGE.fullmatch(name)
    if match is None:
        return None
    getter = _segment_manifest if match[2] else _segments_page
    return Attribute(functools.partial(getter, number=int(match[1])))


async def _segments_page(subject: Subject, number: int) -> str | None:
    pages = await _segment_pages(subject)
    return pages[number] if number < len(pages) else None


async def _segment_manifest(subject: Subject, number: int) -> str | None:
    """What kind of manifest a segment is: an SLO's row may name a DLO, whose etag is no MD5."""
    segments = await stored_segments(subject)
    if number >= len(segments):
        return None
    source = segments[number][1]
    info = await subject.store.head_image(source.container, source.object)
    return info.manifest.value if info.manifest else None


async def _segment_pages(subject: Subject) -> list[str]:
    """Return the segments of a large image, cut into lists that fit into an attribute each.

    Zeros are rows too: the manifest names objects for them whose MD5 is that of zeros.
    """
    info = subject.inode.info
    if info is None or info.manifest is None:
        return []
    pages: list[list[str]] = [[]]
    room = LARGEST_VALUE
    for extent in (await subject.store.resolve(info)).layout.extents:
        row = _row(extent)
        if not row:
            continue
        size = len(row.encode()) + len(", ")
        if size > room:
            pages.append([])
            room = LARGEST_VALUE
        room -= size
        pages[-1].append(row)
    return [f"[{', '.join(page)}]" for page in pages]


async def stored_segments(subject: Subject) -> list[tuple[Extent, Stored]]:
    """Return what a large image is made of; nothing for a plain one."""
    info = subject.inode.info
    if info is None or info.manifest is None:
        return []
    extents = (await subject.store.resolve(info)).layout.extents
    return [(extent, extent.source) for extent in extents if isinstance(extent.source, Stored)]


def _row(extent: Extent) -> str:
    place = {"offset": extent.offset, "size": extent.size}
    match extent.source:
        case Stored() as source:
            row = {
                "name": f"{source.container}/{source.object}",
                **place,
                "etag": source.etag,
                # The etag is that of the whole object, of which this may be a part.
                "start": source.start,
                "object_size": source.object_size,
            }
        case Zeros():
            row = {**place, "zeros": True}
        case _:
            return ""
    return json.dumps(row, ensure_ascii=False)
