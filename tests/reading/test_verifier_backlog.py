"""What comes faster than it is hashed: bounded memory, and nobody waits for ever."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, key_of
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.reading.verifier import UNHASHED_SHARE
from tests.support.range_store import FakeRangeStore, object_of, reading_from
from tests.support.verified import (
    READ,
    SMALL,
    Passing,
    assert_nothing_is_held,
    layout_of,
    read_all,
)

FAST = object_of("fast", 12 * PART_SIZE)


class FastReading:
    """Reads `FAST` in order from a line that is much faster than hashing."""

    def __init__(self) -> None:
        self.store = FakeRangeStore(FAST, latency=0.001, rate=1e10)
        self.owed: list[int] = []

    async def read(self, limit: int) -> None:
        async with reading_from(
            self.store, limit=limit, is_verifying=True, hashing_seconds=0.1
        ) as reading:
            self.store.on_get = lambda: self.owed.append(reading.verifier._owed)
            data = await read_all(reading, FAST)
            assert data == FAST.part(0, FAST.size)
            assert list(reading.verifier.verified) == [key_of(FAST.source())]
            assert self.store.fetched == FAST.size
            assert_nothing_is_held(reading)


@pytest.mark.parametrize("parts", [5, 8, 16])
async def test_what_is_to_be_hashed_takes_a_quarter_of_the_memory_and_a_part(
    parts, autojump_clock
):
    fast = FastReading()

    await fast.read(parts * PART_SIZE)

    assert max(fast.owed) < parts * PART_SIZE // UNHASHED_SHARE + PART_SIZE + READ


async def test_who_waits_for_hashing_has_whole_parts_fetched(autojump_clock):
    fast = FastReading()

    await fast.read(8 * PART_SIZE)

    late = [get for get in fast.store.gets if get.start >= 4 * PART_SIZE]
    assert {(get.start % PART_SIZE, get.size) for get in late} == {(0, PART_SIZE)}


async def test_fetching_goes_on_while_a_part_is_hashed(autojump_clock):
    """One after the other would take as long as both."""
    store = FakeRangeStore(FAST, rate=PART_SIZE)
    async with reading_from(
        store, limit=8 * PART_SIZE, is_verifying=True, hashing_seconds=1
    ) as reading:
        await read_all(reading, FAST)

    assert trio.current_time() < 0.8 * 2 * FAST.size / PART_SIZE


async def test_who_reads_at_random_does_not_wait_for_what_is_hashed(autojump_clock):
    async with reading_from(
        FakeRangeStore(FAST, SMALL), limit=0, is_verifying=True, hashing_seconds=1000
    ) as reading:
        reading.fetcher.demand(FAST.source(), PART_SIZE)
        await trio.sleep(1)
        assert reading.verifier.is_behind

        reader = ImageReader(reading.fetcher)
        data = await reader.read(layout_of(SMALL), 3 * BLOCK_SIZE, 100)

        assert data == SMALL.part(3 * BLOCK_SIZE, 100)
        assert trio.current_time() < 2


async def test_who_catches_up_goes_on_once_enough_was_hashed(autojump_clock):
    async with reading_from(
        FakeRangeStore(SMALL), limit=8 * BLOCK_SIZE, is_verifying=True, hashing_seconds=1
    ) as reading:
        passing = Passing(reading, SMALL)
        behind = []
        for number in range(3):
            passing.expect(number)
            behind.append(reading.verifier.is_behind)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(passing.come, number)
            await reading.verifier.catch_up()
            caught_up = trio.current_time()

        assert behind == [False, True, True]  # from a quarter on, two blocks
        assert caught_up == pytest.approx(2)


async def test_who_catches_up_goes_on_when_what_is_to_be_hashed_does_not_come(autojump_clock):
    async with reading_from(FakeRangeStore(SMALL), limit=0, is_verifying=True) as reading:
        passing = Passing(reading, SMALL)
        for number in range(3):
            passing.expect(number)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reading.verifier.catch_up)
                await passing.come(2)
                await trio.testing.wait_all_tasks_blocked()
                passing.fail(0)
                passing.fail(1)

        assert_nothing_is_held(reading)
