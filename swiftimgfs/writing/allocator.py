"""How the C library keeps the memory of buffers that were written, and gives it back.

The kernel's buffers come as `bytes` of up to 1 MiB, live until Swift has them, and are freed
in about the order in which they came. As it comes, glibc returns what is free at the end of
the heap to the system at once, and has each page zeroed and mapped again for the next write:
a tenth of the CPU time of writing (1 GiB in order to a server that keeps nothing, 2 cores:
424 MB/s as it comes, 497 MB/s like this). So the heap is kept while there is something to
write, and given back when there was nothing for a while.

On another C library nothing is done. Source: mallopt(3), malloc_trim(3).
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

# Of malloc.h.
M_TRIM_THRESHOLD: Final = -1
M_TOP_PAD: Final = -2
M_MMAP_THRESHOLD: Final = -3

LARGEST_IN_HEAP: Final = 4 * 1024 * 1024  # larger blocks are mapped and unmapped each
GROWTH: Final = 16 * 1024 * 1024  # what the heap grows by
IDLE_SECONDS: Final = 5.0


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


async def give_back_when_idle(budget: DirtyBudget, compute: Compute) -> None:
    """Give freed memory back whenever nothing has waited for Swift for a while; never returns."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        return
    while True:
        await budget.filled()
        await budget.emptied()
        with trio.move_on_after(IDLE_SECONDS) as pause:
            await budget.filled()
        if pause.cancelled_caught:
            await compute(lambda: library.malloc_trim(0))
