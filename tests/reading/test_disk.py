"""Blocks on the disk spare GETs, and are true or not there, whatever happens to them."""

from __future__ import annotations

import errno
import os
import random

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.layout import Layout
from swiftimgfs.reading import disk_cache, disk_reads
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.block_files import AS_THEY_CAME, VERIFIED, name_of
from swiftimgfs.reading.disk_cache import DISK_BLOCK, DiskCache
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.reading.verifier import REFUSAL_SECONDS
from tests.support.range_store import (
    FakeDiskThreads,
    FakeRangeStore,
    Fault,
    Get,
    object_of,
    parts_in,
    reading_from,
)

MIB = 1024**2
GIB = 1024**3
BLOCKS = 5
SMALL = object_of("small", BLOCKS * BLOCK_SIZE + 77)
LARGE = object_of("large", 3 * PART_SIZE - 12345)
HUGE = object_of("huge", 40 * MIB)


@pytest.fixture
def disk(tmp_path):
    cache = DiskCache(tmp_path / "cache", GIB)
    yield cache
    cache.close()


async def read(reading, item, offset=0, size=None) -> bytes:
    """Read in order, through a reader of its own, and insist on the bytes."""
    size = item.size - offset if size is None else size
    layout = Layout([(item.size, item.source())])
    reader = ImageReader(reading.fetcher)
    end = offset + size
    try:
        pieces = [
            bytes(await reader.read(layout, start, min(MIB, end - start)))
            for start in range(offset, end, MIB)
        ]
    finally:
        reader.close()
    data = b"".join(pieces)
    assert data == item.part(offset, size)
    return data


async def read_block(reading, item, index) -> bytes:
    """Read one block, with nothing ahead of it."""
    source = item.source(index * BLOCK_SIZE)
    size = disk_cache.size_of(item.size, index)
    reading.fetcher.demand(source, size)
    data = bytes(await ImageReader(reading.fetcher)._stored(source, size))
    assert data == item.part(source.start, size)
    return data


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)


