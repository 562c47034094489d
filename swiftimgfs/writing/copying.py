"""A copy inside Swift of an object that is too large for one copy: in segments, as an SLO.

Swift refuses to copy more than `max_file_size` (5 GiB) at once, which an object can have
that was stored when the cluster allowed more. A part of it can be copied.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.store.image_store import StoredImage
from swiftimgfs.store.large_objects import Segment, slo_etag
from swiftimgfs.writing.slo_format import SloFormat
from swiftimgfs.writing.uploader import stored_segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.parts import WriteParts
    from swiftimgfs.writing.uploader import Uploader

log = logging.getLogger(__name__)


async def copy_in_segments(
    parts: WriteParts, info: ImageInfo, place: tuple[str, str], headers: Mapping[str, str]
) -> StoredImage:
    """Store a copy of a plain object as an SLO; return it.

    Args:
        parts: Of the mount.
        info: The object.
        place: (container, object) of the copy.
        headers: To be stored with it.

    Raises:
        ImageChangedError: The object is not what it was.
    """
    uploader = parts.uploader(*place)
    try:
        rows = await _copied(parts, uploader, info)
        entry = await uploader.entry()
        named = [(row.container, row.name) for row in rows]
        await entry.committing(slo_etag(rows), named, ())
    except BaseException:
        await uploader.abandon()
        raise
    try:
        stored = await parts.store.put_manifest(*place, rows, headers)
    except errors.SwiftImgFsError as failure:
        if not failure.is_transient:  # else it may be stored: the journal's next look tells
            await uploader.abandon()
        raise
    uploader.committed(set(named))
    await entry.committed()
    await entry.finished()
    log.info("copied in segments image=%s/%s segments=%d", *place, len(rows))
    layout = Layout((row.length, stored_segment(row)) for row in rows)
    return StoredImage(stored, layout, tuple(named))


async def _copied(parts: WriteParts, uploader: Uploader, info: ImageInfo) -> list[Segment]:
    """Copy all parts of an object side by side, as many as there are slots."""
    layout = SloFormat(parts.store, uploader, parts.options)
    rows: dict[int, Segment] = {}

    async def copy(start: int, end: int, number: int) -> None:
        source = Segment(info.container, info.name, info.size, info.etag, start, end - start)
        container, name = await layout.place(start, number)
        async with parts.slots:
            await uploader.announce(container, name)
            etag = await parts.store.copy_object(
                source, container, name, layout.segment_headers
            )
        uploader.acknowledged(source.length)
        rows[start] = Segment(container, name, source.length, etag, 0, source.length)

    with errors.first_failure():
        async with trio.open_nursery() as nursery:
            offset = number = 0
            while offset < info.size:
                _, end = layout.plan.cell_of(offset)
                nursery.start_soon(copy, offset, min(end, info.size), number)
                offset, number = end, number + 1
    return [rows[start] for start in sorted(rows)]
