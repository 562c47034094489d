"""qcow2 images of any size, most of which is zeros, and what opens and reads them."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from swiftimgfs.layout import Layout
from swiftimgfs.reading.block_cache import BLOCK_SIZE
from swiftimgfs.reading.fetcher import BACKGROUND_SHARE
from swiftimgfs.reading.prefetch import MIB
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.reading.tables import ImageTables
from tests.support.range_store import FakeRangeStore, Object

KIB = 1024
CLUSTER = 64 * KIB
READ = 128 * KIB
BACKGROUND = int(8 * BACKGROUND_SHARE)  # connections
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")


@dataclass(frozen=True)
class Sparse(Object):
    """An object of zeros, but for some bytes."""

    written: dict[int, bytes] = field(default_factory=dict, repr=False)

    def part(self, start: int, size: int) -> bytes:
        assert 0 <= start <= start + size <= self.size
        data = bytearray(size)
        for offset, content in self.written.items():
            first, last = max(offset, start), min(offset + len(content), start + size)
            if first < last:
                data[first - start : last - start] = content[first - offset : last - offset]
        return bytes(data)


def header_of(
    *, version=3, cluster_bits=16, l1=(0, 0), refcounts=(0, 0), snapshots=(0, 0), backing=(0, 0)
) -> bytes:
    """Return a header; l1 and snapshots are (offset, entries), refcounts (offset, clusters)."""
    made = HEADER.pack(
        *(b"QFI\xfb", version, *backing, cluster_bits, 1 << 36, 0, l1[1], l1[0]),
        *(refcounts[0], refcounts[1], snapshots[1], snapshots[0], 0, 0, 0, 4, 104),
    )
    return made if version == 3 else made[:72]


L1, REFCOUNTS = 30 * MIB, 60 * MIB  # far from the beginning, as where they had to move


def image_of(
    count: int, *, apart=5 * MIB, blocks=3, version=3, l1=L1, magic=b"QFI\xfb"
) -> tuple[Sparse, list[int], list[int]]:
    """Return a qcow2, where its L2 tables are, in the disk's order, and its refcount blocks."""
    places = [100 * MIB + apart * number for number in range(count + blocks)]
    random.Random(count).shuffle(places)
    l2, refcount_blocks = places[:count], places[count:]
    entries = [offset | 1 << 63 for offset in l2]
    header = header_of(version=version, l1=(l1, count), refcounts=(REFCOUNTS, 1))
    written = {
        0: magic + header[4:],
        l1: struct.pack(f">{count}Q", *entries),
        REFCOUNTS: struct.pack(f">{blocks}Q", *refcount_blocks),
        **{place: place.to_bytes(8, "big") for place in places},
    }
    size = max(places, default=0) + apart
    return Sparse("disk", size, "v1", b"", written), l2, refcount_blocks


def layout_of(image: Object) -> Layout:
    return Layout([(image.size, image.source())])


class Reads:
    """Reads one image and insists on the right bytes."""

    def __init__(self, reading, image: Object, layout: Layout | None = None) -> None:
        self.image = image
        self.layout = layout or layout_of(image)
        self.reader = ImageReader(reading.fetcher)

    async def read(self, offset: int, size: int = 4096) -> None:
        data = await self.reader.read(self.layout, offset, size)
        assert data == self.image.part(offset, min(size, self.image.size - offset))

    async def open(self, l1=L1) -> None:
        """Read what QEMU reads first."""
        await self.read(0)
        await self.read(l1)
        await self.read(REFCOUNTS)


def twice_fetched(store: FakeRangeStore) -> list[int]:
    """Return the blocks, by their first byte, that were fetched more than once."""
    blocks = [
        (get.object, start)
        for get in store.gets
        for start in range(get.start // BLOCK_SIZE * BLOCK_SIZE, get.end, BLOCK_SIZE)
    ]
    return sorted({start for name, start in blocks if blocks.count((name, start)) > 1})


def without_tables(monkeypatch) -> None:
    monkeypatch.setattr(ImageTables, "jumped", lambda *_: False)
