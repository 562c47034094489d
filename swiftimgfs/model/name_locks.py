"""Who changes what Swift has under a name holds that name.

Swift's PUT and DELETE have no condition but If-None-Match. So the last step of a commit, the
removal of a name, and what else this mount stores under it go one after the other: a commit
that is on its way when its image is removed would make it again, and the DELETE of a removed
image could hit the one that has come in its place. Other hosts are not held off by this.

A name is held over a few requests. Who has an image's writer as well (a commit, a rename) has
locked that before; docs/concurrency.md has the order of all locks.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swiftimgfs.model.paths import StorePath


class NameLocks:
    """The names that somebody in this mount holds."""

    def __init__(self) -> None:
        self._locks: dict[StorePath, trio.Lock] = {}

    @contextlib.asynccontextmanager
    async def holding(self, path: StorePath) -> AsyncIterator[None]:
        """While this is entered nobody else of this mount changes what has a name."""
        lock = self._locks.setdefault(path, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():  # a lock that somebody waits for goes on to him
                self._locks.pop(path, None)
