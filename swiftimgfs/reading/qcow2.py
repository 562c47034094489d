"""What of a qcow2 image is worth fetching ahead: its tables, which every tool reads first. Pure.

To map one guest offset QEMU reads the header, the L1 table and an L2 table, one after the
other; `qemu-img map` and `check` read all L2 tables, and `check` the refcount blocks too.
Far from Swift that is a round trip each, so who opens an image does it in three steps:

1. `parse_header` of the first `HEADER_BYTES`,
2. `metadata_ranges`: what the header names, the L1 and the refcount table among it,
3. `l2_ranges` of the L1 table, and `refcount_block_ranges` of the refcount table.

Images are anybody's, so every field is a hint: what lies outside of the image is left out,
what is too much is cut off, and nothing here raises or takes long, whatever the bytes are.
All ranges are inside the image, in ascending order, not empty, and do not touch. Not
followed are the tables of snapshots and bitmaps, and LUKS headers: images have them rarely.

Source: QEMU's docs/interop/qcow2.txt; the limits of QEMU's block/qcow2.c.
"""

from __future__ import annotations

import itertools
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Bytes = bytes | bytearray | memoryview

HEADER_BYTES: Final = 104  # of version 3, without the extensions

KIB: Final = 1024
MIB: Final = 1024 * KIB
# What is fetched of one kind, at most. A 64 KiB cluster's L2 table maps 512 MiB: 32 MiB of
# them map 256 GiB, and 16 MiB of L1 table 1 PiB. (QEMU opens L1 tables of up to 32 MiB.)
MOST_L1_BYTES: Final = 16 * MIB
MOST_L2_BYTES: Final = 32 * MIB
MOST_REFCOUNT_BYTES: Final = 8 * MIB  # of the table, and of its blocks
MOST_OTHER_BYTES: Final = 1 * MIB  # of the snapshot table
MOST_HEADER_BYTES: Final = 64 * KIB  # of the first cluster: those of QEMU 7 end below 1 KiB
MOST_RANGES: Final = 4096
# Used entries of a table that are looked at: all two million of an L1 of 16 MiB would hold
# up everything else for a second. (Unused ones are skipped in C, in 30 ms.)
MOST_ENTRIES: Final = 65_536
# Tables nearer than this are one range: the bytes between cost less than another request.
NEAR: Final = 64 * KIB

_MAGIC: Final = b"QFI\xfb"
_FIELDS: Final = struct.Struct(">4sIQIIQIIQQIIQ")  # of version 2, and what 3 begins with
_FIELDS_3: Final = struct.Struct(">QQQII")
_CLUSTER_BITS: Final = range(9, 22)
_LONGEST_BACKING_NAME: Final = 1023
_ENTRY_BYTES: Final = 8
_L2_OFFSET: Final = 0x00FF_FFFF_FFFF_FE00
_REFCOUNT_BLOCK_OFFSET: Final = 0xFFFF_FFFF_FFFF_FE00
# 40 bytes, extra data of 16 or 24, an id of a digit or two, and a name.
_SNAPSHOT_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Range:
    """`size` bytes of an image from `offset`."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """What the header of a qcow2 says, as far as it can be true.

    A table of which nothing is inside the image has size 0.

    Attributes:
        image_size: Bytes of the image as a file.
        version: 2 or 3.
        cluster_size: Bytes of a cluster, and so of an L2 table and of a refcount block.
        virtual_size: Bytes of the disk, as its guest sees it; not checked against anything.
        l1: The active L1 table.
        refcounts: The refcount table.
        others: What else is read at open: the header and its extensions, the name of the
            backing file, the snapshot table.
    """

    image_size: int
    version: int
    cluster_size: int
    virtual_size: int
    l1: Range
    refcounts: Range
    others: tuple[Range, ...]


def parse_header(start: Bytes, image_size: int) -> Qcow2Header | None:
    """Return what a qcow2's header says; None if it is no qcow2 that QEMU would open.

    Args:
        start: The first `HEADER_BYTES` of the image, or the whole of a smaller one.
        image_size: Bytes of the image.
    """
    start = memoryview(start)[:HEADER_BYTES]
    if len(start) < _FIELDS.size or bytes(start[: len(_MAGIC)]) != _MAGIC:
        return None
    fields = _FIELDS.unpack_from(start)
    _, version, backing_offset, backing_size, cluster_bits, virtual_size, _, *tables = fields
    l1_entries, l1_offset, refcount_offset, refcount_clusters, snapshots, snapshot_offset = (
        tables
    )
    if cluster_bits not in _CLUSTER_BITS:
        return None
    cluster = 1 << cluster_bits
    if not _FIELDS.size <= _header_length(start, version) <= cluster:
        return None
    inside = _Inside(image_size, cluster)
    others = [
        inside.range(0, min(cluster, MOST_HEADER_BYTES)),
        _backing_name(inside, backing_offset, backing_size),
        inside.table(snapshot_offset, snapshots * _SNAPSHOT_BYTES, MOST_OTHER_BYTES),
    ]
    return Qcow2Header(
        image_size=image_size,
        version=version,
        cluster_size=cluster,
        virtual_size=virtual_size,
        l1=inside.table(l1_offset, l1_entries * _ENTRY_BYTES, MOST_L1_BYTES),
        refcounts=inside.table(
            refcount_offset, refcount_clusters * cluster, MOST_REFCOUNT_BYTES
        ),
        others=tuple(others),
    )


def metadata_ranges(header: Qcow2Header) -> list[Range]:
    """Return what the header names: what QEMU reads when it opens the image."""
    tables = (header.l1, header.refcounts, *header.others)
    return list(_merged(sorted((table.offset, table.end) for table in tables if table.size)))


def l2_ranges(header: Qcow2Header, l1_table: Bytes) -> list[Range]:
    """Return where the L2 tables are: the first ones of the disk, when they are too many.

    Args:
        header: Of the image.
        l1_table: The bytes of `header.l1`, or those of them that are at hand.
    """
    return _tables(header, l1_table, _L2_OFFSET, MOST_L2_BYTES)


def refcount_block_ranges(header: Qcow2Header, refcount_table: Bytes) -> list[Range]:
    """Return where the refcount blocks are, which `qemu-img check` and writers read.

    Args:
        header: Of the image.
        refcount_table: The bytes of `header.refcounts`, or those that are at hand.
    """
    return _tables(header, refcount_table, _REFCOUNT_BLOCK_OFFSET, MOST_REFCOUNT_BYTES)


@dataclass(frozen=True, slots=True)
class _Inside:
    """Makes ranges that are inside an image, whatever they are made of."""

    image_size: int
    cluster: int

    def range(self, offset: int, size: int) -> Range:
        """Return the part of a range that is inside the image."""
        return Range(offset, max(min(size, self.image_size - offset), 0))

    def table(self, offset: int, size: int, most: int) -> Range:
        """Return a table at a cluster's start, the first `most` bytes of it; else nothing."""
        is_possible = offset > 0 and offset % self.cluster == 0
        return self.range(offset, min(size, most) if is_possible else 0)


