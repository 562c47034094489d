"""Large images of Glance's, found in a listing by what its driver leaves there. Pure.

A DLO looks like an empty object in a listing, and only a HEAD says what it is. A store of
thousands of them would take thousands. But what Glance's driver writes is unmistakable:

- an empty object named by a UUID,
- beside it `<uuid>-00001`, `-00002`, … without a gap, and nothing else that begins with
  `<uuid>-`: all that Swift would make the image of,
- all of one size but the last, which is not larger, and none of them empty,
- and the manifest stored after all of them.

That is still a guess from names, so whoever uses it has Swift confirm a few of a directory's,
and asks for each as soon as somebody looks at it: see `details`. Size and etag are then
what HEAD would say: the sum, and the MD5 of the segments' etags.

Source: glance_store's Swift driver, `_add_large_object`; Swift's dlo middleware.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swiftimgfs.store.large_objects import etag_of_etags
from swiftimgfs.store.naming import UUID_LENGTH, is_image_id
from swiftimgfs.store.records import EMPTY_MD5, ImageInfo, Manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from swiftimgfs.store.records import ObjectRow


@dataclass(slots=True)
class _Group:
    manifest: ObjectRow
    segments: list[ObjectRow] = field(default_factory=list)


def glance_images(
    container: str, rows: Iterable[ObjectRow], spoilt: Collection[str] = ()
) -> list[ImageInfo]:
    """Return the large images of Glance's among rows in Swift's order.

    Args:
        container: Where they are.
        rows: Of one directory, without gap.
        spoilt: Components of those beside which there are directories that would be part of
            them.
    """
    return [
        _info(container, group)
        for group in _groups(rows)
        if _component(group.manifest) not in spoilt and _is_glances(group)
    ]


def first_unfinished(rows: Sequence[ObjectRow]) -> int:
    """Return where the image starts whose segments the rows may end in; their number without."""
    if not rows:
        return 0
    wanted = _component(rows[-1])[:UUID_LENGTH]
    if not is_image_id(wanted):
        return len(rows)
    for index in range(len(rows) - 1, -1, -1):
        component = _component(rows[index])
        if component == wanted:
            return index
        if not component.startswith(wanted):
            break
    return len(rows)


def _groups(rows: Iterable[ObjectRow]) -> Iterable[_Group]:
    group: _Group | None = None
    for row in rows:
        if group is not None and row.name.startswith(f"{group.manifest.name}-"):
            group.segments.append(row)
            continue
        if group is not None and group.segments:
            yield group
        is_empty = row.size == 0 and row.etag == EMPTY_MD5 and not row.is_link
        is_candidate = is_empty and is_image_id(_component(row))
        group = _Group(row) if is_candidate else None
    if group is not None and group.segments:
        yield group


def _is_glances(group: _Group) -> bool:
    manifest, segments = group.manifest, group.segments
    *full, last = segments
    size = segments[0].size
    return (
        all(
            row.name == f"{manifest.name}-{number:05d}"
            for row, number in zip(segments, itertools.count(1), strict=False)
        )
        and all(row.size == size and not row.is_slo for row in full)
        and 0 < last.size <= size
        and all(row.last_modified_ns <= manifest.last_modified_ns for row in segments)
    )


def _info(container: str, group: _Group) -> ImageInfo:
    row = group.manifest
    return ImageInfo(
        container=container,
        name=row.name,
        size=sum(segment.size for segment in group.segments),
        etag=etag_of_etags(segment.etag for segment in group.segments),
        last_modified_ns=row.last_modified_ns,
        content_type=row.content_type,
        manifest=Manifest.DLO,
        dlo=(container, f"{row.name}-"),
    )


def _component(row: ObjectRow) -> str:
    return row.name.rpartition("/")[2]
