"""Only what was found right gets to the disk."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swiftimgfs import errors
from swiftimgfs.reading import disk_cache
from swiftimgfs.reading.block_cache import PART_SIZE
from swiftimgfs.reading.block_files import AS_THEY_CAME, VERIFIED
from swiftimgfs.reading.disk_cache import DISK_BLOCK
from swiftimgfs.reading.verifier import REFUSAL_SECONDS
from tests.support.disk_reads import (
    HUGE,
    MIB,
    all_of,
    files_in,
    kept,
    read,
    read_block,
    settled,
)
from tests.support.range_store import FakeRangeStore, Fault, Get, parts_in, reading_from
from tests.support.verified import LARGE


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
