"""Reads of qcow2 images: whose tables are fetched together, and never at anybody's expense."""

from __future__ import annotations

import itertools
import random
import struct
from dataclasses import dataclass, field

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.reading.block_cache import BLOCK_SIZE
from swiftimgfs.reading.fetcher import BACKGROUND_SHARE
from swiftimgfs.reading.prefetch import MIB
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.reading.tables import CACHE_SHARE, FIRST_BATCH, ImageTables
from tests.support.range_store import FakeRangeStore, Fault, Object, reading_from

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


# ── real images: round trips ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [2, 3])
async def test_what_the_header_names_is_fetched_together(autojump_clock, version):
    image, _, _ = image_of(40, version=version)
    store = FakeRangeStore(image, latency=1)
    async with reading_from(store) as reading:
        await Reads(reading, image).open()

        assert trio.current_time() == pytest.approx(2, abs=0.1)


async def test_opening_an_image_fetches_no_l2_table_and_no_refcount_block(autojump_clock):
    image, _, _ = image_of(40)
    store = FakeRangeStore(image, latency=0.005)
    async with reading_from(store) as reading:
        await Reads(reading, image).open()
        await trio.sleep(10)

    assert max(get.end for get in store.gets) < 100 * MIB
    assert len(store.gets) == 3  # the header and what comes behind it, and two tables


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["L2 tables", "refcount blocks"])
async def test_a_jump_to_a_table_has_the_others_fetched(autojump_clock, version, kind):
    image, l2, blocks = image_of(20, blocks=20, version=version)
    wanted, others = (l2, blocks) if kind == "L2 tables" else (blocks, l2)
    store = FakeRangeStore(image, latency=1)
    async with reading_from(store, limit=512 * MIB) as reading:
        reads = Reads(reading, image)
        await reads.open()
        begin = trio.current_time()

        for place in wanted:
            await reads.read(place)

        assert trio.current_time() - begin <= 1 + 20 / BACKGROUND + 1
    assert not twice_fetched(store)
    fetched = {get.start for get in store.gets}
    assert set(wanted) <= fetched
    assert not set(others) & fetched


async def test_many_tables_are_fetched_in_few_batches(autojump_clock):
    image, l2, _ = image_of(400)
    store = FakeRangeStore(image, latency=1)
    async with reading_from(store, limit=512 * MIB) as reading:
        reads = Reads(reading, image)
        await reads.open()
        begin = trio.current_time()

        for place in l2:
            await reads.read(place, CLUSTER)

        assert trio.current_time() - begin <= 400 / BACKGROUND + 10
    assert not twice_fetched(store)


async def test_a_guest_that_reads_one_table_costs_one_batch(autojump_clock):
    image, l2, _ = image_of(400)
    store = FakeRangeStore(image, latency=0.005)
    async with reading_from(store, limit=512 * MIB) as reading:
        reads = Reads(reading, image)
        await reads.open()
        before = store.fetched

        await reads.read(l2[7])
        await trio.sleep(100)

    assert store.fetched - before <= FIRST_BATCH + BLOCK_SIZE


async def test_tables_side_by_side_are_fetched_in_large_pieces(autojump_clock):
    image, l2, _ = image_of(128, apart=CLUSTER)
    store = FakeRangeStore(image, latency=1)
    async with reading_from(store, limit=512 * MIB) as reading:
        reads = Reads(reading, image)
        await reads.open()
        before = len(store.gets)

        for place in l2:
            await reads.read(place)

    assert len(store.gets) - before <= 1 + 128 * CLUSTER / MIB + 5
    assert not twice_fetched(store)


async def test_tables_are_found_across_segments(autojump_clock):
    image, l2, _ = image_of(20, apart=512 * KIB, l1=99 * MIB)
    size = 300 * KIB + 13  # so that the L1 table and some of the others cross them
    cuts = [*range(0, 99 * MIB, 9 * MIB), *range(99 * MIB + 24, image.size, size), image.size]
    segments = [
        Sparse(f"s{start}", end - start, "v1", b"", {0: image.part(start, end - start)})
        for start, end in itertools.pairwise(cuts)
    ]
    layout = Layout([(segment.size, segment.source()) for segment in segments])
    store = FakeRangeStore(*segments, latency=1)
    async with reading_from(store) as reading:
        reads = Reads(reading, image, layout)
        await reads.open(99 * MIB)
        begin = trio.current_time()

        for place in l2:
            await reads.read(place, CLUSTER)

        assert trio.current_time() - begin <= 1 + 2 * 20 / BACKGROUND + 2
    assert not twice_fetched(store)


async def test_a_header_that_is_in_memory_already_is_enough(autojump_clock):
    """The kernel has kept the pages of header and L1 table, and does not ask for them."""
    image, l2, _ = image_of(20)
    store = FakeRangeStore(image, latency=1)
    async with reading_from(store) as reading:
        before = Reads(reading, image)
        await before.open()
        before.reader.close()
        reads, begin = Reads(reading, image), trio.current_time()

        for place in l2:
            await reads.read(place)

        assert trio.current_time() - begin <= 1 + 20 / BACKGROUND + 1


