"""Nobody else pays for tables: other images, copies, what is written, and hostile images."""

from __future__ import annotations

import random
import struct

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.reading.block_cache import BLOCK_SIZE
from swiftimgfs.reading.prefetch import MIB
from swiftimgfs.reading.tables import ImageTables
from tests.support.qcow2_images import (
    CLUSTER,
    L1,
    READ,
    Reads,
    Sparse,
    header_of,
    image_of,
    twice_fetched,
    without_tables,
)
from tests.support.range_store import FakeRangeStore, Fault, Object, reading_from

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
