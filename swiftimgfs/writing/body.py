"""Pieces of an image as the body of a PUT, from wherever they are. Pure but for the spool.

A body can be gone through more than once: for its MD5, and for each try. What is in the
spool is read in the thread that sends it, a piece at a time, and never held as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swiftimgfs.layout import Inline, Spooled, Stored, Zeros
from swiftimgfs.store.request import NO_HEAD, Head, Payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swiftimgfs.layout import Extent

ZERO_BLOCK: Final = memoryview(bytes(1024 * 1024))
PIECE: Final = 1024 * 1024  # what is read from the spool at a time
# What is looked at as one: whether a write holds zeros costs a look at a few of its bytes.
LOOK: Final = 64 * 1024
_ZEROS: Final = bytes(LOOK)


class ImageBytes:
    """The bytes of some extents, none of which may be `Stored`."""

    def __init__(self, extents: Sequence[Extent]) -> None:
        self._extents = extents

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for extent in self._extents:
            yield from _pieces(extent)


def payload_of(extents: Sequence[Extent], head: Head = NO_HEAD) -> Payload:
    """Return what a PUT of these extents sends, of whose first bytes `head` is the MD5."""
    return Payload(ImageBytes(extents), sum(extent.size for extent in extents), head)


def _pieces(extent: Extent) -> Iterator[bytes | memoryview]:
    match extent.source:
        case Inline(data):
            yield data[: extent.size]
        case Zeros():
            for start in range(0, extent.size, PIECE):
                yield ZERO_BLOCK[: min(PIECE, extent.size - start)]
        case Spooled(file, position):
            for start in range(0, extent.size, PIECE):
                yield file.read(position + start, min(PIECE, extent.size - start))
        case Stored():
            raise AssertionError("bytes that are in Swift are fetched before they are sent")


def without_zeros(data: bytes) -> Iterator[tuple[memoryview, bool]]:
    """Cut data into (part, whether it is all zeros), as few parts as that takes.

    Zeros count from `LOOK` bytes on, or when there is nothing else.
    """
    view = memoryview(data)
    start, is_zero = 0, _is_zero(view[:LOOK])
    for at in range(LOOK, len(view), LOOK):
        also_zero = _is_zero(view[at : at + LOOK])
        if also_zero is not is_zero:
            yield view[start:at], is_zero
            start, is_zero = at, also_zero
    yield view[start:], is_zero


def _is_zero(view: memoryview) -> bool:
    """Return whether all bytes are zero; mostly the first, middle or last one tells."""
    if view[0] or view[-1] or view[len(view) // 2]:
        return False
    return view.tobytes() == _ZEROS[: len(view)]