# ── nobody else pays ───────────────────────────────────────────────────────────────────


async def test_another_image_is_read_as_if_there_were_no_tables(autojump_clock, monkeypatch):
    image, l2, blocks = image_of(20, magic=b"QFI\xfc")

    async def gets():
        store = FakeRangeStore(image, latency=0.005)
        async with reading_from(store) as reading:
            reads = Reads(reading, image)
            await reads.open()
            for place in l2 + blocks:
                await reads.read(place)
            await trio.sleep(10)
        return [(get.start, get.size) for get in store.gets]

    asked = await gets()
    without_tables(monkeypatch)

    assert asked == await gets()


@pytest.mark.parametrize("size", [1, 71, 72, 103, 104, 4096])
async def test_an_image_smaller_than_its_header_or_tables_is_read(autojump_clock, size):
    header = header_of(l1=(CLUSTER, 9), refcounts=(2 * CLUSTER, 1))
    image = Sparse("small", size, "v1", b"", {0: (header + bytes(4096))[:size]})
    store = FakeRangeStore(image, latency=0.005)
    async with reading_from(store) as reading:
        reads = Reads(reading, image)
        for offset in (size // 2, 0, size - 1, size + 1):
            if offset < size:
                await reads.read(offset)

    assert store.fetched == size


@pytest.mark.parametrize("limit", [8, 24, 256])
async def test_copying_a_qcow2_costs_no_more_than_copying_anything(
    autojump_clock, monkeypatch, limit
):
    image, _, _ = image_of(20, apart=MIB)
    store = FakeRangeStore(image, latency=0.005, rate=100e6)
    monkeypatch.setattr(ImageTables, "jumped", lambda *_: pytest.fail("asked"))
    async with reading_from(store, limit=limit * MIB) as reading:
        reads = Reads(reading, image)
        for offset in range(0, image.size, READ):
            await reads.read(offset, READ)

    assert store.fetched <= 1.02 * image.size


@pytest.mark.parametrize("limit", [8, 24, 256])
async def test_copying_with_the_kernels_swapped_reads_fetches_little_twice(
    autojump_clock, limit
):
    image, _, _ = image_of(60, apart=MIB, l1=READ)
    chance = random.Random(limit)
    store = FakeRangeStore(image, latency=0.005, rate=100e6)
    offsets = list(range(0, image.size, READ))
    for start in range(0, len(offsets), 4):
        swapped = offsets[start : start + 4]
        chance.shuffle(swapped)
        offsets[start : start + 4] = swapped
    async with reading_from(store, limit=limit * MIB) as reading:
        reads = Reads(reading, image)
        for start in range(0, len(offsets), 4):
            async with trio.open_nursery() as nursery:
                for offset in offsets[start : start + 4]:
                    nursery.start_soon(reads.read, offset, READ)

    assert store.fetched <= 1.02 * image.size


async def test_a_hit_asks_nobody_for_tables(autojump_clock, monkeypatch):
    image, l2, _ = image_of(20)
    store = FakeRangeStore(image, latency=0.005)
    async with reading_from(store) as reading:
        reads = Reads(reading, image)
        await reads.open()
        await reads.read(l2[0])
        await trio.sleep(10)

        with (
            monkeypatch.context() as patch,
            trio.testing.assert_no_checkpoints(),
        ):
            patch.setattr(ImageTables, "jumped", lambda *_: pytest.fail("asked"))
            for place in [*l2[:5], L1, 0]:
                await reads.read(place)


async def test_once_all_is_asked_for_nobody_looks_at_tables(autojump_clock):
    image, l2, blocks = image_of(9)
    async with reading_from(FakeRangeStore(image)) as reading:
        reads = Reads(reading, image)
        await reads.open()
        for place in (l2[0], blocks[0]):
            await reads.read(place)

        assert reads.reader._tables is None


async def test_an_image_that_is_being_written_is_not_looked_at(autojump_clock):
    image, l2, _ = image_of(20)
    store = FakeRangeStore(image, latency=0.005)
    async with reading_from(store) as reading:
        reads = Reads(reading, image)
        reads.reader.expect_changes()
        await reads.open()
        await reads.read(l2[0])
        await trio.sleep(10)

    assert len(store.gets) == 4


async def test_an_image_that_grew_is_not_looked_at(autojump_clock):
    image, l2, _ = image_of(20)
    store = FakeRangeStore(image, latency=0.005)
    async with reading_from(store) as reading:
        reads = Reads(reading, image)
        await reads.open()
        reads.layout = Layout([(image.size - 1, image.source())])
        await reads.read(l2[0])
        await trio.sleep(10)

    assert len(store.gets) == 4


async def test_tables_that_could_not_be_fetched_are_nobodys_error(autojump_clock):
    image, l2, _ = image_of(20)
    gone = errors.ImageChangedError("gone")
    store = FakeRangeStore(image, latency=0.005)
    async with reading_from(store) as reading:
        reads = Reads(reading, image)
        await reads.open()
        store.faults = lambda get: Fault(0, gone) if get.start != l2[0] else None
        await reads.read(l2[0])
        await trio.sleep(10)
        failed = len(store.gets)
        store.faults = lambda _: None

        for place in l2:
            await reads.read(place)

    assert failed >= len(l2)


# ── memory ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("limit", [8 * MIB, 64 * MIB])
async def test_tables_on_their_way_are_a_share_of_the_cache(autojump_clock, limit, images):
    made = [image_of(200 + number) for number in range(images)]
    objects = [
        Sparse(f"d{n}", i.size, "v1", b"", i.written) for n, (i, _, _) in enumerate(made)
    ]
    store = FakeRangeStore(*objects, latency=1)
    most = 0
    async with reading_from(store, limit=limit) as reading:

        def look():
            nonlocal most
            parts = [part for part in reading.cache._parts if not part.is_settled]
            most = max(most, sum(part.size for part in parts))
            assert reading.cache.held <= limit

        all_reads = [Reads(reading, item) for item in objects]
        for reads in all_reads:
            await reads.open()
        await trio.sleep(10)
        store.on_get = look

        async def jump(reads, l2):
            for place in l2[::7]:  # one after the other, without waiting for what was asked
                await reads.read(place)

        async with trio.open_nursery() as nursery:
            for reads, (_, l2, _) in zip(all_reads, made, strict=True):
                nursery.start_soon(jump, reads, l2)

    assert most <= limit // CACHE_SHARE + images * BLOCK_SIZE
    assert most > images * BLOCK_SIZE  # or there is nothing that this could be wrong about


async def test_what_is_read_ahead_is_not_evicted_for_tables(autojump_clock):
    image, l2, _ = image_of(300)
    other = Sparse("other", 64 * MIB, "v1", b"")
    store = FakeRangeStore(image, other, latency=0.005, rate=100e6)
    async with reading_from(store, limit=24 * MIB) as reading:
        reads, copy = Reads(reading, image), Reads(reading, other)
        await reads.open()

        async def jump():
            for place in l2:
                await reads.read(place)
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(jump)
            for offset in range(0, other.size, READ):
                await copy.read(offset, READ)

    assert sum(get.size for get in store.gets if get.object == "other") == other.size


# ── hostile images ─────────────────────────────────────────────────────────────────────

SMALL = 4 * MIB
OFFSETS = st.one_of(
    st.integers(0, SMALL // 512).map(lambda n: n * 512),
    st.integers(0, 64).map(lambda n: n * CLUSTER),
    st.integers(0, 2**64 - 1),
    st.sampled_from([2**63, 2**64 - 512, 2**32]),
)
COUNTS = st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1), st.just(2**32 - 1))
TABLES = st.tuples(OFFSETS, COUNTS)


