"""Who waits for bytes of a part: woken as soon as they are there, or told that they do not come."""

from __future__ import annotations

import random
import sys
import threading

import pytest
import trio
import trio.testing

from swiftimgfs.errors import StoreUnavailableError
from swiftimgfs.reading.block_cache import BLOCK_SIZE, NEVER, BlockCache, Part
from tests.support.parts import KEY, add_filled, held


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
