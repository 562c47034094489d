"""A range of one stored object, fetched whatever happens to connections.

The place of Glance's `swift_retry_iter`, without its defects: a retry asks for the next byte
under `If-Match`, waits longer each time, insists on the range that it asked for, and ends in
an error, never in a short image. A try that says nothing for too long is given up and made
again at once.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Protocol

import trio

from swiftimgfs import errors

if TYPE_CHECKING:
    from swiftimgfs.layout import Stored
    from swiftimgfs.store.wire import Target

log = logging.getLogger(__name__)


class RangeStore(Protocol):
    """What reading needs of the store."""

    async def fetch_range(self, source: Stored, target: Target, patience: float) -> None:
        """Make one try to get what `target` still lacks, from where `source` starts.

        Raises:
            StalledError: Nothing came for `patience` seconds.
        """
        ...


class Retry(Protocol):
    """How often a broken range is taken up again, and how long to wait before."""

    @property
    def tries(self) -> int:
        """Tries in all."""
        ...

    @property
    def patience(self) -> float:
        """Seconds without a byte, after which the first try is given up."""
        ...

    def wait_before(self, attempt: int, failure: errors.SwiftImgFsError) -> float:
        """Seconds to wait before try number `attempt`."""
        ...


async def fetch_whole(store: RangeStore, source: Stored, target: Target, retry: Retry) -> None:
    """Fill `target` from where `source` starts.

    Each try waits twice as long for a byte as the one before, so that a store that is only
    slow is waited for in the end.

    Raises:
        ImageChangedError: The object is gone or another one now.
        StoreUnavailableError: The tries are used up.
    """
    patience = retry.patience
    for attempt in itertools.count(2):
        try:
            await _try(store, source, target, patience)
        except errors.SwiftImgFsError as failure:
            if target.filled == target.size:  # it broke behind the last byte
                return
            if not failure.is_transient or attempt > retry.tries:
                raise
            is_stalled = isinstance(failure, errors.StalledError)
            wait = 0.0 if is_stalled else retry.wait_before(attempt, failure)
            patience *= 2 if is_stalled else 1
            log.warning(
                "resuming at=%d of=%d wait=%.1f reason=%s",
                target.filled,
                target.size,
                wait,
                failure,
            )
            await trio.sleep(wait)
        else:
            return


async def _try(store: RangeStore, source: Stored, target: Target, patience: float) -> None:
    """Make one try; one that ends without all bytes is broken, whatever it says."""
    await store.fetch_range(source.advance(target.filled), target, patience)
    if target.filled < target.size:
        raise errors.BrokenBodyError(f"{source.container}/{source.object}: ended early")