@st.composite
def hostile_images(draw):
    header = header_of(
        version=draw(st.sampled_from([2, 3])),
        cluster_bits=draw(st.integers(8, 22)),
        l1=draw(TABLES | st.just((CLUSTER, 600))),
        refcounts=draw(TABLES | st.just((2 * CLUSTER, 1))),
        snapshots=draw(TABLES),
        backing=draw(TABLES),
    )
    written = {0: header}
    places = st.integers(1, SMALL // 512 - 16) | st.sampled_from([128, 256])
    for offset in draw(st.lists(places, max_size=4)):
        entries = draw(st.lists(OFFSETS, min_size=1, max_size=600))
        written[offset * 512] = struct.pack(f">{len(entries)}Q", *entries)
    size = draw(st.integers(1, SMALL) | st.just(SMALL))
    content = Sparse("", SMALL + MIB, "", b"", written).part(0, size)
    return Object("hostile", size, "v1", content)


@hypothesis.settings(deadline=None)
@hypothesis.given(
    image=hostile_images(),
    limit=st.sampled_from([BLOCK_SIZE, MIB, 8 * MIB]),
    reads=st.lists(st.tuples(OFFSETS, st.integers(1, 200_000)), max_size=12),
)
def test_a_hostile_image_is_read_like_any_other(image, limit, reads):
    store = FakeRangeStore(image, latency=0.01)

    async def main():
        async with reading_from(store, limit=limit) as reading:
            one = Reads(reading, image)
            await one.read(0)
            for offset, size in reads:
                if offset < image.size:
                    await one.read(offset, size)
            await trio.sleep(100)
            assert store.running == 0
            assert reading.cache.held <= max(limit, 400_000)
            if limit == 8 * MIB:  # nothing is evicted
                assert not twice_fetched(store)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
