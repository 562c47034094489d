"""Wrong bytes: replaced where nobody has them yet, told where somebody has."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swiftimgfs import errors
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, key_of
from swiftimgfs.reading.verifier import REFUSAL_SECONDS
from tests.support.range_store import (
    FakeRangeStore,
    FakeRetry,
    Fault,
    Get,
    object_of,
    reading_from,
)
from tests.support.verified import LARGE, SMALL, assert_nothing_is_held, read_all, read_part

PLACES = {"first": 10, "middle": PART_SIZE + 10, "last byte": LARGE.size - 1}


def damaged_once(place: int):
    """Return faults: the byte at `place` comes wrong the first time only."""
    seen: list[Get] = []

    def fault(get):
        if get.start <= place < get.end and not seen:
            seen.append(get)
            return Fault(damages=place)
        return None

    return fault


async def test_an_end_that_was_damaged_on_its_way_is_replaced_untold(autojump_clock):
    store = FakeRangeStore(LARGE, faults=damaged_once(PLACES["last byte"]))
    async with reading_from(store, is_verifying=True) as reading:
        data = await read_all(reading, LARGE)

        assert data == LARGE.part(0, LARGE.size)
        assert store.fetched == 2 * LARGE.size
        assert key_of(LARGE.source()) in reading.verifier.verified
        assert_nothing_is_held(reading)


async def test_an_object_of_one_part_that_was_damaged_on_its_way_is_replaced_untold(
    autojump_clock,
):
    store = FakeRangeStore(SMALL, faults=damaged_once(5))
    async with reading_from(store, is_verifying=True) as reading:
        data = await read_part(reading, SMALL, 0, SMALL.size)

        assert data == SMALL.part(0, SMALL.size)
        assert_nothing_is_held(reading)


@pytest.mark.parametrize("place", ["first", "middle"])
async def test_bytes_that_were_damaged_on_their_way_to_a_reader_are_told(place, autojump_clock):
    store = FakeRangeStore(LARGE, faults=damaged_once(PLACES[place]))
    async with reading_from(store, is_verifying=True) as reading:
        with pytest.raises(errors.CorruptDataError, match="damaged on its way"):
            await read_all(reading, LARGE)

        assert reading.verifier.verified == {}
        assert_nothing_is_held(reading)


@pytest.mark.parametrize("place", PLACES)
async def test_bytes_that_are_wrong_in_swift_are_told(place, autojump_clock):
    store = FakeRangeStore(LARGE, faults=lambda _: Fault(damages=PLACES[place]))
    async with reading_from(store, is_verifying=True) as reading:
        with pytest.raises(errors.CorruptDataError, match="Swift says"):
            await read_all(reading, LARGE)

        assert reading.verifier.verified == {}
        assert store.fetched == 2 * LARGE.size
        assert_nothing_is_held(reading)


async def test_what_was_found_wrong_is_refused_for_a_while_and_then_tried_again(autojump_clock):
    store = FakeRangeStore(SMALL, faults=lambda _: Fault(damages=3))
    async with reading_from(store, is_verifying=True) as reading:
        with pytest.raises(errors.CorruptDataError):
            await read_all(reading, SMALL)
        store.faults = lambda _: None
        await trio.sleep(REFUSAL_SECONDS - 1)
        asked = len(store.gets)

        with pytest.raises(errors.CorruptDataError):
            await read_all(reading, SMALL)
        asked_while_refused = len(store.gets) - asked
        await trio.sleep(1)

        assert await read_all(reading, SMALL) == SMALL.part(0, SMALL.size)
        assert asked_while_refused == 0
        assert key_of(SMALL.source()) in reading.verifier.verified
        assert_nothing_is_held(reading)


async def test_another_object_is_not_refused_with_it(autojump_clock):
    store = FakeRangeStore(
        SMALL, LARGE, faults=lambda get: Fault(damages=3) if get.object == "small" else None
    )
    async with reading_from(store, is_verifying=True) as reading:
        with pytest.raises(errors.CorruptDataError):
            await read_all(reading, SMALL)

        assert await read_all(reading, LARGE) == LARGE.part(0, LARGE.size)


async def test_a_second_look_that_fails_is_told_as_corrupt(autojump_clock):
    def fault(get):
        if get.number:
            return Fault(0, errors.ImageChangedError("gone"))
        return Fault(damages=3)

    async with reading_from(FakeRangeStore(SMALL, faults=fault), is_verifying=True) as reading:
        with pytest.raises(errors.CorruptDataError, match="gone"):
            await read_part(reading, SMALL, 0, SMALL.size)

        assert_nothing_is_held(reading)


async def test_no_reader_waits_for_ever_for_what_turns_out_wrong(autojump_clock):
    store = FakeRangeStore(LARGE, latency=1, faults=lambda _: Fault(damages=3))
    told = []

    async def read(reading, start):
        try:
            await read_part(reading, LARGE, start, BLOCK_SIZE)
        except errors.CorruptDataError:
            told.append(start)

    async with reading_from(store, is_verifying=True, hashing_seconds=1) as reading:
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                reading.fetcher.demand(LARGE.source(), LARGE.size)
                last = LARGE.size - BLOCK_SIZE
                for _ in range(3):
                    nursery.start_soon(read, reading, last)

        assert told == [last] * 3
        assert_nothing_is_held(reading)


async def test_what_is_put_right_is_no_other_objects_buffer(autojump_clock):
    """While the second look goes on, others read so much that everything else is evicted."""
    size = 2 * PART_SIZE
    item, other = object_of("damaged", size), object_of("other", 4 * PART_SIZE)

    def fault(get):
        return Fault(damages=size - 1) if get.object == "damaged" and get.number < 2 else None

    store = FakeRangeStore(item, other, faults=fault, rate=PART_SIZE / 10)
    async with reading_from(
        store, limit=2 * PART_SIZE, is_verifying=True, retry=FakeRetry(patience=1000)
    ) as reading:
        reading.fetcher.demand(item.source(), size)
        await trio.sleep(12)  # both parts have come, and the second look has begun
        for start in range(0, other.size, PART_SIZE):
            await read_part(reading, other, start, PART_SIZE)
            await trio.lowlevel.checkpoint()

        for start in range(0, other.size, PART_SIZE):
            part = reading.cache.get(key_of(other.source()), start)
            if part is not None:
                assert bytes(part.view) == other.part(start, PART_SIZE)
        assert await read_part(reading, item, PART_SIZE, PART_SIZE) == item.part(
            PART_SIZE, PART_SIZE
        )
        assert_nothing_is_held(reading)


async def test_a_retry_is_used_for_the_second_look_too(autojump_clock):
    faults = [Fault(damages=3), Fault(7, errors.BrokenBodyError("cut"))]
    store = FakeRangeStore(SMALL, faults=lambda get: dict(enumerate(faults)).get(get.number))
    async with reading_from(store, is_verifying=True, retry=FakeRetry(tries=2)) as reading:
        data = await read_part(reading, SMALL, 0, SMALL.size)

        assert data == SMALL.part(0, SMALL.size)
        assert [get.start for get in store.gets] == [0, 0, 7]
