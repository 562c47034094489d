"""An image as a layout of extents: the one idea that reading and writing share.

Swift keeps a big image as many objects, a plain image as one, and an image that is being
written is partly here. All of it is one value: a `Layout`, an ordered sequence of `Extent`
without gap or overlap from byte 0 to the image's size. Reading walks its pieces; writing
makes a new one. Pure: nothing here awaits or asks Swift.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes of an object that exists in Swift.

    Attributes:
        container: Where the object is.
        object: Its name.
        etag: The MD5 of its bytes (a segment, a plain image), without quotes.
        start: The first byte of it that belongs to the image.
        object_size: Bytes of the whole object, whatever part of it the image uses.
        is_manifest: It is a large object read as one: its etag is no MD5, and looks like one.
    """

    container: str
    object: str
    etag: str
    start: int
    object_size: int
    is_manifest: bool = False

    def advance(self, count: int) -> Stored:
        """Return the same object, `count` bytes further in."""
        return replace(self, start=self.start + count) if count else self


@dataclass(frozen=True, slots=True)
class Zeros:
    """Bytes that are all zero, which nobody stores or fetches."""

    def advance(self, count: int) -> Zeros:  # noqa: ARG002  # zeros are zeros everywhere
        """Return zeros again."""
        return self


@dataclass(frozen=True, slots=True)
class Inline:
    """Bytes at hand: an SLO's `data` row, or data written here and not yet in Swift."""

    data: memoryview = field(repr=False)

    def advance(self, count: int) -> Inline:
        """Return what follows the first `count` bytes."""
        return Inline(self.data[count:]) if count else self


class LocalFile(Protocol):
    """A file of this host that holds bytes of an image."""

    def read(self, position: int, size: int) -> bytes:
        """Return `size` bytes from `position`."""
        ...


@dataclass(frozen=True, slots=True)
class Spooled:
    """Bytes that were written here and wait on this host's disk for Swift.

    They are there only as long as the writer says so: see `ExtentMap.changes`.
    """

    file: LocalFile = field(repr=False)
    position: int

    def advance(self, count: int) -> Spooled:
        """Return what follows the first `count` bytes."""
        return Spooled(self.file, self.position + count) if count else self


Source = Stored | Zeros | Inline | Spooled


@dataclass(frozen=True, slots=True)
class Extent:
    """`size` bytes of an image from `offset`, all from one source."""

    offset: int
    size: int
    source: Source

    @property
    def end(self) -> int:
        """First byte after this extent."""
        return self.offset + self.size

    def clip(self, start: int, end: int) -> Extent:
        """Return the part of this extent between the image's bytes `start` and `end`."""
        first, last = max(self.offset, start), min(self.end, end)
        return Extent(first, last - first, self.source.advance(first - self.offset))


class Layout:
    """The extents of one image, in order, without gap or overlap, from byte 0.

    Frozen: an image that changes gets another layout, and whoever holds this one goes on
    seeing the version that it describes.
    """

    __slots__ = ("_offsets", "extents", "size")

    def __init__(
        self,
        pieces: Iterable[tuple[int, Source]] = (),
        *,
        extents: Sequence[Extent] | None = None,
    ) -> None:
        """Lay `pieces`, each (size in bytes, source), one behind the other.

        Pieces of no size are left out. Who has extents already, in order and without gap,
        gives those.
        """
        self.extents: Final = tuple(_laid_out(pieces) if extents is None else extents)
        self.size: Final = self.extents[-1].end if self.extents else 0
        self._offsets: Final = [extent.offset for extent in self.extents]

    def __repr__(self) -> str:
        return f"<Layout {self.size} bytes in {len(self.extents)} extents>"

    def pieces(self, offset: int, size: int) -> Iterator[Extent]:
        """Yield the extents between `offset` and `offset + size`, clipped to that range.

        Nothing beyond the end of the image is yielded.
        """
        end = min(offset + size, self.size)
        index = bisect.bisect_right(self._offsets, offset) - 1
        while offset < end:
            piece = self.extents[index].clip(offset, end)
            yield piece
            offset = piece.end
            index += 1

    def part(self, offset: int, size: int) -> Iterator[tuple[int, Source]]:
        """Yield the range as (size, source), ready to be laid out in another layout."""
        for piece in self.pieces(offset, size):
            yield piece.size, piece.source


def _laid_out(pieces: Iterable[tuple[int, Source]]) -> Iterator[Extent]:
    end = 0
    for size, source in pieces:
        if size > 0:
            yield Extent(end, size, source)
            end += size
