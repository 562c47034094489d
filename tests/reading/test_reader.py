"""Reads of any layout are its bytes, and cost what they should: bytes, GETs and memory."""

from __future__ import annotations

import random

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.layout import Inline, Layout, Stored, Zeros
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.prefetch import FIRST_WINDOW, LARGEST_WINDOW, MIB
from swiftimgfs.reading.reader import ImageReader
from tests.support.range_store import FakeRangeStore, Fault, object_of, parts_in, reading_from

KIB = 1024
READ = 128 * KIB  # what the kernel asks for at most, without being told otherwise
SIZES = [1, 2, 1000, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 17]
OBJECTS = [object_of(f"o{size}", size) for size in [*SIZES, PART_SIZE + 2 * BLOCK_SIZE + 5]]
# Its etag is no MD5, so that nobody need hash it.
HUGE = object_of("huge", 1024 * MIB, etag="v1")
MEDIUM = object_of("medium", 96 * MIB, etag="v1")


def layout_of(*items) -> Layout:
    return Layout([(item.size, item.source()) for item in items])


def content_of(layout: Layout, store: FakeRangeStore, offset: int, size: int) -> bytes:
    """Return what a read has to return, straight from the objects."""
    data = []
    for piece in layout.pieces(offset, size):
        match piece.source:
            case Stored() as source:
                data.append(store.objects[source.object].part(source.start, piece.size))
            case Inline(inline):
                data.append(bytes(inline[: piece.size]))
            case Zeros():
                data.append(bytes(piece.size))
    return b"".join(data)


class Reads:
    """Reads one image, insists on the right bytes, and counts them."""

    def __init__(self, reading, layout: Layout) -> None:
        self.reading = reading
        self.layout = layout
        self.reader = ImageReader(reading.fetcher)
        self.count = 0
        self.waited = 0

    async def read(self, offset: int, size: int) -> None:
        before = trio.current_time()
        data = await self.reader.read(self.layout, offset, size)
        assert data == content_of(self.layout, self.reading.store, offset, size)
        self.count += len(data)
        self.waited += trio.current_time() > before

    async def read_in_order(self, start: int, end: int, *, step=READ, pause=0.0) -> None:
        for offset in range(start, end, step):
            await self.read(offset, min(step, end - offset))
            await trio.sleep(pause)


def on_a_mock_clock(main, *arguments) -> None:
    """Run an async function where waiting takes no time."""
    trio.run(main, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))


# ── right bytes ────────────────────────────────────────────────────────────────────────


@st.composite
def pieces(draw):
    item = draw(st.sampled_from(OBJECTS))
    start = draw(st.integers(0, item.size - 1) | st.just(0))
    size = draw(st.integers(1, item.size - start) | st.just(item.size - start))
    inline = bytes(draw(st.integers(1, 255)) for _ in range(draw(st.integers(1, 9))))
    return draw(
        st.sampled_from(
            [
                (size, item.source(start)),
                (size, item.source(start)),
                (size, Zeros()),
                (len(inline), Inline(memoryview(inline))),
            ]
        )
    )


LAYOUTS = st.lists(pieces(), min_size=1, max_size=6).map(Layout)
LIMITS = st.sampled_from([0, BLOCK_SIZE, PART_SIZE, 3 * PART_SIZE, 64 * MIB])


