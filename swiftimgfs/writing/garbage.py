"""What was replaced or removed, on its way out: now, or after it was kept for a while.

Every deletion has an entry in the journal that ends with it. When the mount ends first, or
Swift cannot be reached, the entry stays, and the next mount of the account goes on.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

import trio

from swiftimgfs import errors
from swiftimgfs.writing.deletion import delete_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.deletion import ObjectName

log = logging.getLogger(__name__)


class Entry(Protocol):
    """The journal's entry of a deletion."""

    async def delete_after(self, moment: float) -> None:
        """Note when it may be done."""
        ...

    async def finished(self) -> None:
        """Note that it is done."""
        ...


class Garbage:
    """Deletes for one mount."""

    def __init__(
        self, store: ImageStore, nursery: trio.Nursery, keep_seconds: float = 0.0
    ) -> None:
        """Delete from `store`; `nursery` runs what is deleted `keep_seconds` later."""
        self._store: Final = store
        self._nursery: Final = nursery
        self._keep_seconds: Final = keep_seconds

    async def discard(self, objects: Sequence[ObjectName], entry: Entry | None = None) -> None:
        """Delete objects that the image they were of names no more, then end `entry`.

        What may be deleted later is put off here until then, in the background, and kept
        from the next mount too.
        """
        if not objects or not self._keep_seconds:
            await self._delete(objects, entry)
            return
        if entry is not None:
            try:
                await entry.delete_after(time.time() + self._keep_seconds)
            except errors.HostDiskError as failure:
                log.warning("replaced segments may go early reason=%s", failure)
        self._nursery.start_soon(self._delete_later, objects, entry)

    async def _delete_later(self, objects: Sequence[ObjectName], entry: Entry | None) -> None:
        await trio.sleep(self._keep_seconds)
        await self._delete(objects, entry)

    async def _delete(self, objects: Sequence[ObjectName], entry: Entry | None) -> None:
        undeleted = await delete_objects(self._store, objects)
        # Trying what is refused again at each mount would help nobody: that is for gc.
        if entry is not None and not any(u.is_worth_another_try for u in undeleted):
            await entry.finished()
