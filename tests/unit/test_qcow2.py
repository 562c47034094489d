"""What is fetched ahead of qcow2 images: of real ones enough, of hostile ones nothing harmful."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import struct
import time
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.reading import qcow2
from swiftimgfs.reading.qcow2 import Qcow2Header, Range, parse_header
from tests.support.mounts import run

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")

HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
FIELDS = [
    *("magic", "version", "backing_offset", "backing_size", "cluster_bits", "virtual_size"),
    *("crypt", "l1_entries", "l1_offset", "refcount_offset", "refcount_clusters"),
    *("snapshots", "snapshot_offset", "incompatible", "compatible", "autoclear"),
    *("refcount_order", "header_length"),
]
SANE = {
    "magic": b"QFI\xfb",
    "version": 3,
    "cluster_bits": 16,
    "virtual_size": 1 << 30,
    "l1_entries": 2,
    "l1_offset": 3 << 16,
    "refcount_offset": 1 << 16,
    "refcount_clusters": 1,
    "refcount_order": 4,
    "header_length": 104,
}


def header_with(**fields: object) -> bytes:
    values = SANE | fields
    return HEADER.pack(*(values.get(name, 0) for name in FIELDS))


def parsed(image_size: int, **fields: object) -> Qcow2Header:
    header = parse_header(header_with(**fields), image_size)
    assert header is not None
    return header


def read(path: Path, item: Range) -> bytes:
    with path.open("rb") as file:
        file.seek(item.offset)
        return file.read(item.size)


def ranges_of(path: Path) -> list[Range]:
    """Return everything that would be fetched at open."""
    size = path.stat().st_size
    header = parse_header(read(path, Range(0, qcow2.HEADER_BYTES)), size)
    assert header is not None
    return [
        *qcow2.metadata_ranges(header),
        *qcow2.l2_ranges(header, read(path, header.l1)),
        *qcow2.refcount_block_ranges(header, read(path, header.refcounts)),
    ]


def only_the_ranges_of(path: Path) -> Path:
    """Return a copy in which all but what would be fetched is rubbish."""
    copy = path.with_name(f"only-{path.name}")
    copy.write_bytes(b"\xaa" * path.stat().st_size)
    with copy.open("r+b") as file:
        for item in ranges_of(path):
            file.seek(item.offset)
            file.write(read(path, item))
    return copy


def told(command: str, path: Path) -> dict[str, Any]:
    """Return what qemu-img tells of an image, but for its name and its blocks on this disk."""
    content = json.loads(run("qemu-img", command, "--output=json", path))
    if isinstance(content, list):
        return {"map": content}
    return {
        key: value
        for key, value in content.items()
        if key not in {"filename", "actual-size", "children"}
    }


def image_of(directory: Path, *options: str, size: int = 48 * MIB) -> Path:
    """Make a qcow2 of a disk with data and holes; in the file itself there are no holes."""
    image = directory / "image.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", *options, disk(directory, size), image)
    image.write_bytes(image.read_bytes())  # of holes in the file `map` tells, too
    return image


def disk(directory: Path, size: int) -> Path:
    """Make a raw disk with data, holes and zeros."""
    raw = directory / "disk.raw"
    chance = random.Random(size)
    with raw.open("wb") as file:
        file.truncate(size)
        for offset in (0, size // 3, size // 2, size - 700_000):
            file.seek(offset)
            file.write(chance.randbytes(700_000))
    return raw


# ── real images: what is fetched is all that the tools need ────────────────────────────


IMAGES = {
    "version 2": ["-o", "compat=0.10"],
    "version 3": [],
    "clusters of 512": ["-o", "cluster_size=512"],
    "clusters of 4K": ["-o", "cluster_size=4K,refcount_bits=1"],
    "clusters of 1M": ["-o", "cluster_size=1M,refcount_bits=64"],
    "clusters of 2M": ["-o", "cluster_size=2M"],
    "extended L2": ["-o", "extended_l2=on,cluster_size=128K"],
    "preallocated": ["-o", "preallocation=metadata"],
    "compressed": ["-c"],
    "compressed with zstd": ["-c", "-o", "compression_type=zstd"],
    "lazy refcounts": ["-o", "lazy_refcounts=on"],
}


@needs_qemu
@pytest.mark.parametrize("options", IMAGES.values(), ids=IMAGES.keys())
def test_info_map_and_check_read_nothing_else(tmp_path: Path, options: list[str]) -> None:
    image = image_of(tmp_path, *options)

    copy = only_the_ranges_of(image)

    for command in ("info", "map", "check"):
        assert told(command, copy) == told(command, image)


@needs_qemu
@pytest.mark.parametrize("cluster_size", ["4K", "64K"])
def test_tables_and_data_do_not_overlap_and_leave_nothing(
    tmp_path: Path, cluster_size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qcow2, "NEAR", 0)
    image = image_of(tmp_path, "-o", f"cluster_size={cluster_size}")
    extents = [e for e in told("map", image)["map"] if "offset" in e]

    covered = [(item.offset, item.end) for item in ranges_of(image)]
    covered += [(e["offset"], e["offset"] + e["length"]) for e in extents]

    reached, cluster = 0, told("info", image)["cluster-size"]
    for start, end in sorted(covered):
        assert start == reached
        reached = -(-end // cluster) * cluster  # an L1 table is not a whole one
    assert reached == told("check", image)["image-end-offset"]


@needs_qemu
def test_an_image_over_a_backing_file(tmp_path: Path) -> None:
    base, image = tmp_path / f"{'base' * 40}.qcow2", tmp_path / "image.qcow2"
    run("qemu-img", "create", "-f", "qcow2", base, "100M")
    run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", image)

    copy = only_the_ranges_of(image)

    assert told("info", copy)["backing-filename"] == str(base)


@needs_qemu
def test_snapshots_are_known_at_open(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    for number in range(20):
        run("qemu-img", "snapshot", "-c", f"before upgrade {number}", image)

    copy = only_the_ranges_of(image)

    assert len(told("info", copy)["snapshots"]) == 20
    assert told("info", copy) == told("info", image)
    assert told("map", copy) == told("map", image)


@needs_qemu
def test_what_is_fetched_is_little(tmp_path: Path) -> None:
    ranges = ranges_of(image_of(tmp_path, size=600 * MIB))

    assert len(ranges) <= 4
    assert sum(item.size for item in ranges) <= 8 * 65_536


@needs_qemu
def test_a_truncated_image_is_cut_off(tmp_path: Path) -> None:
    image = image_of(tmp_path)
    for size in (0, 71, 72, 103, 104, 500, 65_536, 200_000, 300_000):
        start = read(image, Range(0, min(size, qcow2.HEADER_BYTES)))

        header = parse_header(start, size)

        if header is None:
            assert size < 104
        else:
            l1 = read(image, header.l1)
            check_ranges(qcow2.metadata_ranges(header), size)
            check_ranges(qcow2.l2_ranges(header, l1), size)


# ── what is no qcow2, or makes no sense ────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fields",
    [
        {"magic": b"QFI\xfa"},
        {"magic": b"\0\0\0\0"},
        {"version": 1},
        {"version": 4},
        {"version": 0xFFFFFFFF},
        {"cluster_bits": 8},
        {"cluster_bits": 22},
        {"cluster_bits": 0xFFFFFFFF},
        {"header_length": 103},
        {"header_length": 0},
        {"header_length": 65_537},
    ],
)
def test_what_qemu_would_not_open_is_not_looked_at(fields: dict[str, object]) -> None:
    assert parse_header(header_with(**fields), 10 * MIB) is None


def test_a_table_outside_of_the_image_or_off_its_clusters_is_left_out() -> None:
    header = parsed(10 * MIB, l1_offset=10 * MIB, refcount_offset=65_537)

    assert header.l1.size == header.refcounts.size == 0
    assert qcow2.metadata_ranges(header) == [Range(0, 65_536)]


def test_a_huge_table_is_cut_off() -> None:
    header = parsed(1 << 60, l1_entries=0xFFFFFFFF, refcount_clusters=0xFFFFFFFF)

    assert header.l1.size == qcow2.MOST_L1_BYTES
    assert header.refcounts.size == qcow2.MOST_REFCOUNT_BYTES


def test_near_tables_are_one_range_and_distant_ones_are_not() -> None:
    header = parsed(100 * MIB)
    offsets = [MIB, MIB + 65_536, MIB + 3 * 65_536, 50 * MIB, 0, 1 << 63, MIB]

    ranges = qcow2.l2_ranges(header, struct.pack(">7Q", *offsets))

    assert ranges == [Range(MIB, 4 * 65_536), Range(50 * MIB, 65_536)]


def test_flags_and_reserved_bits_of_an_entry_are_no_part_of_its_offset() -> None:
    header = parsed(100 * MIB)

    ranges = qcow2.l2_ranges(header, struct.pack(">Q", 0xFF00_0000_0000_01FF | MIB))

    assert ranges == [Range(MIB, 65_536)]


def test_of_too_many_tables_the_first_ones_of_the_disk_are_taken() -> None:
    header = parsed(1 << 40, l1_entries=4096)
    backwards = [(4096 - index) * MIB for index in range(4096)]

    ranges = qcow2.l2_ranges(header, struct.pack(">4096Q", *backwards))

    assert sum(item.size for item in ranges) == qcow2.MOST_L2_BYTES
    assert ranges[-1].offset == 4096 * MIB


@pytest.mark.parametrize("cluster_bits", [9, 16, 21])
@pytest.mark.parametrize("kind", ["zeros", "random", "distinct"])
def test_an_l1_table_of_millions_of_entries_takes_no_time(kind: str, cluster_bits: int) -> None:
    count = 4_000_000
    match kind:
        case "zeros":
            table = bytes(count * 8)
        case "random":
            table = os.urandom(count * 8)
        case _:
            table = b"".join(struct.pack(">Q", n << cluster_bits) for n in range(count, 0, -1))
    header = parsed(1 << 62, cluster_bits=cluster_bits, l1_entries=count)
    started = time.process_time()

    ranges = qcow2.l2_ranges(header, table)

    assert time.process_time() - started < 0.5
    check_ranges(ranges, 1 << 62)


# ── hostile ones ───────────────────────────────────────────────────────────────────────


def check_ranges(ranges: list[Range], image_size: int) -> None:
    assert all(0 <= item.offset < item.end <= image_size for item in ranges)
    assert all(first.end < second.offset for first, second in itertools.pairwise(ranges))
    assert len(ranges) <= qcow2.MOST_RANGES


u32 = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1))
u64 = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 200).map(lambda n: n << 16),
    st.integers(0, 2**40).map(lambda n: n << 9),
)
hostile_headers = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from([2, 3]),
        "backing_offset": u64,
        "backing_size": u32,
        "cluster_bits": st.integers(9, 21),
        "virtual_size": u64,
        "l1_entries": u32,
        "l1_offset": u64,
        "refcount_offset": u64,
        "refcount_clusters": u32,
        "snapshots": u32,
        "snapshot_offset": u64,
        "header_length": st.sampled_from([104, 112, 120]),
    },
)
image_sizes = st.one_of(st.integers(0, 10 * MIB), st.integers(0, 2**63 - 1), st.just(2**63 - 1))


@hypothesis.given(
    hostile_headers, st.binary(max_size=300), image_sizes, st.lists(u64, max_size=60)
)
def test_whatever_a_header_says_ranges_are_inside_and_bounded(
    fields: dict[str, object], tail: bytes, image_size: int, entries: list[int]
) -> None:
    header = parse_header(header_with(**fields) + tail, image_size)
    table = struct.pack(f">{len(entries)}Q", *entries) + b"odd"

    if header is not None:
        first = qcow2.metadata_ranges(header)
        l2 = qcow2.l2_ranges(header, table)
        blocks = qcow2.refcount_block_ranges(header, memoryview(table))
        for ranges in (first, l2, blocks):
            check_ranges(ranges, image_size)
        assert sum(item.size for item in first) <= 40 * MIB
        assert sum(item.size for item in l2) <= qcow2.MOST_L2_BYTES
        assert sum(item.size for item in blocks) <= qcow2.MOST_REFCOUNT_BYTES


@hypothesis.given(st.binary(max_size=5000), image_sizes)
def test_whatever_bytes_an_image_starts_with_nothing_is_raised(
    start: bytes, image_size: int
) -> None:
    for data in (start, b"QFI\xfb\0\0\0\3" + start, b"QFI\xfb\0\0\0\2" + start):
        header = parse_header(data, image_size)
        if header is not None:
            check_ranges(qcow2.metadata_ranges(header), image_size)
            check_ranges(qcow2.l2_ranges(header, start), image_size)
