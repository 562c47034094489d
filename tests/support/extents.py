"""What the extents of a layout stand for."""

from __future__ import annotations

from swiftimgfs.layout import Extent, Inline, Spooled, Stored, Zeros


def bytes_of(extent: Extent, stored: bytes) -> bytes:
    """Return the bytes of an extent; those of any object are `stored`."""
    match extent.source:
        case Stored(start=start):
            return stored[start : start + extent.size]
        case Zeros():
            return bytes(extent.size)
        case Inline(data):
            return bytes(data[: extent.size])
        case Spooled(file, position):
            return file.read(position, extent.size)
