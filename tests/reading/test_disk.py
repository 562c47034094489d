"""What is on the disk is not fetched, and whatever is there the bytes are right."""

from __future__ import annotations

import random

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.reading import disk_cache
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.block_files import AS_THEY_CAME, VERIFIED, name_of
from swiftimgfs.reading.disk_cache import DISK_BLOCK, DiskCache
from tests.support.disk_reads import GIB, MIB, all_of, files_in, kept, read, read_block, settled
from tests.support.range_store import FakeRangeStore, Fault, object_of, parts_in, reading_from
from tests.support.verified import BLOCKS, LARGE, SMALL


def test_a_block_on_disk_is_a_block_in_memory():
    assert DISK_BLOCK == BLOCK_SIZE


@pytest.mark.parametrize("is_verifying", [True, False])
@pytest.mark.parametrize("item", [SMALL, LARGE, object_of("byte", 1)], ids=lambda o: o.name)
async def test_what_was_read_once_is_not_fetched_after_a_remount(
    disk, autojump_clock, item, is_verifying
):
    store = FakeRangeStore(item, latency=0.01)
    async with reading_from(store, is_verifying=is_verifying, disk=disk) as reading:
        await read(reading, item)
        await settled()

    again = FakeRangeStore(item)
    async with reading_from(again, is_verifying=is_verifying, disk=disk) as reading:
        await read(reading, item)

    assert again.gets == []
    assert kept(disk, item, VERIFIED if is_verifying else AS_THEY_CAME) == all_of(item)
    assert len(files_in(disk)) == len(all_of(item))


async def test_random_reads_are_kept_and_fetch_no_more_than_without_a_disk(
    disk, autojump_clock
):
    store = FakeRangeStore(LARGE)
    async with reading_from(store, disk=disk) as reading:
        for index in (7, 40, 100):
            await read_block(reading, LARGE, index)
        await settled()

    assert [get.size for get in store.gets] == [BLOCK_SIZE] * 3
    assert kept(disk, LARGE, AS_THEY_CAME) == {7, 40, 100}


async def test_only_what_the_disk_lacks_is_fetched_each_run_of_it_by_one_get(
    disk, autojump_clock
):
    async with reading_from(FakeRangeStore(LARGE), disk=disk) as reading:
        for index in (0, 7, 8, 40, 63):
            await read_block(reading, LARGE, index)
        await settled()

    store = FakeRangeStore(LARGE)
    async with reading_from(store, disk=disk) as reading:
        reading.fetcher.demand(LARGE.source(), PART_SIZE)
        await read(reading, LARGE, 0, PART_SIZE)

    wanted = [(1, 6), (9, 31), (41, 22)]
    gets = [(get.start // BLOCK_SIZE, get.size // BLOCK_SIZE) for get in store.gets]
    assert [get for get in gets if get[0] < 64] == wanted


async def test_objects_whose_etag_is_no_md5_are_not_kept(disk, autojump_clock):
    item = object_of("odd", 3 * BLOCK_SIZE, etag="v1")
    async with reading_from(FakeRangeStore(item), disk=disk) as reading:
        await read(reading, item)
        await settled()

    assert files_in(disk) == []


async def test_a_get_that_breaks_in_a_block_is_resumed_there_up_to_the_next_on_disk(
    disk, autojump_clock
):
    async with reading_from(FakeRangeStore(SMALL), disk=disk) as reading:
        await read_block(reading, SMALL, 3)
        await settled()

    def fault(get):
        return Fault(after=1000, failure=errors.BrokenBodyError("")) if not get.number else None

    store = FakeRangeStore(SMALL, faults=fault)
    async with reading_from(store, disk=disk) as reading:
        await read(reading, SMALL)

    ends = [(get.start, get.end) for get in store.gets]
    assert ends == [
        (0, 3 * BLOCK_SIZE),
        (1000, 3 * BLOCK_SIZE),
        (4 * BLOCK_SIZE, SMALL.size),
    ]


@hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    blocks=st.sets(st.integers(0, BLOCKS)),
    damaged=st.sets(st.integers(0, BLOCKS)),
    reads=st.lists(st.tuples(st.integers(0, SMALL.size - 1), st.integers(1, MIB)), max_size=6),
    is_verifying=st.booleans(),
    breaks=st.sets(st.integers(0, 6), max_size=3),
)
def test_any_reads_with_anything_on_the_disk_are_right(
    tmp_path_factory, blocks, damaged, reads, is_verifying, breaks
):
    disk = DiskCache(tmp_path_factory.mktemp("any"), GIB)
    chance = random.Random(0)
    for index in blocks:
        size = disk_cache.size_of(SMALL.size, index)
        data = memoryview(SMALL.part(index * DISK_BLOCK, size))
        disk.put(SMALL.etag, SMALL.size, index, data, chance.choice([VERIFIED, AS_THEY_CAME]))
    for index in damaged & blocks:
        for worth in (VERIFIED, AS_THEY_CAME):
            path = disk._path / name_of(SMALL.etag, SMALL.size, index, worth)
            if path.exists():
                path.write_bytes(path.read_bytes()[: chance.randrange(DISK_BLOCK)])

    def fault(get):
        broken = Fault(after=get.size // 2, failure=errors.BrokenBodyError(""))
        return broken if get.number in breaks else None

    async def main():
        store = FakeRangeStore(SMALL, latency=0.1, faults=fault)
        async with reading_from(store, is_verifying=is_verifying, disk=disk) as reading:
            async with trio.open_nursery() as nursery:
                for offset, most in reads:
                    size = min(most, SMALL.size - offset)
                    nursery.start_soon(read, reading, SMALL, offset, size)
            await read(reading, SMALL)
            await settled()
            assert all(part.is_evictable for part in parts_in(reading.cache))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    disk.close()
