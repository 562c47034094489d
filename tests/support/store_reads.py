"""Segments that are stored through a store, ranges and layouts that are read through it."""

from __future__ import annotations

import hashlib

from swiftimgfs.layout import Inline, Layout, Stored, Zeros
from swiftimgfs.reading.chunks import fetch_whole
from swiftimgfs.store.large_objects import Segment
from swiftimgfs.store.request import Payload

BODY = bytes(range(256)) * 256  # 64 KiB


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def requests(faulty, method, target=""):
    return [r for r in faulty.control.journal() if r.method == method and target in r.target]


async def read(store, pool, layout: Layout) -> bytes:
    """Read a layout through the store, extent by extent."""
    data = bytearray()
    for extent in layout.extents:
        match extent.source:
            case Stored() as source:
                data += (await read_range(store, pool, source, extent.size)).view
            case Inline(piece):
                data += piece[: extent.size]
            case Zeros():
                data += bytes(extent.size)
    return bytes(data)


class Buffer:
    """What a range is fetched into; `after` is called in the thread, once so much is there."""

    def __init__(self, size):
        self.view = memoryview(bytearray(size))
        self.size = size
        self.filled = 0
        self.is_abandoned = False
        self.after = (size + 1, lambda: None)

    def rest(self):
        return self.view[self.filled :]

    def arrived(self, count):
        self.filled += count
        threshold, act = self.after
        if self.filled >= threshold:
            act()

    def abandon(self):
        self.is_abandoned = True


async def read_range(store, pool, source, size):
    """Read a range whatever happens, as the reading layer does."""
    buffer = Buffer(size)
    await fetch_whole(store, source, buffer, pool.retry)
    return buffer


async def fetch(store, source, size, patience=5.0):
    """Make one try."""
    buffer = Buffer(size)
    await store.fetch_range(source, buffer, patience)
    return bytes(buffer.view)


async def put_segments(store, *parts: bytes, container="segs", prefix="s/"):
    segments = []
    for number, part in enumerate(parts):
        name = f"{prefix}{number:08d}"
        info = await store.put_object(container, name, Payload([part]), {})
        segments.append(Segment(container, name, len(part), info.etag, 0, len(part)))
    return segments
