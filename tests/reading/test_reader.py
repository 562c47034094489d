"""Reads return exactly the bytes of an image, or a failure."""

from __future__ import annotations

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.layout import Inline, Layout, Zeros
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.prefetch import MIB
from swiftimgfs.reading.reader import ImageReader
from tests.support.range_store import FakeRangeStore, Fault, parts_in, reading_from
from tests.support.reads import MEDIUM, OBJECTS, READ, Reads, layout_of, on_a_mock_clock

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
