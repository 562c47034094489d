"""What was here before an object is verified, or comes late."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.reading import verifier
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, key_of
from swiftimgfs.reading.reader import ImageReader
from tests.support.range_store import FakeRangeStore, FakeRetry, Fault, object_of, reading_from
from tests.support.verified import (
    BLOCKS,
    LARGE,
    SMALL,
    Passing,
    assert_nothing_is_held,
    layout_of,
    read_all,
    read_part,
)


@pytest.mark.parametrize("blocks", [[0], [1, 0], [0, 3], [3, 1, 0], [5, 0], [2], [5, 3]])
async def test_an_object_read_here_and_there_and_then_in_order_is_verified_and_fetched_once(
    blocks, autojump_clock
):
    store = FakeRangeStore(SMALL, latency=0.01)
    async with reading_from(store, is_verifying=True) as reading:
        for block in blocks:
            start = block * BLOCK_SIZE
            await read_part(reading, SMALL, start, min(BLOCK_SIZE, SMALL.size - start))
            await trio.sleep(1)

        data = await read_all(reading, SMALL)
        await trio.sleep(1)  # an end that was here already is not held back

        assert data == SMALL.part(0, SMALL.size)
        assert list(reading.verifier.verified) == [key_of(SMALL.source())]
        assert store.fetched == SMALL.size
        assert_nothing_is_held(reading)


async def test_a_check_that_was_forgotten_begins_again_with_what_is_here(
    autojump_clock, monkeypatch
):
    monkeypatch.setattr(verifier, "MOST_CHECKS", 1)
    store = FakeRangeStore(SMALL, LARGE, latency=0.01)
    async with reading_from(store, is_verifying=True) as reading:
        for item in (SMALL, LARGE):
            await read_part(reading, item, 0, BLOCK_SIZE)
            await trio.sleep(1)  # it is hashed: only who is idle is forgotten
        assert list(reading.verifier._checks) == [key_of(LARGE.source())]

        await read_all(reading, SMALL)

        assert list(reading.verifier.verified) == [key_of(SMALL.source())]
        assert store.fetched == SMALL.size + BLOCK_SIZE
        assert_nothing_is_held(reading)


async def test_what_is_read_again_during_the_second_look_is_not_owed_for_ever(autojump_clock):
    """The second look takes long, and drops what was fetched again meanwhile."""
    bad, good = object_of("bad", 2 * PART_SIZE), object_of("good", 4 * PART_SIZE)
    store = FakeRangeStore(
        bad,
        good,
        faults=lambda get: Fault(damages=5) if get.object == "bad" else None,
        rate=PART_SIZE / 10,
    )
    async with reading_from(
        store, limit=2 * PART_SIZE, is_verifying=True, retry=FakeRetry(patience=1000)
    ) as reading:
        reading.fetcher.demand(bad.source(), bad.size)
        await trio.sleep(12)
        beginning = reading.cache.get(key_of(bad.source()), 0)
        assert beginning is not None
        reading.cache.drop(beginning)
        await trio.sleep(13)
        reading.fetcher.demand(bad.source(), PART_SIZE)
        await trio.sleep(60)

        assert reading.verifier._owed == 0
        with trio.fail_after(1000):
            assert await read_all(reading, good) == good.part(0, good.size)


@pytest.mark.parametrize("late", [[1], [4], [2, 3], [3, 2], [4, 1], [1, 2, 3, 4], [0], [5]])
async def test_a_gap_that_is_filled_later_goes_on_being_hashed(late, autojump_clock):
    async with reading_from(FakeRangeStore(SMALL), is_verifying=True) as reading:
        passing = Passing(reading, SMALL)
        soon = [number for number in range(BLOCKS + 1) if number not in late]
        for numbers in (soon, late):
            assert reading.verifier.verified == {}
            for number in numbers:
                passing.expect(number)
            for number in numbers:
                await passing.come(number)
            assert_nothing_is_held(reading)

        assert list(reading.verifier.verified) == [key_of(SMALL.source())]


@pytest.mark.parametrize("missing", range(BLOCKS + 1))
async def test_what_waited_behind_a_part_that_failed_is_hashed_once_that_comes(
    missing, autojump_clock
):
    async with reading_from(FakeRangeStore(SMALL), is_verifying=True) as reading:
        passing = Passing(reading, SMALL)
        for number in range(BLOCKS + 1):
            passing.expect(number)
        for number in range(BLOCKS, -1, -1):
            if number != missing:
                await passing.come(number)
        passing.fail(missing)
        assert_nothing_is_held(reading)

        passing.expect(missing)
        await passing.come(missing)

        assert list(reading.verifier.verified) == [key_of(SMALL.source())]
        assert_nothing_is_held(reading)


async def read_by_chance_or_all(reading, block) -> None:
    """Read some of a block of `SMALL`, or all in order, so many blocks a read."""
    if block < 0:
        whole = await read_all(reading, SMALL, step=-block * BLOCK_SIZE)
        assert whole == SMALL.part(0, SMALL.size)
        return
    start = block * BLOCK_SIZE
    size = min(100, SMALL.size - start)
    found = await ImageReader(reading.fetcher).read(layout_of(SMALL), start, size)
    assert found == SMALL.part(start, size)


@hypothesis.settings(deadline=None)
@hypothesis.given(st.data())
def test_readers_in_order_get_on_whatever_memory_is_lent(data):
    """Readers in order and at random, GETs that fail, and memory that goes and comes."""
    steps = data.draw(st.lists(st.integers(-2, BLOCKS), min_size=1, max_size=12))
    lent = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=6))
    latencies = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=7))
    failing = data.draw(st.sets(st.integers(0, 12), max_size=3))
    limit = data.draw(st.integers(0, 12)) * BLOCK_SIZE
    hashing_seconds = data.draw(st.sampled_from([0, 1, 3]))
    pauses = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))

    def fault(get):
        return Fault(9, errors.AccessDeniedError("no")) if get.number in failing else None

    store = FakeRangeStore(
        SMALL, latency=lambda get: latencies[get.number % len(latencies)], faults=fault
    )

    async def read(reading, block):
        with contextlib.suppress(errors.AccessDeniedError):
            await read_by_chance_or_all(reading, block)

    async def lend(reading):
        for blocks in lent:
            reading.cache.lend(blocks * BLOCK_SIZE)
            await trio.sleep(2)
            reading.cache.give_back(blocks * BLOCK_SIZE)

    async def main():
        async with reading_from(
            store, limit=limit, is_verifying=True, hashing_seconds=hashing_seconds
        ) as reading:
            with trio.fail_after(1000):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lend, reading)
                    for number, block in enumerate(steps):
                        nursery.start_soon(read, reading, block)
                        await trio.sleep(pauses[number % len(pauses)])
            await trio.sleep(1000)
            assert store.running == 0
            assert_nothing_is_held(reading)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
