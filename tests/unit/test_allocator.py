"""Freed memory is kept while something is written, and given back afterwards."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from swiftimgfs.writing.allocator import IDLE_SECONDS, give_back_when_idle
from swiftimgfs.writing.budget import DirtyBudget

if TYPE_CHECKING:
    from trio.testing import MockClock

# In a process of its own: what the C library is told holds for all that follows.
PROGRAM = """
import ctypes
from pathlib import Path
from swiftimgfs.writing.allocator import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256

keep_freed_memory(512 * 1024 * 1024)
buffers = [b"x" * 1024 * 1024 for _ in range(1, 101)]
buffers = [bytes(bytearray(1024 * 1024)) for _ in range(100)]
full = resident()
buffers.clear()
kept = resident()
ctypes.CDLL(None).malloc_trim(0)
print(full > 100, full - kept < 10, kept - resident() > 90)
"""


def test_what_is_freed_stays_until_it_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == ["True"] * 3


async def test_memory_is_given_back_once_nothing_was_written_for_a_while(
    autojump_clock: MockClock, nursery: trio.Nursery
):
    budget, given_back = DirtyBudget(100, 100), []

    async def compute(blocking):
        given_back.append(trio.current_time())

    nursery.start_soon(give_back_when_idle, budget, compute)
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
