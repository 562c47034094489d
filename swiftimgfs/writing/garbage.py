"""What was replaced or removed, on its way out: now, or after it was kept for a while.

What Swift does not delete now is tried again in the background, for as long as the mount
lives. Every deletion has an entry in the journal that ends with it: when the mount ends
first, the entry stays, and the next mount of the account goes on.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

import trio

from swiftimgfs import errors
from swiftimgfs.writing.deletion import CLEAN_UP_SECONDS, delete_objects
from swiftimgfs.writing.sight import image_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.deletion import ObjectName

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 10.0  # seconds, doubling, before what failed is tried again
LONGEST_WAIT: Final = 600.0
# By then no request of before is on its way, unless somebody raised `timeout`, a minute, so far;
# what comes later still is found by gc.
SETTLED_AFTER: Final = 300.0
# By then a commit of another host has ended that had looked at the image before ours changed it.
# Of two edits that were committed on an idle Swift, 100 ms apart, each had looked before.
OTHERS_COMMIT: Final = 2.0


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
        self,
        store: ImageStore,
        nursery: trio.Nursery,
        keep_seconds: float = 0.0,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        """Delete from a store.

        Args:
            store: Where objects are.
            nursery: Runs what is deleted later.
            keep_seconds: How long what was replaced or removed stays.
            first_wait: Seconds until what could not be deleted is tried again.
        """
        self._first_wait: Final = first_wait
        self._store: Final = store
        self._nursery: Final = nursery
        self._keep_seconds: Final = keep_seconds

    async def discard(
        self,
        objects: Sequence[ObjectName],
        entry: Entry | None = None,
        image: ObjectName | None = None,
        *,
        is_edit: bool = False,
    ) -> None:
        """Delete objects that the image they were of names no more, then end `entry`.

        What may be deleted later is put off here until then, in the background, and kept
        from the next mount too.

        Two hosts can have edited one version at the same time, and neither is told: Swift has
        no If-Match for a PUT. The later one names segments that the earlier has replaced. So
        what an edit replaced goes a moment later, in the background or at the unmount.

        Args:
            objects: What to delete.
            entry: The journal's of it.
            image: Whose objects they were; what has its name when they go keeps what it names.
            is_edit: They are what an edit of that image replaced.
        """
        if objects and self._keep_seconds:
            await self._keep(objects, entry, image)
        elif objects and is_edit:
            self._nursery.start_soon(self._delete_soon, objects, entry, image)
        else:
            await self._delete(objects, entry, image)

    async def _keep(
        self, objects: Sequence[ObjectName], entry: Entry | None, image: ObjectName | None
    ) -> None:
        if entry is not None:
            try:
                await entry.delete_after(time.time() + self._keep_seconds)
            except errors.HostDiskError as failure:
                log.warning("replaced segments may go early reason=%s", failure)
        self._nursery.start_soon(self._delete_later, objects, entry, image)

    def go_on(self, objects: Sequence[ObjectName], entry: Entry) -> None:
        """Delete in the background what an upload that was given up could not, then end `entry`.

        Not before none of its requests can be on its way any more: what came afterwards would
        be known to nobody.
        """
        self._nursery.start_soon(self._try_again, objects, entry, SETTLED_AFTER)

    async def _delete_later(
        self, objects: Sequence[ObjectName], entry: Entry | None, image: ObjectName | None
    ) -> None:
        await trio.sleep(self._keep_seconds)
        await self._delete(objects, entry, image)

    async def _delete_soon(
        self, objects: Sequence[ObjectName], entry: Entry | None, image: ObjectName | None
    ) -> None:
        try:
            await trio.sleep(OTHERS_COMMIT)
        finally:
            with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
                await self._delete(objects, entry, image)

    async def _delete(
        self, objects: Sequence[ObjectName], entry: Entry | None, image: ObjectName | None
    ) -> None:
        left = await self._delete_once(objects, entry, image)
        if left:
            self._nursery.start_soon(self._try_again, left, entry, self._first_wait, image)

    async def _delete_once(
        self, objects: Sequence[ObjectName], entry: Entry | None, image: ObjectName | None
    ) -> Sequence[ObjectName]:
        """Delete objects; return those that may go later. What is refused is for gc."""
        try:
            unnamed = await self._unnamed(objects, image)
        except errors.SwiftImgFsError as failure:
            log.warning("replaced segments stay for now reason=%s", failure)
            return objects
        undeleted = await delete_objects(self._store, unnamed)
        left = [(u.container, u.name) for u in undeleted if u.is_worth_another_try]
        if entry is not None and not left:
            await entry.finished()
        return left

    async def _unnamed(
        self, objects: Sequence[ObjectName], image: ObjectName | None
    ) -> Sequence[ObjectName]:
        """Return what the image does not name that has the name now."""
        if image is None or not objects:
            return objects
        now = await image_now(self._store.newest(), *image)
        named = {*now.parts} if now is not None else set()
        return [one for one in objects if one not in named]

    async def _try_again(
        self,
        objects: Sequence[ObjectName],
        entry: Entry | None,
        wait: float,
        image: ObjectName | None = None,
    ) -> None:
        while objects:
            await trio.sleep(wait)
            objects = await self._delete_once(objects, entry, image)
            wait = min(wait * 2, LONGEST_WAIT)
