"""How the C library keeps the memory of buffers that were written, and gives it back.

The kernel's buffers come as `bytes` of up to 1 MiB, live until Swift has them, and are freed
in about the order in which they came. As it comes, glibc returns what is free at the end of
the heap to the system at once, and has each page zeroed and mapped again for the next write:
a tenth of the CPU time of writing (1 GiB in order to a server that keeps nothing, 2 cores:
424 MB/s as it comes, 497 MB/s like this). So the heap is kept while there is something to
write, and given back when there was nothing for a while, or when readers fill what the
memory budget has left of it.

On another C library nothing is done. Source: mallopt(3), malloc_trim(3), mallinfo2(3).
"""

from __future__ import annotations

import ctypes
import logging
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swiftimgfs.writing.budget import DirtyBudget

    Compute = Callable[[Callable[[], None]], Awaitable[None]]

log = logging.getLogger(__name__)


class _MallInfo(ctypes.Structure):
    """What mallinfo2(3) returns, since glibc 2.33."""

    _fields_ = tuple(  # type: ignore[mutable-override]  # typeshed says it may be assigned
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


# Of malloc.h.
M_TRIM_THRESHOLD: Final = -1
M_TOP_PAD: Final = -2
M_MMAP_THRESHOLD: Final = -3

LARGEST_IN_HEAP: Final = 4 * 1024 * 1024  # larger blocks are mapped and unmapped each
GROWTH: Final = 16 * 1024 * 1024  # what the heap grows by
IDLE_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.25  # how often readers are looked for, while something is written
# That may be kept besides: 20 ms to give back and to have again.
SLACK: Final = 32 * 1024 * 1024


def keep_freed_memory(limit: int) -> None:
    """Have up to `limit` bytes stay in the process that were freed."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    for parameter, value in (
        (M_TRIM_THRESHOLD, limit),
        (M_TOP_PAD, GROWTH),
        (M_MMAP_THRESHOLD, LARGEST_IN_HEAP),
    ):
        if not library.mallopt(parameter, min(value, 2**31 - 1)):
            log.debug("mallopt refused parameter=%d value=%d", parameter, value)


def freed_memory() -> int:
    """Return how many bytes are kept that were freed; 0 where the C library does not tell."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return 0
    library.mallinfo2.restype = _MallInfo
    return int(library.mallinfo2().fordblks)


def give_back() -> None:
    """Give back to the system what is free; blocks for up to 0.1 s."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


async def give_back_in_time(
    budget: DirtyBudget, room: Callable[[], int], compute: Compute
) -> None:
    """Give freed memory back when somebody else needs it, or nobody; never returns.

    Args:
        budget: Of what waits for Swift.
        room: Returns how many bytes of the mount's memory are nobody's.
        compute: Runs what blocks in a thread.
    """
    while True:
        await budget.filled()
        while budget.used:
            with trio.move_on_after(LOOK_SECONDS):
                await budget.emptied()
            if freed_memory() > room() + SLACK:
                await compute(give_back)
        with trio.move_on_after(IDLE_SECONDS) as pause:
            await budget.filled()
        if pause.cancelled_caught:
            await compute(give_back)
