"""A range of one stored object as chunks that survive broken connections.

The place of Glance's `swift_retry_iter`, without its defects: a retry asks for the next
byte under `If-Match`, waits longer each time, insists on the range that it asked for, and
ends in an error, never in a short image.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Protocol

import trio

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from swiftimgfs.layout import Stored

log = logging.getLogger(__name__)


class Body(Protocol):
    """The answer to a ranged GET."""

    async def readinto(self, buffer: memoryview) -> int:
        """Fill the start of `buffer`; return how many bytes came, one at least."""
        ...


class RangeStore(Protocol):
    """What reading needs of the store."""

    def open_range(self, source: Stored, size: int) -> AbstractAsyncContextManager[Body]:
        """Lend the answer to a GET of `size` bytes from where `source` starts."""
        ...


class Retry(Protocol):
    """How often a broken range is taken up again, and how long to wait before."""

    @property
    def tries(self) -> int:
        """Tries in all."""
        ...

    def wait_before(self, attempt: int, failure: errors.SwiftImgFsError) -> float:
        """Seconds to wait before try number `attempt`."""
        ...


async def resumable_chunks(
    store: RangeStore, source: Stored, buffers: Sequence[memoryview], retry: Retry
) -> AsyncGenerator[int, None]:
    """Fill `buffers`, one after the other, from where `source` starts.

    Yields:
        How many bytes more are in place, after each chunk. Iterate under `aclosing`.

    Raises:
        ImageChangedError: The object is gone or another one now.
        StoreUnavailableError: The tries are used up.
    """
    size = sum(len(buffer) for buffer in buffers)
    done = 0
    for attempt in itertools.count(2):
        try:
            async with store.open_range(source.advance(done), size - done) as body:
                while done < size:
                    count = await body.readinto(_rest_of(buffers, done))
                    done += count
                    yield count
        except errors.BrokenBodyError as failure:
            if attempt > retry.tries:
                raise
            wait = retry.wait_before(attempt, failure)
            log.warning("resuming at=%d of=%d wait=%.1f reason=%s", done, size, wait, failure)
            await trio.sleep(wait)
        else:
            return


def _rest_of(buffers: Sequence[memoryview], done: int) -> memoryview:
    """Return what is still empty of the buffer that byte number `done` belongs to."""
    for buffer in buffers:
        if done < len(buffer):
            return buffer[done:]
        done -= len(buffer)
    return memoryview(b"")
