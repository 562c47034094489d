"""A disk that is slow, full or broken costs a warning, and holds nobody up."""

from __future__ import annotations

import errno
import os

import trio
import trio.testing

from swiftimgfs.reading import disk_reads
from swiftimgfs.reading.disk_cache import DiskCache
from tests.support.disk_reads import HUGE, MIB, files_in, read, read_block, settled
from tests.support.range_store import FakeDiskThreads, FakeRangeStore, parts_in, reading_from
from tests.support.verified import LARGE, SMALL


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
