"""How far ahead is read: windows, and the memory that they share."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from swiftimgfs.layout import Layout
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.prefetch import FIRST_WINDOW, LARGEST_WINDOW, MIB
from tests.support.range_store import FakeRangeStore, object_of, reading_from
from tests.support.reads import HUGE, KIB, READ, Reads, layout_of, on_a_mock_clock

# ── windows ────────────────────────────────────────────────────────────────────────────


def furthest(store, *, since=0) -> int:
    return max((get.end for get in store.gets[since:]), default=0)


async def test_the_window_of_a_slow_reader_stays_small(autojump_clock):
    store = FakeRangeStore(HUGE, latency=0.005)
    ahead = []
    async with reading_from(store, limit=256 * MIB) as reading:
        reads = Reads(reading, layout_of(HUGE))
        for offset in range(0, 64 * MIB, READ):
            await reads.read(offset, READ)
            await trio.sleep(1)
            ahead.append(furthest(store) - offset)

    assert max(ahead) <= 2 * FIRST_WINDOW + READ
    assert reads.waited == 1


async def test_the_window_of_a_reader_that_waits_grows_to_its_limit(autojump_clock):
    store = FakeRangeStore(HUGE, latency=0.05, rate=20e6)
    async with reading_from(store, limit=256 * MIB) as reading:
        await Reads(reading, layout_of(HUGE)).read_in_order(0, 256 * MIB)
        ahead = furthest(store) - 256 * MIB

    assert LARGEST_WINDOW // 2 <= ahead <= LARGEST_WINDOW


@pytest.mark.parametrize("count", [1, 2, 4, 8])
async def test_readers_share_a_third_of_the_cache_between_their_windows(autojump_clock, count):
    limit = 64 * MIB
    store = FakeRangeStore(HUGE, latency=0.05, rate=20e6)
    largest = []
    async with reading_from(store, limit=limit) as reading:
        images = [Layout([(512 * MIB, HUGE.source(n * 64 * MIB))]) for n in range(count)]
        store.on_get = lambda: largest.append(reading.cache.held)

        async def read(layout):
            reads = Reads(reading, layout)
            await reads.read_in_order(0, 32 * MIB)
            shared = reading.fetcher.share()
            assert shared == limit // 3 // count
            windows = [cursor.window for cursor in reads.reader._prefetcher._cursors]
            assert max(windows) <= max(shared, 2 * FIRST_WINDOW)
            reading_on.append(reads)

        reading_on: list[Reads] = []
        async with trio.open_nursery() as nursery:
            for layout in images:
                nursery.start_soon(read, layout)
        for reads in reading_on:
            reads.reader.close()

        assert reading.fetcher.share() == limit // 3
    assert max(largest) <= limit


async def test_a_reader_that_turns_sequential_after_reads_by_chance_is_found(autojump_clock):
    chance = random.Random(7)
    store = FakeRangeStore(HUGE, latency=0.005, rate=100e6)
    async with reading_from(store, limit=256 * MIB) as reading:
        reads = Reads(reading, layout_of(HUGE))
        for _ in range(100):
            await reads.read(chance.randrange(0, HUGE.size, 256 * KIB), 256 * KIB)
        await trio.sleep(1)
        before, asked = store.fetched, len(store.gets)

        await reads.read_in_order(300 * MIB, 428 * MIB)
        await trio.sleep(1)

    assert store.fetched - before <= 128 * MIB + LARGEST_WINDOW
    assert len(store.gets) - asked <= 2 * (128 * MIB + LARGEST_WINDOW) / PART_SIZE


async def test_two_readers_of_one_image_are_told_apart(autojump_clock):
    store = FakeRangeStore(HUGE, latency=0.005, rate=100e6)
    async with reading_from(store, limit=256 * MIB) as reading:
        reads = Reads(reading, layout_of(HUGE))
        for offset in range(0, 64 * MIB, READ):
            await reads.read(offset, READ)
            await reads.read(512 * MIB + offset, READ)
        await trio.sleep(1)

    assert store.fetched <= 128 * MIB + 2 * LARGEST_WINDOW
    assert len(store.gets) <= 2 * store.fetched / PART_SIZE + 40


# ── memory ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [BLOCK_SIZE, 8 * MIB, 64 * MIB])
@pytest.mark.parametrize("readers", [1, 8])
async def test_memory_is_within_the_limit_and_what_is_asked_for(autojump_clock, limit, readers):
    chance = random.Random(limit + readers)
    store = FakeRangeStore(HUGE, latency=0.005, rate=50e6)
    held = []

    async with reading_from(store, limit=limit, is_verifying=True) as reading:
        store.on_get = lambda: held.append(reading.cache.held)

        async def read(number):
            reads = Reads(reading, Layout([(512 * MIB, HUGE.source(number * 10 * MIB))]))
            for _ in range(3):
                start = chance.randrange(0, 400 * MIB)
                await reads.read_in_order(start, start + 6 * MIB)
                for _ in range(10):
                    await reads.read(chance.randrange(0, 400 * MIB), READ)

        async with trio.open_nursery() as nursery:
            for number in range(readers):
                nursery.start_soon(read, number)

    assert max(held) <= limit + readers * (READ + BLOCK_SIZE)


async def test_nothing_is_fetched_ahead_when_memory_is_short(autojump_clock):
    store = FakeRangeStore(HUGE, latency=1)
    async with (
        reading_from(store, limit=4 * BLOCK_SIZE) as reading,
        trio.open_nursery() as nursery,
    ):
        for number in range(4):
            reads = Reads(reading, layout_of(HUGE))
            nursery.start_soon(reads.read, (4 - number) * 100 * MIB, BLOCK_SIZE)
        await trio.sleep(0.5)
        reads = Reads(reading, layout_of(HUGE))
        nursery.start_soon(reads.read, 0, BLOCK_SIZE)

    assert len(store.gets) == 5
    assert store.fetched == 5 * BLOCK_SIZE


def test_who_waits_for_a_byte_does_not_stand_behind_what_is_read_ahead():
    """Also when that byte is of what is to be read ahead: as the first of each image is."""
    many = [object_of(f"small{number}", 10, etag=f"v{number}") for number in range(8)]
    store = FakeRangeStore(*many, latency=5)

    async def main():
        async with reading_from(store) as reading, trio.open_nursery() as nursery:
            begin = trio.current_time()
            for item in many:
                reads = Reads(reading, layout_of(item))
                nursery.start_soon(reads.read, 0, 10)
        assert trio.current_time() - begin == 5

    on_a_mock_clock(main)
