"""Blocks in memory: bounded, and never taken from who needs them."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs.errors import StoreUnavailableError
from swiftimgfs.layout import Stored
from swiftimgfs.reading.block_cache import BLOCK_SIZE, BlockCache, key_of

SOURCE = Stored("c", "o", "etag", 0, 100 * BLOCK_SIZE)


def add_filled(cache: BlockCache, index: int):
    block = cache.add(SOURCE, index)
    block.arrived(block.size)
    return block


def held(cache: BlockCache) -> list[int]:
    return [index for index in range(100) if key_of(SOURCE, index) in cache]


def test_the_least_recently_used_block_goes_first():
    cache = BlockCache(3 * BLOCK_SIZE)
    for index in range(3):
        add_filled(cache, index)
    cache.get(key_of(SOURCE, 0))

    add_filled(cache, 3)

    assert held(cache) == [0, 2, 3]


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(st.integers(1, 4), st.lists(st.integers(0, 9), max_size=30))
def test_settled_blocks_never_hold_more_than_the_limit(blocks, indexes):
    cache = BlockCache(blocks * BLOCK_SIZE)

    for index in indexes:
        if cache.get(key_of(SOURCE, index)) is None:
            add_filled(cache, index)
        assert len(held(cache)) <= blocks
        assert index in held(cache)


def test_a_limit_below_a_block_is_one_block():
    cache = BlockCache(0)

    add_filled(cache, 0)
    add_filled(cache, 1)

    assert cache.limit == BLOCK_SIZE
    assert held(cache) == [1]


def test_the_last_block_of_an_object_has_what_is_left_of_it():
    cache = BlockCache(BLOCK_SIZE)

    block = cache.add(replace(SOURCE, object_size=BLOCK_SIZE + 10), 1)

    assert (block.size, len(block.view)) == (10, 10)


def test_a_block_that_is_being_filled_is_not_evicted():
    cache = BlockCache(BLOCK_SIZE)
    filling = cache.add(SOURCE, 0)
    filling.arrived(BLOCK_SIZE - 1)

    add_filled(cache, 1)
    while_filling = held(cache)
    filling.arrived(1)
    add_filled(cache, 2)

    assert while_filling == [0, 1]
    assert held(cache) == [2]


async def test_a_block_that_is_waited_for_is_not_evicted():
    cache = BlockCache(BLOCK_SIZE)
    block = cache.add(SOURCE, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(block.wait, BLOCK_SIZE)
        await trio.testing.wait_all_tasks_blocked()

        block.arrived(BLOCK_SIZE)  # who waits is woken, and has not looked yet
        add_filled(cache, 1)
        while_waited_for = held(cache)

    add_filled(cache, 2)
    assert while_waited_for == [0, 1]
    assert held(cache) == [2]


async def test_a_waiter_that_was_cancelled_holds_nothing(autojump_clock):
    cache = BlockCache(BLOCK_SIZE)
    block = cache.add(SOURCE, 0)

    with trio.move_on_after(1):
        await block.wait(1)
    block.arrived(BLOCK_SIZE)
    add_filled(cache, 1)

    assert held(cache) == [1]


async def test_who_waits_goes_on_as_soon_as_its_bytes_are_there():
    block = BlockCache(BLOCK_SIZE).add(SOURCE, 0)
    done = trio.Event()

    async def wait():
        await block.wait(100)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        block.arrived(99)
        await trio.testing.wait_all_tasks_blocked()
        was_done = done.is_set()
        block.arrived(1)

    assert not was_done
    assert not block.is_settled


async def test_a_failure_is_told_to_who_waits_unless_its_bytes_had_come():
    block = BlockCache(BLOCK_SIZE).add(SOURCE, 0)
    block.arrived(100)

    block.failed(StoreUnavailableError("down"))

    await block.wait(100)
    with pytest.raises(StoreUnavailableError, match="down"):
        await block.wait(101)


def test_a_dropped_block_makes_room_and_is_fetched_again():
    cache = BlockCache(BLOCK_SIZE)
    cache.add(SOURCE, 0)

    cache.drop(SOURCE, 0)
    cache.drop(SOURCE, 0)

    assert cache.get(key_of(SOURCE, 0)) is None
    assert cache.has_room()


def test_there_is_no_room_while_every_block_is_being_filled():
    cache = BlockCache(2 * BLOCK_SIZE)
    cache.add(SOURCE, 0)
    has_room_at_first = cache.has_room()
    second = cache.add(SOURCE, 1)

    has_room_when_full = cache.has_room()
    second.arrived(second.size)

    assert (has_room_at_first, has_room_when_full, cache.has_room()) == (True, False, True)


def test_another_version_of_an_object_has_other_blocks():
    cache = BlockCache(2 * BLOCK_SIZE)
    add_filled(cache, 0)

    assert cache.get(key_of(replace(SOURCE, etag="newer"), 0)) is None


def test_a_part_of_an_object_shares_its_blocks():
    assert key_of(replace(SOURCE, start=10), 0) == key_of(SOURCE, 0)


def test_a_buffer_is_used_again():
    cache = BlockCache(BLOCK_SIZE)
    first = add_filled(cache, 0)

    second = add_filled(cache, 1)

    assert second.buffer is first.buffer
