"""What Glance's driver calls the objects of a large image, and how it cuts them. Pure.

Source: glance_store's Swift driver, `BaseStore.add`. An image of at least
`swift_store_large_object_size` is segments of `swift_store_large_object_chunk_size`, the
objects `<image id>-00001` and so on in the image's own container, and an empty object of
its name with `X-Object-Manifest: <container>/<image id>-`. Of an image whose size it is not
told it does not know that it is small: then it is stored like that whatever its size, and
an image of no bytes is a manifest without segments.

Such a DLO is whatever lies below its prefix, in the order of the names. So the driver's
names are for an image that is new, and for a name that Glance gives, a UUID: those who make
a file `<UUID>-x` beside it are refused, while `ubuntu-22.04.img` beside `ubuntu` is theirs
to make. All others have a prefix of their own.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from swiftimgfs.writing.segmenter import SegmentPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swiftimgfs.store.large_objects import Segment

MOST_SEGMENTS: Final = 99_999  # with six digits the order of the names is another one
_RESERVED: Final = frozenset("?&%")  # Swift refuses the first two, and unquotes


def glance_plan(segment_size: int, largest_object: int) -> SegmentPlan:
    """Return a plan of segments of one size."""
    size = min(segment_size, largest_object)
    return SegmentPlan(size, MOST_SEGMENTS, size)


def segment_name(prefix: str, number: int) -> str:
    """Return what segment number `number`, counted from 1, is called."""
    return f"{prefix}{number:05d}"


def numbers_of(rows: Sequence[Segment], segment_size: int) -> list[int]:
    """Return the number of each row: that of its place in the plan, where they all have one.

    Segments of another plan may begin several to a place: then they are counted.
    """
    starts = list(accumulate((row.length for row in rows), initial=0))[:-1]
    numbers = [start // segment_size + 1 for start in starts]
    if all(one < other for one, other in pairwise(numbers)):
        return numbers
    return list(range(1, len(rows) + 1))


def prefix_of(rows: Iterable[Segment]) -> tuple[str, str] | None:
    """Return the (container, prefix) that all rows share, if they are named like segments."""
    places = {(row.container, row.name[:-5]) for row in rows if row.name[-5:].isdecimal()}
    is_one = len(places) == 1 and all(row.name[-5:].isdecimal() for row in rows)
    return places.pop() if is_one else None


def manifest_header(container: str, prefix: str) -> str:
    """Return the value of `X-Object-Manifest`, as the driver writes it where that is right.

    The driver quotes nothing, and unquotes nothing when it deletes; Swift unquotes. So what
    is the same unquoted stays as it is, for Glance to find the segments.
    """
    value = f"{container}/{prefix}"
    if value.isascii() and value.isprintable() and not _RESERVED & set(value):
        return value
    assert unquote(quote(value)) == value  # noqa: S101  # what Swift makes of it
    return quote(value)
