"""The tables of a qcow2 image are fetched together, ahead of a guest's jumps."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from swiftimgfs.layout import Layout
from swiftimgfs.reading.block_cache import BLOCK_SIZE
from swiftimgfs.reading.prefetch import MIB
from swiftimgfs.reading.tables import CACHE_SHARE, FIRST_BATCH
from tests.support.qcow2_images import (
    BACKGROUND,
    CLUSTER,
    KIB,
    READ,
    Reads,
    Sparse,
    image_of,
    twice_fetched,
)
from tests.support.range_store import FakeRangeStore, reading_from

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