def _header_length(start: memoryview, version: int) -> int:
    """Return the bytes of the header without extensions; 0 when it has no sense."""
    match version:
        case 2:
            return _FIELDS.size
        case 3 if len(start) >= _FIELDS.size + _FIELDS_3.size:
            length: int = _FIELDS_3.unpack_from(start, _FIELDS.size)[-1]
            return length if length >= _FIELDS.size + _FIELDS_3.size else 0
        case _:
            return 0


def _backing_name(inside: _Inside, offset: int, size: int) -> Range:
    is_possible = size <= _LONGEST_BACKING_NAME and offset + size <= inside.cluster
    return inside.range(offset, size if offset and is_possible else 0)


def _tables(header: Qcow2Header, entries: Bytes, mask: int, most: int) -> list[Range]:
    """Return the clusters that a table of offsets names, those of its first entries."""
    cluster, size = header.cluster_size, header.image_size
    used = itertools.islice(filter(None, _numbers(entries)), min(most // cluster, MOST_ENTRIES))
    offsets = sorted({entry & mask for entry in used})
    # As plain numbers: sixty thousand of them take 30 ms so, and 200 as ranges.
    tables = ((o, min(o + cluster, size)) for o in offsets if 0 < o < size and not o % cluster)
    return list(_capped(_merged(tables), most))


def _numbers(entries: Bytes) -> array[int]:
    """Return big-endian 64-bit numbers; in C, because most of a large table is unused."""
    view = memoryview(entries)[:MOST_L1_BYTES]
    numbers = array("Q", bytes(view[: len(view) // _ENTRY_BYTES * _ENTRY_BYTES]))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _merged(pieces: Iterable[tuple[int, int]]) -> Iterator[Range]:
    """Yield ascending (offset, end) as ranges, near ones as one, at most `MOST_RANGES`."""
    return itertools.islice(_all_merged(pieces), MOST_RANGES)


def _all_merged(pieces: Iterable[tuple[int, int]]) -> Iterator[Range]:
    start = reached = -1
    for offset, end in pieces:
        if start >= 0 and offset > reached + NEAR:
            yield Range(start, reached - start)
            start = -1
        if start < 0:
            start = offset
        reached = max(reached, end)
    if start >= 0:
        yield Range(start, reached - start)


def _capped(ranges: Iterable[Range], most: int) -> Iterator[Range]:
    for item in ranges:
        size = min(item.size, most)
        if size:
            yield Range(item.offset, size)
        most -= size
