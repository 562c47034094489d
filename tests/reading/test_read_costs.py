"""How much is fetched, in how many GETs, for reads in order and by chance."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from swiftimgfs.layout import Layout
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.prefetch import FIRST_WINDOW, LARGEST_WINDOW, MIB
from tests.support.range_store import FakeRangeStore, object_of, reading_from
from tests.support.reads import HUGE, KIB, MEDIUM, READ, Reads, layout_of

# ── what a reader in order costs ───────────────────────────────────────────────────────


@pytest.mark.parametrize("is_verifying", [False, True])
@pytest.mark.parametrize("step", [READ, MIB])
async def test_reading_in_order_fetches_each_byte_once_in_large_gets(
    autojump_clock, step, is_verifying
):
    store = FakeRangeStore(HUGE, latency=0.005, rate=100e6)
    async with reading_from(store, limit=256 * MIB, is_verifying=is_verifying) as reading:
        await Reads(reading, layout_of(HUGE)).read_in_order(0, 256 * MIB, step=step)
        ahead = store.fetched - 256 * MIB

    assert ahead <= LARGEST_WINDOW
    assert len(store.gets) <= 1.75 * (256 * MIB + ahead) / PART_SIZE + 10


async def test_a_whole_image_is_fetched_once(autojump_clock):
    store = FakeRangeStore(MEDIUM, latency=0.005, rate=100e6)
    async with reading_from(store, limit=256 * MIB) as reading:
        await Reads(reading, layout_of(MEDIUM)).read_in_order(0, MEDIUM.size)

    assert store.fetched == MEDIUM.size


async def test_an_image_in_segments_is_fetched_once_and_each_segment_by_few_gets(
    autojump_clock,
):
    segments = [object_of(f"s{number}", 4 * MIB + 17, etag="v1") for number in range(20)]
    layout = layout_of(*segments)
    store = FakeRangeStore(*segments, latency=0.005, rate=100e6)
    async with reading_from(store, limit=256 * MIB) as reading:
        await Reads(reading, layout).read_in_order(0, layout.size)

    assert store.fetched <= 1.02 * layout.size
    assert len(store.gets) <= 1.25 * len(segments) + 10


async def test_a_reader_in_order_has_many_gets_run_side_by_side(autojump_clock):
    store = FakeRangeStore(HUGE, latency=0.05, rate=20e6)
    async with reading_from(store, limit=256 * MIB) as reading:
        before = trio.current_time()
        await Reads(reading, layout_of(HUGE)).read_in_order(0, 256 * MIB)
        seconds = trio.current_time() - before

    assert seconds < 256 * MIB / 20e6 / 4


async def test_reading_in_order_with_reads_swapped_fetches_each_byte_once(autojump_clock):
    """The kernel's read-ahead comes out of order."""
    chance = random.Random(3)
    store = FakeRangeStore(MEDIUM, latency=0.005, rate=100e6)
    offsets = list(range(0, MEDIUM.size, READ))
    for start in range(0, len(offsets), 8):
        swapped = offsets[start : start + 8]
        chance.shuffle(swapped)
        offsets[start : start + 8] = swapped
    async with reading_from(store, limit=256 * MIB) as reading:
        reads = Reads(reading, layout_of(MEDIUM))
        for start in range(0, len(offsets), 8):
            async with trio.open_nursery() as nursery:
                for offset in offsets[start : start + 8]:
                    nursery.start_soon(reads.read, offset, READ)

    assert store.fetched == MEDIUM.size
    assert len(store.gets) <= 2 * MEDIUM.size / PART_SIZE + 20


@pytest.mark.parametrize(
    ("limit", "readers"), [(4, 1), (8, 1), (32, 1), (64, 2), (64, 4), (256, 8)]
)
async def test_what_is_fetched_ahead_stays_until_it_is_read(autojump_clock, limit, readers):
    store = FakeRangeStore(HUGE, latency=0.005, rate=100e6)
    size = 256 * MIB // readers
    async with (
        reading_from(store, limit=limit * MIB) as reading,
        trio.open_nursery() as nursery,
    ):
        for number in range(readers):
            layout = Layout([(size, HUGE.source(number * size))])
            nursery.start_soon(Reads(reading, layout).read_in_order, 0, size)

    assert store.fetched <= 1.01 * readers * size


# ── what a first read, and one by chance, costs ────────────────────────────────────────


async def test_a_first_read_of_an_image_costs_little(autojump_clock):
    store = FakeRangeStore(HUGE, latency=0.005)
    async with reading_from(store) as reading:
        await Reads(reading, layout_of(HUGE)).read(0, 4096)
        await trio.sleep(1)

    assert store.fetched <= BLOCK_SIZE + FIRST_WINDOW
    assert len(store.gets) <= 2


async def test_a_single_read_in_the_middle_costs_a_block(autojump_clock):
    store = FakeRangeStore(HUGE, latency=0.005)
    async with reading_from(store) as reading:
        await Reads(reading, layout_of(HUGE)).read(500 * MIB + 5000, 4096)
        await trio.sleep(1)

    assert store.fetched == BLOCK_SIZE


@pytest.mark.parametrize("size", [1024 * MIB, 128 * MIB])
@pytest.mark.parametrize("at_once", [1, 16])
@pytest.mark.parametrize("is_split", [False, True], ids=["whole", "split by the kernel"])
async def test_reads_by_chance_cost_at_most_a_fifth_more(
    autojump_clock, size, at_once, is_split
):
    chance = random.Random(5)
    store = FakeRangeStore(HUGE, latency=0.005, rate=100e6)
    layout = Layout([(size, HUGE.source())])
    offsets = chance.sample(range(0, size, 256 * KIB), 160)
    async with reading_from(store, limit=256 * MIB) as reading:
        reads = Reads(reading, layout)

        async def read_some(offsets):
            for offset in offsets:
                if is_split:
                    await reads.read(offset, READ)
                    await reads.read(offset + READ, READ)
                else:
                    await reads.read(offset, 256 * KIB)

        async with trio.open_nursery() as nursery:
            for first in range(at_once):
                nursery.start_soon(read_some, offsets[first::at_once])
        await trio.sleep(1)

    assert reads.count == 160 * 256 * KIB
    # Twice by chance somebody is taken for a reader in order.
    assert store.fetched <= 1.2 * reads.count + 2 * FIRST_WINDOW


async def test_skipping_through_an_image_costs_what_is_read(autojump_clock):
    store = FakeRangeStore(HUGE, latency=0.005, rate=100e6)
    async with reading_from(store, limit=256 * MIB) as reading:
        reads = Reads(reading, layout_of(HUGE))
        for offset in range(0, HUGE.size, 17 * MIB):
            await reads.read(offset, READ)
            await reads.read(offset + READ, READ)
        await trio.sleep(1)

    assert store.fetched <= 1.2 * reads.count + 2 * FIRST_WINDOW


async def test_concurrent_readers_of_one_block_cause_one_get(autojump_clock):
    store = FakeRangeStore(HUGE, latency=1)
    async with reading_from(store) as reading, trio.open_nursery() as nursery:
        for number in range(16):
            reads = Reads(reading, layout_of(HUGE))
            nursery.start_soon(reads.read, 500 * MIB + 4096 * number, 4096)
            await trio.sleep(0.2)

    assert [(get.start, get.size) for get in store.gets] == [(500 * MIB, BLOCK_SIZE)]
