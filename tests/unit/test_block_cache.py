"""Parts of objects in memory: bounded, found by block, never taken from who needs them."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, BlockCache, key_of
from tests.support.parts import KEY, MD5, SOURCE, add_filled, held

# ── what is kept, and what goes ────────────────────────────────────────────────────────


async def test_the_least_recently_used_part_goes_first():
    cache = BlockCache(3 * BLOCK_SIZE)
    for block in range(3):
        add_filled(cache, block)
    cache.get(KEY, 0)

    add_filled(cache, 3)

    assert held(cache) == [0, 2, 3]


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
    st.integers(4, 8),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=30),
)
async def test_settled_parts_never_hold_more_than_the_limit(blocks, runs):
    cache = BlockCache(blocks * BLOCK_SIZE)

    for start, count in runs:
        if not any(cache.has(KEY, block) for block in range(start, start + count)):
            add_filled(cache, start, count)
            assert set(range(start, start + count)) <= set(held(cache))
        assert cache.held <= cache.limit
        assert len(held(cache)) * BLOCK_SIZE == cache.held


async def test_what_is_demanded_is_held_over_any_limit_and_goes_next():
    cache = BlockCache(0)

    add_filled(cache, 0)
    first = held(cache)
    add_filled(cache, 1)

    assert (first, held(cache), cache.held) == ([0], [1], BLOCK_SIZE)


async def test_a_part_is_found_by_each_of_its_blocks():
    cache = BlockCache(PART_SIZE)

    part = cache.add(KEY, 4 * BLOCK_SIZE, 2 * BLOCK_SIZE + 10)

    places = [4 * BLOCK_SIZE, 5 * BLOCK_SIZE + 7, part.end - 1]
    assert [cache.get(KEY, place) for place in places] == [part] * 3
    assert cache.get(KEY, 4 * BLOCK_SIZE - 1) is None
    assert cache.get(KEY, 7 * BLOCK_SIZE) is None
    assert held(cache) == [4, 5, 6]


async def test_a_part_that_is_being_filled_is_not_evicted():
    cache = BlockCache(BLOCK_SIZE)
    filling = cache.add(KEY, 0, BLOCK_SIZE)
    filling.arrived(BLOCK_SIZE - 1)

    add_filled(cache, 1)
    while_filling = held(cache)
    filling.arrived(1)
    add_filled(cache, 2)

    assert while_filling == [0, 1]
    assert held(cache) == [2]


async def test_a_part_that_is_waited_for_is_not_evicted():
    cache = BlockCache(BLOCK_SIZE)
    part = cache.add(KEY, 0, BLOCK_SIZE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(part.wait, BLOCK_SIZE)
        await trio.testing.wait_all_tasks_blocked()

        part.arrived(BLOCK_SIZE)  # who waits is woken, and has not looked yet
        add_filled(cache, 1)
        while_waited_for = held(cache)

    add_filled(cache, 2)
    assert while_waited_for == [0, 1]
    assert held(cache) == [2]


async def test_a_part_that_is_hashed_is_not_evicted():
    cache = BlockCache(BLOCK_SIZE)
    part = add_filled(cache, 0)
    part.pins += 1

    add_filled(cache, 1)
    while_hashed = held(cache)
    part.pins -= 1
    add_filled(cache, 2)

    assert while_hashed == [0, 1]
    assert held(cache) == [2]


async def test_a_part_that_is_held_back_is_not_evicted():
    cache = BlockCache(BLOCK_SIZE)
    part = add_filled(cache, 0)
    part.is_gated = True

    add_filled(cache, 1)
    while_held_back = held(cache)
    part.release()
    add_filled(cache, 2)

    assert while_held_back == [0, 1]
    assert held(cache) == [2]


async def test_a_dropped_part_makes_room_and_is_fetched_again():
    cache = BlockCache(BLOCK_SIZE)
    part = cache.add(KEY, 0, BLOCK_SIZE)

    cache.drop(part)
    cache.drop(part)

    assert cache.get(KEY, 0) is None
    assert cache.held == 0
    assert cache.has_room(BLOCK_SIZE)


async def test_dropping_a_part_leaves_another_one_over_the_same_blocks():
    cache = BlockCache(PART_SIZE)
    old = cache.add(KEY, 0, 2 * BLOCK_SIZE)
    new = cache.add(KEY, BLOCK_SIZE, BLOCK_SIZE)

    cache.drop(old)

    assert held(cache) == [1]
    assert cache.get(KEY, BLOCK_SIZE) is new


async def test_there_is_no_room_while_every_part_is_being_filled():
    cache = BlockCache(2 * BLOCK_SIZE)
    cache.add(KEY, 0, BLOCK_SIZE)
    has_room_at_first = cache.has_room(BLOCK_SIZE)
    has_room_for_more = cache.has_room(BLOCK_SIZE + 1)
    second = cache.add(KEY, BLOCK_SIZE, BLOCK_SIZE)

    has_room_when_full = cache.has_room(BLOCK_SIZE)
    second.arrived(second.size)

    assert (has_room_at_first, has_room_for_more, has_room_when_full) == (True, False, False)
    assert cache.has_room(BLOCK_SIZE)


# ── what an object is known by ─────────────────────────────────────────────────────────


async def test_another_version_of_an_object_has_other_parts():
    cache = BlockCache(2 * BLOCK_SIZE)
    add_filled(cache, 0)

    assert cache.get(key_of(replace(SOURCE, etag=MD5[::-1])), 0) is None


@pytest.mark.parametrize(
    "change", [{"start": 10}, {"object": "another name"}, {"container": "elsewhere"}]
)
def test_the_same_bytes_are_the_same_wherever_they_are_stored(change):
    assert key_of(replace(SOURCE, **change)) == key_of(SOURCE) == KEY


@pytest.mark.parametrize("change", [{"object": "another name"}, {"container": "elsewhere"}])
@pytest.mark.parametrize("etag", ["", "v2", MD5.upper(), MD5 + "-3"])
def test_an_etag_that_is_no_md5_says_nothing_about_bytes_elsewhere(etag, change):
    source = replace(SOURCE, etag=etag)

    assert key_of(replace(source, **change)) != key_of(source)
    assert key_of(replace(source, start=10)) == key_of(source)
