"""Whole objects are compared with their MD5 on the way, and nobody hangs or is held up by it."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.reading import verifier
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, Part, key_of
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.reading.verifier import REFUSAL_SECONDS, UNHASHED_SHARE
from tests.support.range_store import (
    FakeRangeStore,
    FakeRetry,
    Fault,
    Get,
    object_of,
    parts_in,
    reading_from,
)

BLOCKS = 5
SMALL = object_of("small", BLOCKS * BLOCK_SIZE + 77)
LARGE = object_of("large", 3 * PART_SIZE - 12345)
READ = 1024 * 1024


def layout_of(item) -> Layout:
    return Layout([(item.size, item.source())])


async def read_all(reading, item, *, step=READ) -> bytes:
    reader = ImageReader(reading.fetcher)
    try:
        pieces = [
            bytes(await reader.read(layout_of(item), offset, step))
            for offset in range(0, item.size, step)
        ]
    finally:
        reader.close()
    return b"".join(pieces)


async def read_part(reading, item, start, size) -> bytes:
    """Read without anything being fetched ahead."""
    source = item.source(start)
    reading.fetcher.demand(source, size)
    return bytes(await ImageReader(reading.fetcher)._stored(source, size))


def assert_nothing_is_held(reading) -> None:
    for part in parts_in(reading.cache):
        assert (part.is_gated, part.pins, part._waiting) == (False, 0, 0)
        assert part.is_evictable
    assert reading.verifier._owed == 0


class Passing:
    """Parts of one object, which are expected and come in any order."""

    def __init__(self, reading, item) -> None:
        self.reading = reading
        self.item = item
        self.parts: dict[int, Part] = {}

    def expect(self, number: int) -> None:
        start = number * BLOCK_SIZE
        size = min(BLOCK_SIZE, self.item.size - start)
        part = self.reading.cache.add(key_of(self.item.source()), start, size)
        self.reading.verifier.expect(part)
        self.parts[number] = part

    async def come(self, number: int, *, damages: int | None = None) -> None:
        part = self.parts[number]
        part.view[:] = self.item.part(part.start, part.size)
        if damages is not None:
            part.view[damages] ^= 0xFF
        part.arrived(part.size)
        part.wake()
        await self.reading.verifier.passed(self.item.source(part.start), part)

    def fail(self, number: int) -> None:
        """Do what the fetcher does."""
        part = self.parts.pop(number)
        self.reading.cache.drop(part)
        self.reading.verifier.missed(part)
        part.failed(errors.BrokenBodyError("down"))


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


# ── what comes faster than it is hashed ────────────────────────────────────────────────

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


# ── what was here before, or comes late ────────────────────────────────────────────────


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


# ── wrong bytes ────────────────────────────────────────────────────────────────────────

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