def kept(disk, item, worth) -> set[int]:
    blocks = range(-(-item.size // DISK_BLOCK))
    return {n for n in blocks if disk.has(item.etag, item.size, n, worth)}


def all_of(item) -> set[int]:
    return set(range(-(-item.size // DISK_BLOCK)))


def files_in(disk) -> list[str]:
    return [name for name in os.listdir(disk._path) if "ledger" not in name]


def test_a_block_on_disk_is_a_block_in_memory():
    assert DISK_BLOCK == BLOCK_SIZE


# ── what is kept is not fetched ────────────────────────────────────────────────────────


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


# ── what verification has to say ───────────────────────────────────────────────────────


async def test_what_is_not_right_never_gets_to_the_disk(disk, autojump_clock):
    """Here Swift has other bytes than it says."""
    wrong = FakeRangeStore(LARGE, faults=lambda _: Fault(damages=PART_SIZE + 1))
    async with reading_from(wrong, is_verifying=True, disk=disk) as reading:
        with pytest.raises(errors.CorruptDataError):
            await read(reading, LARGE)
        await settled()

        assert files_in(disk) == []
        await trio.sleep(REFUSAL_SECONDS + 1)
        await read_block(reading, LARGE, 10)
        await settled()
        assert files_in(disk) == []


async def test_what_is_being_compared_is_nobody_elses(disk, autojump_clock):
    store = FakeRangeStore(HUGE)
    async with reading_from(store, is_verifying=True, disk=disk) as reading:
        await read(reading, HUGE, 0, 2 * PART_SIZE)
        await settled()
        assert files_in(disk)
        assert not kept(disk, HUGE, VERIFIED) | kept(disk, HUGE, AS_THEY_CAME)

    assert kept(disk, HUGE, AS_THEY_CAME) >= set(range(2 * PART_SIZE // DISK_BLOCK))
    assert all(name.endswith(".block") for name in files_in(disk))


async def test_an_object_larger_than_memory_is_all_on_disk_in_the_end(disk, autojump_clock):
    store = FakeRangeStore(HUGE, rate=100 * MIB)
    async with reading_from(
        store, limit=32 * MIB, is_verifying=True, disk=disk, hashing_seconds=0.01
    ) as reading:
        await read(reading, HUGE)
        await settled()
        assert reading.cache.held <= 40 * MIB

    assert kept(disk, HUGE, VERIFIED) == all_of(HUGE)
    assert len(files_in(disk)) == len(all_of(HUGE))


async def test_who_reads_again_in_the_middle_of_a_comparison_is_given_what_it_had(
    disk, autojump_clock
):
    store = FakeRangeStore(HUGE)
    async with reading_from(store, is_verifying=True, disk=disk) as reading:
        await read(reading, HUGE, 0, PART_SIZE)
        await settled()
        count = len(store.gets)
        for part in parts_in(reading.cache):
            reading.cache.drop(part)
        await read_block(reading, HUGE, 3)

    assert len(store.gets) == count


async def test_an_object_that_was_verified_is_not_hashed_again(disk, autojump_clock):
    async with reading_from(FakeRangeStore(LARGE), is_verifying=True, disk=disk) as reading:
        await read(reading, LARGE)
        await settled()

    async with reading_from(FakeRangeStore(LARGE), is_verifying=True, disk=disk) as reading:
        reading.verifier._in_thread = None  # type: ignore[assignment]  # is not needed
        await read(reading, LARGE)
        await settled()
        assert reading.verifier.verified == {}
        assert reading.verifier._checks == {}
        assert all(part.is_evictable for part in parts_in(reading.cache))


@pytest.mark.parametrize("missing", [0, 70, 191], ids=["first", "middle", "last"])
async def test_an_object_of_which_the_disk_lacks_a_block_is_hashed_as_a_whole(
    disk, autojump_clock, missing
):
    async with reading_from(FakeRangeStore(LARGE), is_verifying=True, disk=disk) as reading:
        await read(reading, LARGE)
        await settled()
    disk.remove(LARGE.etag, LARGE.size, [missing], [VERIFIED])

    store = FakeRangeStore(LARGE)
    async with reading_from(store, is_verifying=True, disk=disk) as reading:
        await read(reading, LARGE)
        await settled()
        assert len(reading.verifier.verified) == 1

    assert store.fetched == disk_cache.size_of(LARGE.size, missing)
    assert kept(disk, LARGE, VERIFIED) == all_of(LARGE)


async def test_false_bytes_that_were_read_at_random_are_found_by_who_reads_the_whole(
    disk, autojump_clock
):
    disk.put(LARGE.etag, LARGE.size, 9, memoryview(b"x" * DISK_BLOCK))

    async with reading_from(FakeRangeStore(LARGE), is_verifying=True, disk=disk) as reading:
        with pytest.raises(errors.CorruptDataError):
            await read(reading, LARGE)
        await settled()
        assert files_in(disk) == []
        await trio.sleep(REFUSAL_SECONDS + 1)
        await read(reading, LARGE)


async def test_bytes_that_were_damaged_on_their_way_do_not_stay_on_the_disk(
    disk, autojump_clock
):
    """They were in the last part, so that nobody was given any of them."""
    place = LARGE.size - 5
    store = FakeRangeStore(LARGE)
    seen: list[Get] = []

    def fault(get):
        if get.end > place and not seen:
            seen.append(get)
            return Fault(damages=place)
        return None

    store.faults = fault
    async with reading_from(store, is_verifying=True, disk=disk) as reading:
        await read(reading, LARGE)
        await settled()

    assert files_in(disk) == []


# ── a disk that is slow, full or broken ────────────────────────────────────────────────


async def test_a_disk_that_hangs_holds_nobody_up_for_long(disk, autojump_clock, caplog):
    store = FakeRangeStore(LARGE)
    threads = FakeDiskThreads(reading_seconds=1e9, writing_seconds=1e9)
    async with reading_from(store, disk=disk, threads=threads) as reading:
        begin = trio.current_time()
        await read(reading, LARGE)
        assert trio.current_time() - begin <= 6 * disk_reads.DISK_PATIENCE


async def test_a_disk_that_hangs_in_the_middle_is_not_asked_again_for_a_while(
    disk, autojump_clock, caplog, monkeypatch
):
    class Hanging(FakeDiskThreads):
        async def read_disk(self, blocking):
            blocking.__self__.is_stuck = True
            await trio.sleep_forever()

    store = FakeRangeStore(LARGE)
    async with reading_from(store, disk=disk, threads=Hanging()) as reading:
        begin = trio.current_time()
        for index in (0, 20, 40, 60, 80):
            await read_block(reading, LARGE, index)
        assert trio.current_time() - begin <= 1.5 * disk_reads.DISK_PATIENCE
    assert "too slow" in caplog.text


async def test_what_a_thread_reads_that_was_left_behind_is_nobodys(disk, autojump_clock):
    left = []

    class Late(FakeDiskThreads):
        async def read_disk(self, blocking):
            left.append(blocking)
            await trio.sleep_forever()

    async with reading_from(FakeRangeStore(SMALL), disk=disk) as reading:
        await read(reading, SMALL)
        await settled()
    store = FakeRangeStore(SMALL)
    async with reading_from(store, disk=disk, threads=Late()) as reading:
        await read(reading, SMALL)
        before = [(part.filled, bytes(part.view)) for part in parts_in(reading.cache)]
        for blocking in left:
            blocking()
        after = [(part.filled, bytes(part.view)) for part in parts_in(reading.cache)]

    assert store.fetched == SMALL.size
    assert before == after


async def test_a_disk_that_is_behind_does_not_fill_the_memory(disk, autojump_clock):
    limit = 32 * MIB
    threads = FakeDiskThreads(writing_seconds=60)
    store = FakeRangeStore(HUGE, rate=1000 * MIB)
    async with reading_from(store, limit=limit, disk=disk, threads=threads) as reading:
        begin = trio.current_time()
        await read(reading, HUGE)
        assert trio.current_time() - begin < 30
        assert sum(part.size for part in parts_in(reading.cache) if part.pins) <= limit // 2


async def test_a_full_disk_costs_a_warning_and_nothing_else(
    disk, autojump_clock, monkeypatch, caplog
):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    async with reading_from(FakeRangeStore(LARGE), is_verifying=True, disk=disk) as reading:
        await read(reading, LARGE)
        await settled()
        assert len(reading.verifier.verified) == 1

    assert [r.levelname for r in caplog.records].count("WARNING") == 1
    assert files_in(disk) == []


async def test_the_limit_holds_while_more_is_read(tmp_path, autojump_clock):
    limit = 4 * MIB
    disk = DiskCache(tmp_path / "small", limit)
    most = 0

    def used() -> int:
        return sum(-(-e.stat().st_size // 4096) * 4096 for e in os.scandir(disk._path)) - 4096

    store = FakeRangeStore(HUGE, rate=100 * MIB)
    async with reading_from(store, is_verifying=True, disk=disk) as reading:
        for offset in range(0, HUGE.size, MIB):
            await read(reading, HUGE, offset, MIB)
            await settled()
            most = max(most, used())

    assert limit // 2 < most <= limit
    disk.close()