@hypothesis.settings(deadline=None)
@hypothesis.given(layout=LAYOUTS, limit=LIMITS, is_verifying=st.booleans(), data=st.data())
def test_any_reads_of_any_layout_return_exactly_its_bytes(layout, limit, is_verifying, data):
    places = st.tuples(st.integers(0, layout.size + 2), st.integers(1, MIB))
    reads = data.draw(st.lists(places, min_size=1, max_size=12))
    latencies = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    pauses = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    breaking = data.draw(st.sets(st.integers(0, 20), max_size=4))

    def fault(get):
        return (
            Fault(get.size // 2, errors.BrokenBodyError("")) if get.number in breaking else None
        )

    store = FakeRangeStore(
        *OBJECTS, latency=lambda get: latencies[get.number % len(latencies)], faults=fault
    )

    async def main():
        async with reading_from(store, limit=limit, is_verifying=is_verifying) as reading:
            all_reads = Reads(reading, layout)
            with trio.fail_after(10_000):
                async with trio.open_nursery() as nursery:
                    for number, (offset, size) in enumerate(reads):
                        nursery.start_soon(all_reads.read, offset, size)
                        await trio.sleep(pauses[number % len(pauses)])
            await trio.sleep(1000)
            assert store.running == 0
            assert all(part.is_evictable for part in parts_in(reading.cache))

    on_a_mock_clock(main)


@hypothesis.settings(deadline=None)
@hypothesis.given(layout=LAYOUTS, limit=LIMITS, step=st.sampled_from([READ, 70_001, MIB]))
def test_any_layout_read_in_order_is_its_bytes(layout, limit, step):
    async def main():
        store = FakeRangeStore(*OBJECTS, latency=1)
        async with reading_from(store, limit=limit, is_verifying=True) as reading:
            await Reads(reading, layout).read_in_order(0, layout.size, step=step)

    on_a_mock_clock(main)


@pytest.mark.parametrize("offset", [10, 11, 10**9])
async def test_behind_the_end_there_is_nothing(offset):
    store = FakeRangeStore()
    async with reading_from(store) as reading:
        reader = ImageReader(reading.fetcher)

        assert await reader.read(Layout([(10, Zeros())]), offset, 5) == b""


async def test_what_is_in_memory_is_returned_without_a_checkpoint_and_without_a_copy():
    store = FakeRangeStore(MEDIUM)
    async with reading_from(store) as reading:
        reader = ImageReader(reading.fetcher)
        await reader.read(layout_of(MEDIUM), BLOCK_SIZE, 4096)

        with trio.testing.assert_no_checkpoints():
            data = await reader.read(layout_of(MEDIUM), BLOCK_SIZE + 100, 4096)

        assert isinstance(data, memoryview)
        assert data == MEDIUM.part(BLOCK_SIZE + 100, 4096)


async def test_bytes_are_given_before_the_rest_of_their_part_has_come(autojump_clock):
    store = FakeRangeStore(MEDIUM, rate=BLOCK_SIZE, step=BLOCK_SIZE)
    async with reading_from(store) as reading:
        reading.fetcher.demand(MEDIUM.source(), PART_SIZE)

        await Reads(reading, layout_of(MEDIUM)).read(0, BLOCK_SIZE)

        assert trio.current_time() == pytest.approx(1)


# ── failures ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "failure", [errors.ImageChangedError("412"), errors.BrokenBodyError("cut")]
)
async def test_a_failure_is_told_and_tried_again_by_the_next_reader(autojump_clock, failure):
    store = FakeRangeStore(MEDIUM, faults=lambda _: Fault(100, failure))
    async with reading_from(store) as reading:
        reads = Reads(reading, layout_of(MEDIUM))
        with pytest.raises(type(failure)):
            await reads.read(0, READ)
        store.faults = lambda _: None

        await reads.read_in_order(0, 4 * MIB)

        assert all(part.is_evictable for part in parts_in(reading.cache))


async def test_a_failure_ahead_is_not_told_to_who_does_not_get_there(autojump_clock):
    gone = errors.ImageChangedError("gone")
    store = FakeRangeStore(
        MEDIUM, faults=lambda get: Fault(0, gone) if get.start > MIB else None
    )
    async with reading_from(store) as reading:
        reads = Reads(reading, layout_of(MEDIUM))

        await reads.read_in_order(0, MIB)
        await trio.sleep(1)

        with pytest.raises(errors.ImageChangedError):
            await reads.read(8 * MIB, READ)


async def test_every_reader_of_what_fails_is_told(autojump_clock):
    gone = errors.ImageChangedError("gone")
    store = FakeRangeStore(MEDIUM, latency=1, faults=lambda _: Fault(0, gone))
    told = []

    async def read(reads):
        with pytest.raises(errors.ImageChangedError):
            await reads.read(0, READ)
        told.append(reads)

    async with reading_from(store) as reading, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(read, Reads(reading, layout_of(MEDIUM)))

    assert len(told) == 5


async def test_readers_that_are_given_up_leave_nothing_behind(autojump_clock):
    store = FakeRangeStore(MEDIUM, latency=10)
    async with reading_from(store) as reading:
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                for place in (0, 5 * MIB, 50 * MIB):
                    nursery.start_soon(Reads(reading, layout_of(MEDIUM)).read, place, READ)
        await trio.sleep(100)

        assert store.running == 0
        assert all(part.is_evictable for part in parts_in(reading.cache))


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
