"""Freed memory is kept while something is written, and given back afterwards."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from swiftimgfs.writing import allocator
from swiftimgfs.writing.allocator import IDLE_SECONDS, LOOK_SECONDS, SLACK, give_back_in_time
from swiftimgfs.writing.budget import DirtyBudget

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

# In a process of its own: what the C library is told holds for all that follows.
PROGRAM = """
from pathlib import Path
from swiftimgfs.writing.allocator import freed_memory, give_back, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256

keep_freed_memory(512 * 1024 * 1024)
buffers = [b"x" * 1024 * 1024 for _ in range(1, 101)]
buffers = [bytes(bytearray(1024 * 1024)) for _ in range(100)]
full = resident()
buffers.clear()
kept = resident()
known = freed_memory()
give_back()
print(full > 100, full - kept < 10, known > 90 * 1024 * 1024, kept - resident() > 90)
"""


def test_what_is_freed_stays_until_it_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == ["True"] * 4


async def test_memory_is_given_back_once_nothing_was_written_for_a_while(
    autojump_clock: MockClock, nursery: trio.Nursery
):
    budget, given_back = DirtyBudget(100, 100), []

    async def compute(blocking):
        given_back.append(trio.current_time())

    nursery.start_soon(give_back_in_time, budget, lambda: 2**40, compute)
    await trio.testing.wait_all_tasks_blocked()
    started = trio.current_time()
    for _ in range(3):  # with pauses that are no end
        budget.adjust(10, 0)
        await trio.sleep(1)
        budget.adjust(-10, 0)
        await trio.sleep(1)
    budget.adjust(10, 0)
    await trio.sleep(20)
    assert not given_back

    budget.adjust(-10, 0)
    await trio.sleep(2 * IDLE_SECONDS)
    assert given_back == [started + 26 + IDLE_SECONDS]


async def test_memory_is_given_back_to_readers_that_need_it(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
):
    budget, given_back, room = DirtyBudget(100, 100), [], [SLACK]
    monkeypatch.setattr(allocator, "freed_memory", lambda: 2 * SLACK)

    async def compute(blocking):
        given_back.append(trio.current_time())

    nursery.start_soon(give_back_in_time, budget, lambda: room[0], compute)
    budget.adjust(10, 0)
    await trio.sleep(10)
    assert not given_back

    room[0] -= 1
    await trio.sleep(2 * LOOK_SECONDS)
    assert given_back
