"""Parts of objects in memory: bounded, found by block, never taken from who needs them."""

from __future__ import annotations

import os
import random
import sys
import threading
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
import trio
import trio.testing
from hypothesis import strategies as st

from swiftimgfs.errors import StoreUnavailableError
from swiftimgfs.layout import Stored
from swiftimgfs.reading.block_cache import (
    BLOCK_SIZE,
    NEVER,
    PART_SIZE,
    BlockCache,
    Part,
    _fresh,
    key_of,
)

MD5 = "0123456789abcdef" * 2
KEY = (MD5, 100 * PART_SIZE)
SOURCE = Stored("c", "o", MD5, 0, 100 * PART_SIZE)


def add_filled(cache: BlockCache, block: int, blocks: int = 1):
    part = cache.add(KEY, block * BLOCK_SIZE, blocks * BLOCK_SIZE)
    part.arrived(part.size)
    return part


def add_part(cache: BlockCache, number: int):
    """Add a whole part, of which buffers are used again."""
    return add_filled(cache, number * PART_SIZE // BLOCK_SIZE, PART_SIZE // BLOCK_SIZE)


def held(cache: BlockCache) -> list[int]:
    return [block for block in range(100) if cache.has(KEY, block)]


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


# ── parts that were read to their end ──────────────────────────────────────────────────


def need_part(part: Part, need: str) -> None:
    match need:
        case "filling":
            part.filled -= 1
        case "pinned":
            part.pins += 1
        case "gated":
            part.is_gated = True
        case "waited for":
            part._waiting += 1


def need_no_more(part: Part, need: str) -> None:
    match need:
        case "filling":
            part.arrived(1)
        case "pinned":
            part.pins -= 1
        case "gated":
            part.release()
        case "waited for":
            part._waiting -= 1


async def test_the_buffers_of_all_but_the_latest_two_parts_that_were_read_are_used_again():
    cache = BlockCache(100 * PART_SIZE)
    views = []

    for number in range(6):
        part = add_part(cache, number)
        views.append(id(part.view))
        cache.read_out(part)

    assert [views.index(view) for view in views] == [0, 1, 2, 0, 1, 2]
    assert cache.held == 3 * PART_SIZE
    kept = [cache.get(KEY, number * PART_SIZE) is not None for number in range(6)]
    assert kept == [False, False, False, True, True, True]


async def test_a_part_that_is_not_read_to_its_end_stays():
    cache = BlockCache(100 * PART_SIZE)
    unread = [add_part(cache, number) for number in range(3)]
    for number in range(3, 9):
        cache.read_out(add_part(cache, number))

    assert [cache.get(KEY, part.start) for part in unread] == unread


async def test_a_block_and_the_short_end_of_an_object_are_never_spent():
    cache = BlockCache(100 * PART_SIZE)
    for number in range(6):
        cache.read_out(add_filled(cache, number))
    for number in range(1, 6):
        cache.read_out(add_part(cache, number))

    assert held(cache)[:6] == list(range(6))


async def test_blocks_read_by_chance_survive_a_large_image_that_is_read_in_order():
    cache = BlockCache(8 * PART_SIZE)
    for block in range(10):
        add_filled(cache, block)

    for number in range(1, 60):
        cache.read_out(add_part(cache, number))

    assert held(cache)[:10] == list(range(10))
    assert cache.held == 10 * BLOCK_SIZE + 3 * PART_SIZE


@pytest.mark.parametrize("need", ["filling", "pinned", "gated", "waited for"])
async def test_a_part_that_was_read_and_is_needed_is_not_used_again(need):
    cache = BlockCache(100 * PART_SIZE)
    first = add_part(cache, 0)
    cache.read_out(first)
    need_part(first, need)
    for number in range(1, 5):
        cache.read_out(add_part(cache, number))
    while_needed = cache.get(KEY, 0)

    need_no_more(first, need)
    after = add_part(cache, 5)

    assert after.view is first.view
    assert cache.held == 5 * PART_SIZE
    assert while_needed is first


async def test_a_spent_part_whose_thread_was_given_up_leaves_its_buffer_to_nobody():
    cache = BlockCache(100 * PART_SIZE)
    first, *others = [add_part(cache, number) for number in range(3)]
    first.abandon()
    for part in (first, *others):
        cache.read_out(part)

    after = add_part(cache, 3)

    assert cache.get(KEY, 0) is None
    assert after.view is not first.view
    assert cache.held == 3 * PART_SIZE


async def test_a_spare_buffer_is_used_before_a_spent_part_is_forgotten():
    cache = BlockCache(100 * PART_SIZE)
    spent = [add_part(cache, number) for number in range(3)]
    spare = add_part(cache, 3)
    for part in spent:
        cache.read_out(part)
    cache.drop(spare)

    again = add_part(cache, 4)

    assert again.view is spare.view
    assert [cache.get(KEY, part.start) for part in spent] == spent


async def test_what_was_forgotten_before_it_was_read_to_its_end_is_in_nobodys_way():
    cache = BlockCache(100 * PART_SIZE)
    for number in range(3):
        part = add_part(cache, number)
        cache.drop(part)
        cache.read_out(part)

    for number in range(9):
        cache.read_out(add_part(cache, number))

    assert cache.held == 3 * PART_SIZE


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


# ── who waits ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def part():
    return BlockCache(BLOCK_SIZE).add(KEY, BLOCK_SIZE, BLOCK_SIZE)


async def test_a_waiter_that_was_cancelled_holds_nothing(autojump_clock):
    cache = BlockCache(BLOCK_SIZE)
    part = cache.add(KEY, 0, BLOCK_SIZE)

    with trio.move_on_after(1):
        await part.wait(1)
    part.arrived(BLOCK_SIZE)
    add_filled(cache, 1)

    assert held(cache) == [1]


async def test_who_waits_goes_on_as_soon_as_its_bytes_are_there(part):
    done = []

    async def wait(count):
        await part.wait(part.start + count)
        done.append(count)

    async with trio.open_nursery() as nursery:
        for count in (300, 100, 200):
            nursery.start_soon(wait, count)
        for count in (99, 1, 99, 1):
            await trio.testing.wait_all_tasks_blocked()
            part.arrived(count)
        await trio.testing.wait_all_tasks_blocked(0.01)
        done_by_200 = list(done)
        part.arrived(100)

    assert done_by_200 == [100, 200]
    assert not part.is_settled


async def test_who_waits_for_a_part_that_is_held_back_goes_on_when_it_is_released(part):
    part.is_gated = True
    done = trio.Event()

    async def wait():
        await part.wait(part.start + 1)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        part.arrived(part.size)
        part.wake()
        await trio.testing.wait_all_tasks_blocked(0.01)
        was_done = done.is_set()
        part.release()

    assert not was_done


async def test_a_failure_is_told_to_who_waits_unless_its_bytes_had_come(part):
    part.arrived(100)

    part.failed(StoreUnavailableError("down"))

    await part.wait(part.start + 100)
    with pytest.raises(StoreUnavailableError, match="down"):
        await part.wait(part.start + 101)


async def test_a_failure_wakes_who_waits_already(part):
    told = []

    async def wait(count):
        with pytest.raises(StoreUnavailableError, match="down"):
            await part.wait(part.start + count)
        told.append(count)

    async with trio.open_nursery() as nursery:
        for count in (1, 2, 3):
            nursery.start_soon(wait, count)
        await trio.testing.wait_all_tasks_blocked()
        part.failed(StoreUnavailableError("down"))

    assert sorted(told) == [1, 2, 3]
    assert part.is_evictable


@pytest.fixture
def hasty_threads():
    """Have the interpreter change threads all the time."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("seed", range(4))
async def test_no_wake_up_is_lost_between_the_thread_and_those_who_wait(hasty_threads, seed):
    """A thread fills part after part by the byte, while tasks wait for each place of them."""
    chance = random.Random(seed)
    cache = BlockCache(0)

    async def wait_here_and_there(part, places):
        for place in places:
            await part.wait(part.start + place)
            assert part.filled >= place

    def fill(part):
        while part.filled < part.size:
            part.arrived(1)

    for number in range(300):
        part = cache.add(KEY, number * BLOCK_SIZE, chance.choice([1, 2, 10, 1000]))
        thread = threading.Thread(target=fill, args=[part])
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    count = min(part.size, 20)
                    places = sorted(chance.sample(range(1, part.size + 1), count))
                    nursery.start_soon(wait_here_and_there, part, places)
                thread.start()
        thread.join()
        assert part.is_evictable


async def test_what_arrives_between_looking_and_saying_who_waits_is_seen():
    class Hurried(Part):
        """Its thread is quicker than the task that is about to say that it waits."""

        __slots__ = ("_said",)

        @property
        def _wanted(self):
            return self._said

        @_wanted.setter
        def _wanted(self, value):
            if value < NEVER:
                self.arrived(1)
            self._said = value

    part = Hurried(KEY, 0, memoryview(bytearray(1)))

    with trio.fail_after(20):
        await part.wait(1)

    assert part.is_evictable
