"""Whole objects are compared with their MD5 on the way; what cannot be is not held up."""

from __future__ import annotations

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.reading.block_cache import BLOCK_SIZE, key_of
from tests.support.range_store import FakeRangeStore, Fault, object_of, reading_from
from tests.support.verified import (
    BLOCKS,
    LARGE,
    SMALL,
    Passing,
    assert_nothing_is_held,
    read_all,
    read_part,
)

# ── what is verified ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("item", [SMALL, LARGE, object_of("byte", 1)], ids=lambda o: o.name)
async def test_an_object_that_is_read_in_order_is_verified(item, autojump_clock):
    store = FakeRangeStore(item, latency=0.01)
    async with reading_from(store, is_verifying=True) as reading:
        data = await read_all(reading, item)

        assert data == item.part(0, item.size)
        assert list(reading.verifier.verified) == [key_of(item.source())]
        assert store.fetched == item.size
        assert_nothing_is_held(reading)


async def test_an_object_whose_parts_come_in_any_order_is_verified(autojump_clock):
    store = FakeRangeStore(LARGE, latency=lambda get: 10 - get.number % 5)
    async with reading_from(store, is_verifying=True, hashing_seconds=0.5) as reading:
        await read_all(reading, LARGE)

        assert key_of(LARGE.source()) in reading.verifier.verified
        assert_nothing_is_held(reading)


async def test_parts_that_come_while_another_is_hashed_are_hashed_after_it(autojump_clock):
    async with reading_from(
        FakeRangeStore(SMALL), is_verifying=True, hashing_seconds=1
    ) as reading:
        passing = Passing(reading, SMALL)
        for number in range(BLOCKS + 1):
            passing.expect(number)

        async with trio.open_nursery() as nursery:
            for number in (0, 3, 5, 1, 2, 4):
                nursery.start_soon(passing.come, number)

        assert key_of(SMALL.source()) in reading.verifier.verified
        assert_nothing_is_held(reading)


async def test_the_end_is_held_back_until_the_md5_is_known(autojump_clock):
    async with reading_from(
        FakeRangeStore(SMALL), is_verifying=True, hashing_seconds=1
    ) as reading:
        passing = Passing(reading, SMALL)
        for number in range(BLOCKS + 1):
            passing.expect(number)
        last = passing.parts[BLOCKS]
        was_readable = {}
        for number in (5, 0, 1, 2, 3):
            await passing.come(number)
            was_readable[number] = last.has(last.end)

        await passing.come(4)

        assert set(was_readable.values()) == {False}
        assert last.has(last.end)
        assert all(passing.parts[number].has(BLOCK_SIZE) for number in range(BLOCKS))


async def test_what_comes_before_the_end_is_not_held_back(autojump_clock):
    async with reading_from(
        FakeRangeStore(SMALL), is_verifying=True, hashing_seconds=1000
    ) as reading:
        data = await read_part(reading, SMALL, 0, BLOCK_SIZE)

        assert data == SMALL.part(0, BLOCK_SIZE)
        assert trio.current_time() < 10


async def test_a_second_reading_after_eviction_verifies_again(autojump_clock):
    store = FakeRangeStore(SMALL)
    async with reading_from(store, limit=0, is_verifying=True) as reading:
        await read_all(reading, SMALL, step=BLOCK_SIZE)
        verified = reading.verifier.verified.pop(key_of(SMALL.source()))

        await read_all(reading, SMALL, step=BLOCK_SIZE)

        assert verified
        assert key_of(SMALL.source()) in reading.verifier.verified
        assert store.fetched == 2 * SMALL.size
        assert_nothing_is_held(reading)


async def test_an_object_begun_again_while_it_is_still_being_hashed_is_not_held(autojump_clock):
    """A second reader has the beginning fetched again, after its eviction, mid-way."""
    async with reading_from(FakeRangeStore(SMALL), is_verifying=True) as reading:
        passing = Passing(reading, SMALL)
        for number in range(BLOCKS + 1):
            passing.expect(number)
        for number in (0, 1):
            await passing.come(number)
        for number in (0, 1):
            reading.cache.drop(passing.parts[number])
            passing.expect(number)

        for number in (0, 1, 2, 3, 4, 5):
            await passing.come(number)

        assert key_of(SMALL.source()) in reading.verifier.verified
        assert_nothing_is_held(reading)


# ── what is not ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("etag", ["", "v2", "0" * 31, "A" * 32, "0" * 32 + "-3"])
async def test_an_etag_that_is_no_md5_is_not_checked(etag, autojump_clock):
    item = object_of("other", SMALL.size, etag=etag)
    async with reading_from(FakeRangeStore(item), is_verifying=True) as reading:
        data = await read_all(reading, item)

        assert data == item.part(0, item.size)
        assert reading.verifier.verified == {}
        assert_nothing_is_held(reading)


