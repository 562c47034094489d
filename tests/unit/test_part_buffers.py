"""Buffers of parts: used again by nobody else, and memory that is lent."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs.errors import StoreUnavailableError
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, BlockCache, _fresh
from tests.support.parts import KEY, add_filled, add_part, held, need_no_more, need_part

# ── buffers ────────────────────────────────────────────────────────────────────────────


async def test_the_buffer_of_a_whole_part_is_used_again():
    cache = BlockCache(PART_SIZE)
    first = add_part(cache, 0)

    second = add_part(cache, 1)

    assert second.view is first.view
    assert cache.held == PART_SIZE


async def test_a_buffer_that_a_thread_may_still_write_into_is_not_used_again():
    cache = BlockCache(PART_SIZE)
    first = add_part(cache, 0)
    first.abandon()

    second = add_part(cache, 1)

    assert second.view is not first.view
    assert cache.held == PART_SIZE


async def test_the_buffer_of_a_part_that_was_dropped_while_it_was_filled_is_not_used_again():
    cache = BlockCache(PART_SIZE)
    first = cache.add(KEY, 0, PART_SIZE)
    first.arrived(PART_SIZE - 1)

    cache.drop(first)
    first.failed(StoreUnavailableError("down"))
    second = add_part(cache, 1)

    assert second.view is not first.view


async def test_the_buffer_of_a_part_that_was_dropped_while_somebody_waited_is_not_used_again():
    cache = BlockCache(PART_SIZE)
    first = cache.add(KEY, 0, PART_SIZE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.wait, PART_SIZE)
        await trio.testing.wait_all_tasks_blocked()
        first.arrived(PART_SIZE)

        cache.drop(first)
        second = add_part(cache, 1)

    assert second.view is not first.view


async def test_a_buffer_to_be_used_again_counts_and_gives_way_to_other_sizes():
    cache = BlockCache(PART_SIZE + BLOCK_SIZE)
    cache.drop(add_part(cache, 0))
    held_by_spare = cache.held

    add_filled(cache, 0)
    add_filled(cache, 1)

    assert held_by_spare == PART_SIZE
    assert held(cache) == [0, 1]
    assert cache.held == 2 * BLOCK_SIZE


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(st.lists(st.tuples(st.sampled_from("pbdg"), st.integers(0, 5)), max_size=30))
async def test_no_two_parts_ever_share_a_buffer(steps):
    cache = BlockCache(3 * PART_SIZE)

    for step, number in steps:
        start = number * PART_SIZE
        found = cache.get(KEY, start)
        match step, found:
            case "p", None:
                cache.add(KEY, start, PART_SIZE).arrived(PART_SIZE)
            case "b", None:
                cache.add(KEY, start, BLOCK_SIZE).arrived(BLOCK_SIZE)
            case "d", part if part is not None:
                cache.drop(part)
        buffers = [id(part.view.obj) for part in cache.parts_of(KEY)]
        buffers += [id(view.obj) for view in cache._spare]
        assert len(buffers) == len(set(buffers))
        assert cache.held <= cache.limit


# ── memory that is lent ────────────────────────────────────────────────────────────────


async def test_what_is_lent_is_evicted_at_once_the_least_recently_used_first():
    cache = BlockCache(4 * BLOCK_SIZE)
    for block in range(4):
        add_filled(cache, block)
    cache.get(KEY, 0)

    cache.lend(2 * BLOCK_SIZE)

    assert held(cache) == [0, 3]
    assert (cache.limit, cache.held) == (2 * BLOCK_SIZE, 2 * BLOCK_SIZE)


async def test_what_is_given_back_may_be_held_again():
    cache = BlockCache(2 * BLOCK_SIZE)
    cache.lend(2 * BLOCK_SIZE)
    had_room = cache.has_room(1)

    cache.give_back(BLOCK_SIZE)
    add_filled(cache, 0)
    has_room_for_another = cache.has_room(BLOCK_SIZE + 1)
    cache.give_back(BLOCK_SIZE)
    add_filled(cache, 1)

    assert (had_room, has_room_for_another) == (False, False)
    assert held(cache) == [0, 1]
    assert cache.limit == 2 * BLOCK_SIZE


async def test_spare_buffers_are_lent_before_parts_are_evicted():
    cache = BlockCache(2 * PART_SIZE)
    add_filled(cache, 0)
    cache.drop(add_part(cache, 1))

    cache.lend(PART_SIZE)

    assert cache.held == BLOCK_SIZE
    assert held(cache) == [0]
    cache.lend(PART_SIZE)
    assert cache.held == 0


async def test_more_may_be_lent_than_there_is_and_the_limit_is_not_below_0():
    cache = BlockCache(PART_SIZE)
    add_part(cache, 0)

    cache.lend(3 * PART_SIZE)
    lent_all = (cache.limit, cache.held)
    cache.give_back(2 * PART_SIZE)
    still = cache.limit
    cache.give_back(PART_SIZE)

    assert (lent_all, still, cache.limit) == ((0, 0), 0, PART_SIZE)


@pytest.mark.parametrize("need", ["filling", "pinned", "gated", "waited for"])
async def test_who_needs_a_part_keeps_it_whatever_is_lent(need):
    cache = BlockCache(2 * PART_SIZE)
    part = add_part(cache, 0)
    add_part(cache, 1)
    need_part(part, need)

    cache.lend(2 * PART_SIZE)
    while_needed = (cache.get(KEY, 0), cache.held)
    need_no_more(part, need)
    cache.lend(0)

    assert while_needed == (part, PART_SIZE)
    assert cache.held == 0


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
    st.lists(st.tuples(st.sampled_from("ablgd"), st.integers(0, 5)), max_size=30),
)
async def test_what_is_held_is_within_what_is_not_lent(steps):
    cache, lent = BlockCache(3 * PART_SIZE), 0

    for step, number in steps:
        found = cache.get(KEY, number * PART_SIZE)
        match step:
            case "a" if found is None and cache.has_room(PART_SIZE):
                cache.read_out(add_part(cache, number))
            case "b" if found is None and cache.has_room(BLOCK_SIZE):
                add_filled(cache, number * PART_SIZE // BLOCK_SIZE)
            case "d" if found is not None:
                cache.drop(found)
            case "l":
                cache.lend(number * BLOCK_SIZE)
                lent += number * BLOCK_SIZE
            case "g":
                cache.give_back(lent)
                lent = 0
        parts = sum(part.size for part in cache.parts_of(KEY))
        assert cache.held == parts + len(cache._spare) * PART_SIZE
        assert cache.held <= cache.limit == max(3 * PART_SIZE - lent, 0)


@pytest.mark.parametrize("size", [1, BLOCK_SIZE, 2 * 1024 * 1024, PART_SIZE, PART_SIZE + 1])
def test_fresh_memory_is_as_large_as_asked_for_empty_and_writable(size):
    first, second = _fresh(size), _fresh(size)
    first[:] = b"x" * size

    assert len(second) == size
    assert bytes(second) == bytes(size)


def test_large_fresh_memory_is_not_touched_before_it_is_written():
    """A bytearray of this size would be in memory as soon as it is made."""
    before = resident()
    views = [_fresh(PART_SIZE) for _ in range(16)]
    made = resident() - before
    for view in views:
        view[:] = bytes(1) * PART_SIZE

    assert made < 2 * PART_SIZE
    assert resident() - before > 14 * PART_SIZE


def resident() -> int:
    """Return the bytes of this process that are in memory, proc_pid_statm(5)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
