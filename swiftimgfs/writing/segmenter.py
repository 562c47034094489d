"""Which bytes become which segment, and what segments are called. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Swift's limit for one object; a segment this large is the last resort of the plan below.
LARGEST_SEGMENT = 5 * 1024**3
# How many manifests may share the rows of an image that has many holes, below its own: then
# holes are named that else would be stored, and Swift takes a few seconds longer for the commit.
# Of more than ten, Swift deletes none with its segments.
MANIFESTS = 9
# Of rows below 1 MiB, who reads through the manifest gets so many at once from Swift, by
# default, and one a second after that (`rate_limit_after_segment`). Those that are given
# while the rest of the image is on its way cost him little; so much of it is in a second.
SHORT_ROWS = 10
BYTES_A_SECOND = 64 * 1024**2
# What the swift CLI calls its segments' content type: other tools know segments by it.
SEGMENT_CONTENT_TYPE = "application/swiftclient-segment"


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """How large each segment is, when nobody says how large the image will be.

    Half of the segments that a manifest can name have `segment_size`, half of the rest
    twice that, and so on. With 64 MiB and 1,000 segments: images up to 31 GiB have equal
    segments, one of 100 GiB has some of 512 MiB, and 260 GiB fit.

    Attributes:
        segment_size: Of the first segments, in bytes; at least `smallest`.
        most_segments: That a manifest names.
        largest: Bytes that a segment may have.
        smallest: Bytes that every segment has to have but the last one.
    """

    segment_size: int
    most_segments: int = 1000
    largest: int = LARGEST_SEGMENT
    smallest: int = 1

    @property
    def most_rows(self) -> int:
        """How many rows an image may have for the sake of its holes."""
        return MANIFESTS * self.most_segments

    def rows_for(self, rows: int) -> int:
        """Return how many rows an image may have that needs `rows` if each hole is one.

        A hole in several rows makes the object of zeros smaller, but more rows the commit
        slower: there are no more manifests than it takes for half of one to be free.
        """
        manifests = -(-(rows + self.most_segments // 2) // self.most_segments)
        return min(manifests * self.most_segments, self.most_rows)

    def short_rows(self, size: int) -> int:
        """Return how many rows of an image of `size` bytes may be short, as Swift sees that."""
        return SHORT_ROWS + size // BYTES_A_SECOND

    def size_of(self, index: int) -> int:
        """Return the size of segment number `index`, counted from 0."""
        for _, first, count, size in self._runs():
            if count is None or index < first + count:
                return size
        raise AssertionError("the last run has no end")

    def cell_of(self, offset: int) -> tuple[int, int]:
        """Return (start, end) of the segment with byte `offset`, when all are whole."""
        for start, _, count, size in self._runs():
            if count is None or offset < start + count * size:
                first = start + (offset - start) // size * size
                return first, first + size
        raise AssertionError("the last run has no end")

    def _runs(self) -> Iterator[tuple[int, int, int | None, int]]:
        """Yield runs of equal segments: (offset, number, how many, size); the last has no end."""
        size, left, offset, number = self.segment_size, self.most_segments, 0, 0
        while left > 1 and size < self.largest:
            count = left // 2
            yield offset, number, count, size
            offset, number, left, size = (
                offset + count * size,
                number + count,
                count,
                size * 2,
            )
        yield offset, number, None, min(size, self.largest)


def prefix_among_images(name: str, upload: str, longest: int) -> str:
    """Return the same for segments in the image's own container.

    Beside the image and not below it, where they would make a directory of its name; and not
    beginning with its name, which Glance's manifests take for a segment of theirs.
    """
    directory, slash, component = name.rpartition("/")
    prefix = f"{directory}{slash}.segments-{component}-{upload}-"
    if len(prefix.encode()) + len("00000000") > longest:
        return f".segments-{hashlib.sha256(name.encode()).hexdigest()}-{upload}-"
    return prefix


def segments_prefix(name: str, upload: str, segment_size: int, longest: int) -> str:
    """Return what the names of one upload's segments start with.

    It follows the swift CLI, `<object>/slo/<when>/<size>/`, so that other tools see
    segments in it. An image's name that leaves no room for that is replaced by its digest.

    Args:
        name: The image's.
        upload: What tells this upload from every other one of the image.
        segment_size: Of the first segments, in bytes.
        longest: Bytes that an object's name may have.
    """
    suffix = f"/slo/{upload}/{segment_size}/"
    if len((name + suffix).encode()) + len("00000000") > longest:
        name = hashlib.sha256(name.encode()).hexdigest()
    return name + suffix