async def test_nothing_is_checked_when_it_is_switched_off(autojump_clock):
    store = FakeRangeStore(SMALL, faults=lambda _: Fault(damages=0))
    async with reading_from(store, is_verifying=False) as reading:
        data = await read_all(reading, SMALL)

        assert data[1:] == SMALL.part(1, SMALL.size - 1)
        assert reading.verifier.verified == {}
        assert_nothing_is_held(reading)


@pytest.mark.parametrize(
    "blocks",
    [[1, 2, 3, 4, 5], [0, 2, 3, 4, 5], [0, 1, 2, 3, 5], [5, 0], [5, 4, 3, 2, 1, 0], [0, 5, 2]],
)
async def test_reads_here_and_there_hold_nothing(blocks, autojump_clock):
    store = FakeRangeStore(SMALL, latency=1)
    async with reading_from(store, is_verifying=True) as reading:
        with trio.fail_after(100):
            for block in blocks:
                start = block * BLOCK_SIZE
                size = min(BLOCK_SIZE, SMALL.size - start)
                data = await read_part(reading, SMALL, start, size)
                assert data == SMALL.part(start, size)
        await trio.sleep(100)

        assert_nothing_is_held(reading)


@pytest.mark.parametrize("order", [(5, 1, 0), (1, 5, 0), (0, 5, 1), (5, 0, 1)])
async def test_a_gap_that_nobody_fills_holds_nothing(order, autojump_clock):
    async with reading_from(FakeRangeStore(SMALL), is_verifying=True) as reading:
        passing = Passing(reading, SMALL)
        for number in (0, 1, 5):  # 2, 3 and 4 nobody asks for
            passing.expect(number)

        for number in order:
            await passing.come(number)

        assert_nothing_is_held(reading)


@pytest.mark.parametrize("missing", range(BLOCKS + 1))
@pytest.mark.parametrize("when", ["first", "in between", "last", "while hashing"])
async def test_a_part_that_cannot_be_fetched_holds_nothing(missing, when, autojump_clock):
    async with reading_from(
        FakeRangeStore(SMALL), is_verifying=True, hashing_seconds=1
    ) as reading:
        passing = Passing(reading, SMALL)
        for number in range(BLOCKS + 1):
            passing.expect(number)
        others = [number for number in (5, 3, 1, 0, 2, 4) if number != missing]
        place = {"first": 0, "in between": 3, "last": 5, "while hashing": 5}[when]

        async with trio.open_nursery() as nursery:
            for step, number in enumerate(others):
                if step == place:
                    passing.fail(missing)
                if when == "while hashing":
                    nursery.start_soon(passing.come, number)
                else:
                    await passing.come(number)
            if place == 5:
                await trio.lowlevel.checkpoint()
                passing.fail(missing)

        assert reading.verifier.verified == {}
        assert_nothing_is_held(reading)


@hypothesis.settings(deadline=None)
@hypothesis.given(st.data())
def test_any_order_of_parts_ends_with_nothing_held_and_right_bytes(data):
    """Parts are asked for, come, fail and are evicted in any order; every reader gets on."""
    steps = data.draw(st.lists(st.integers(0, BLOCKS), min_size=1, max_size=25))
    latencies = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=7))
    pauses = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    failing = data.draw(st.sets(st.integers(0, 12), max_size=3))
    limit = data.draw(st.integers(0, BLOCKS)) * BLOCK_SIZE
    hashing_seconds = data.draw(st.sampled_from([0, 1, 3]))

    def fault(get):
        return Fault(9, errors.AccessDeniedError("no")) if get.number in failing else None

    store = FakeRangeStore(
        SMALL, latency=lambda get: latencies[get.number % len(latencies)], faults=fault
    )

    async def read(reading, block):
        start = block * BLOCK_SIZE
        size = min(BLOCK_SIZE, SMALL.size - start)
        try:
            found = await read_part(reading, SMALL, start, size)
        except errors.AccessDeniedError:
            return
        assert found == SMALL.part(start, size)

    async def main():
        async with reading_from(
            store, limit=limit, is_verifying=True, hashing_seconds=hashing_seconds
        ) as reading:
            with trio.fail_after(1000):
                async with trio.open_nursery() as nursery:
                    for number, block in enumerate(steps):
                        nursery.start_soon(read, reading, block)
                        await trio.sleep(pauses[number % len(pauses)])
            await trio.sleep(1000)
            assert store.running == 0
            assert_nothing_is_held(reading)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
