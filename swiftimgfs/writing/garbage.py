"""What was replaced or removed, on its way out: now, or after it was kept for a while.

What Swift does not delete now is tried again in the background, for as long as the mount
lives. Every deletion has an entry in the journal that ends with it: when the mount ends
first, the entry stays, and the next mount of the account goes on.

Swift has no If-Match for a PUT. So another host may have looked at an image before it was
replaced or removed here, and store its own version afterwards, of segments that are to go:

- what was replaced goes a moment later, but for what the image names by then;
- what was removed goes at once. If it comes back of segments that are gone, it is removed
  again: as if the other host had stored it just before;
- what somebody has renamed meanwhile keeps what it names under its new name, and what
  replaced it here gets its own name again, if that rename has taken it away.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.writing.deletion import CLEAN_UP_SECONDS, delete_objects
from swiftimgfs.writing.doomed import Doomed, remove_again, unnamed

if TYPE_CHECKING:
    from collections.abc import Collection

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.deletion import ObjectName
    from swiftimgfs.writing.doomed import Entry

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 10.0  # seconds, doubling, before what failed is tried again
LONGEST_WAIT: Final = 600.0
# By then no request of before is on its way, unless somebody raised `timeout`, a minute, so far;
# what comes later still is found by gc.
SETTLED_AFTER: Final = 300.0
# By then a commit of another host has ended that had looked at the image before ours changed it.
# Of two edits that were committed on an idle Swift, 100 ms apart, each had looked before.
OTHERS_COMMIT: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Wait:
    """For what is put off: `over` ends the wait, `gone` tells that it was deleted."""

    is_short: bool
    over: trio.Event
    gone: trio.Event


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
        self._waiting: Final[dict[Doomed, _Wait]] = {}

    async def discard(self, doomed: Doomed) -> None:
        """Delete what no image names any more, then end its entry; now, or in the background.

        What is kept for long, because that was asked for, is kept from the next mount too.
        What waits for a moment only is deleted at the end of that, also when the mount ends.
        """
        seconds = self._keep_seconds
        if not doomed.is_removed:
            seconds = max(seconds, OTHERS_COMMIT)
        if not seconds or not (doomed.objects or doomed.anchor):
            await self._delete(doomed)
            return
        is_short = seconds <= OTHERS_COMMIT
        if doomed.entry is not None and not is_short:
            try:
                await doomed.entry.delete_after(time.time() + seconds)
            except errors.HostDiskError as failure:
                log.warning("replaced segments may go early reason=%s", failure)
        self._waiting[doomed] = _Wait(is_short, trio.Event(), trio.Event())
        self._nursery.start_soon(self._delete_later, doomed, seconds)

    async def hurry(self, container: str) -> None:
        """Return after all is deleted that only waited for a moment and was of a container.

        Of a container that has no images any more nobody can store one.
        """
        waits = [
            wait
            for doomed, wait in self._waiting.items()
            if wait.is_short and container in _containers_of(doomed)
        ]
        for wait in waits:
            wait.over.set()
        for wait in waits:
            await wait.gone.wait()

    def go_on(self, objects: Collection[ObjectName], entry: Entry) -> None:
        """Delete in the background what an upload that was given up could not, then end `entry`.

        Not before none of its requests can be on its way any more: what came afterwards would
        be known to nobody.
        """
        self._nursery.start_soon(self._try_again, Doomed(objects, entry), SETTLED_AFTER)

    async def _delete_later(self, doomed: Doomed, seconds: float) -> None:
        wait = self._waiting[doomed]
        try:
            with trio.CancelScope(shield=wait.is_short), trio.move_on_after(seconds):
                await wait.over.wait()
            await self._delete(doomed)
        except trio.Cancelled:  # what is kept for longer is left to the next mount
            if wait.is_short:
                with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
                    await self._delete(doomed)
            raise
        finally:
            del self._waiting[doomed]
            wait.gone.set()

    async def _delete(self, doomed: Doomed) -> None:
        # Its successor may have a successor, which has the image's name now.
        latest = next((d for d in reversed(self._waiting) if d.image == doomed.image), doomed)
        doomed = replace(doomed, successor=latest.successor)
        left = await self._delete_once(doomed)
        if left:
            again = replace(doomed, objects=left)
            self._nursery.start_soon(self._try_again, again, self._first_wait)
        if doomed.is_removed and doomed.objects:
            self._nursery.start_soon(self._look_back, doomed)

    async def _delete_once(self, doomed: Doomed) -> Collection[ObjectName]:
        """Delete objects; return those that may go later. What is refused is for gc."""
        try:
            objects = await unnamed(self._store.newest(), doomed)
        except errors.SwiftImgFsError as failure:
            log.warning("replaced segments stay for now reason=%s", failure)
            return doomed.objects
        undeleted = await delete_objects(self._store, objects)
        left = [(u.container, u.name) for u in undeleted if u.is_worth_another_try]
        if doomed.entry is not None and not left:
            await doomed.entry.finished()
        return left

    async def _try_again(self, doomed: Doomed, wait: float) -> None:
        while doomed.objects:
            await trio.sleep(wait)
            doomed = replace(doomed, objects=await self._delete_once(doomed))
            wait = min(wait * 2, LONGEST_WAIT)

    async def _look_back(self, doomed: Doomed) -> None:
        """Look once more at what was removed, unless the mount ends before."""
        await trio.sleep(OTHERS_COMMIT)
        try:
            await remove_again(self._store.newest(), doomed)
        except errors.SwiftImgFsError as failure:
            log.warning("removed image not looked at again reason=%s", failure)


def _containers_of(doomed: Doomed) -> set[str]:
    """Return the containers of an image and of what it was made of."""
    names = {container for container, _ in doomed.objects}
    return names if doomed.image is None else {*names, doomed.image[0]}
