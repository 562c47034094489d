"""What a mount that died left behind: finished or cleaned up by the next one.

For each upload in a session whose owner is dead, Swift is asked what came true:

| the journal says | what is done |
|---|---|
| uploading | nothing names what it stored: all of that goes |
| committing, and the image is the new one | it is stored, whether or not anybody heard of it: what it replaced goes |
| committing, and it is not | its PUT may still be on its way in Swift: once it would have come, all that was stored goes, but for what any manifest of the account names |
| committed | what was replaced goes, once it need not be kept any more |
| interrupted | its bytes are here, and nobody was told an errno: it is stored, if the image is still the one that was opened; else it has failed |
| failed | its bytes are here, and somebody was told so: it waits for `swiftimgfs retry` |

Invariant: nothing is deleted that the image names which has the name now, as the newest
replica tells it. An image that somebody else changed meanwhile is never touched.

What cannot be done now, because Swift cannot be reached, stays in the journal and is done
at the next mount.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.writing.claims import Claims, read_claims
from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.journal import Journal, errno_name_of, on_disk
from swiftimgfs.writing.resumption import claimed_object, uploaded_objects
from swiftimgfs.writing.sight import Sight, image_now
from swiftimgfs.writing.state_directory import (
    Damaged,
    Found,
    remove_upload,
    write_record,
    write_waiting,
)
from swiftimgfs.writing.upload_record import Attempt, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.journal import Compute, JournalEntry
    from swiftimgfs.writing.state_directory import Session, StateDirectory
    from swiftimgfs.writing.upload_record import ObjectName, UploadRecord

    SendAgain = Callable[[Found, JournalEntry], Awaitable[None]]

log = logging.getLogger(__name__)

AT_ONCE: Final = 4  # uploads that are looked after; those that wait do not count
STRANGERS_AFTER: Final = 300.0  # seconds; clocks differ, and a PUT is tried again
OLD_IMAGE: Final = "the image is as it was before"
NEW_IMAGE: Final = "the image was stored"


class Recovery:
    """Goes on with what dead mounts of one account left, in the background of a mount."""

    def __init__(
        self,
        store: ImageStore,
        state: StateDirectory,
        account: str,
        compute: Compute,
        *,
        settle_seconds: float,
        send_again: SendAgain,
    ) -> None:
        """Recover uploads to `account`.

        Args:
            store: Of the account.
            state: Where the journals are.
            account: Its URL.
            compute: Runs what blocks in a thread.
            settle_seconds: How long a request may be on its way in Swift after who sent it
                has died.
            send_again: Stores an upload whose bytes are here, and ends its entry.
        """
        self._store: Final = store
        self._newest: Final = store.newest()
        self._state: Final = state
        self._account: Final = account
        self._compute: Final = compute
        self._settle_seconds: Final = settle_seconds
        self._send_again: Final = send_again
        self._turns = trio.Semaphore(AT_ONCE)

    async def run(self, *, only_kept: bool = False) -> None:
        """Return after everything is done that can be done; failures are in the log.

        With `only_kept` that is done of which there are bytes here, and the rest is left.
        """
        sessions: list[Session] = []
        await self._compute(lambda: sessions.extend(self._state.take_over(self._account)))
        try:
            async with trio.open_nursery() as nursery:
                for session in sessions:
                    for found in session.uploads():
                        if not only_kept or (isinstance(found, Found) and found.has_bytes):
                            nursery.start_soon(self._recover, session, found)
        finally:
            for session in sessions:
                session.close()

    async def _recover(self, session: Session, found: Found | Damaged) -> None:
        if isinstance(found, Damaged):
            log.error("damaged journal path=%s reason=%s", found.path, found.reason)
            return
        record = found.record
        try:
            if record.state is State.FAILED:
                await on_disk(self._compute, lambda: session.keep(found.path))
            elif record.state is State.INTERRUPTED:
                await self._finish(session, found)
            else:
                await self._look_after(session, found)
        except errors.SwiftImgFsError as failure:
            log.error(  # noqa: TRY400  # a reason, and no defect
                "not recovered, the next mount tries again image=%s state=%s reason=%s",
                record.image,
                record.state,
                failure,
            )

    # ── what is to be stored ───────────────────────────────────────────────────────────

    async def _finish(self, session: Session, found: Found) -> None:
        record = found.record
        entry = Journal(session, self._compute).resume(found.path, record)
        try:
            async with self._turns:
                await self._send_again(found, entry)
        except errors.SwiftImgFsError as failure:
            await entry.keep(
                record.recipe or {}, found.spool, str(failure), errno_name_of(failure)
            )
            return
        log.info("recovered image=%s outcome=%s", record.image, "its bytes were sent")

    # ── what is to be cleaned up ───────────────────────────────────────────────────────

    async def _look_after(self, session: Session, found: Found) -> None:
        record = found.record
        write_waiting(found.path, "")  # of who recovered it before us, and has left
        await self._wait(found, record.delete_after - time.time(), "to keep what was replaced")
        deleted = 0
        if record.state is State.UPLOADING and record.recipe is None:
            deleted += await self._delete_uploaded(found)
        sight = await self._look(found)
        if not sight.is_final(record) and (wait := self._unsettled_seconds(record)) > 0:
            log.info(
                "waiting for what Swift may still do image=%s wait=%.0f s", record.image, wait
            )
            await self._wait(found, wait, "for what Swift may still do")
            sight = await self._look(found)
        stored = _stored(record, sight)
        if stored is None and record.recipe is not None:
            await self._keep_again(session, found)
            return
        if stored is not None and record.moved_from is not None:
            await self._end_move(record.moved_from, sight)
        deleted += await self._delete(await self._doomed(record, sight, stored))
        await on_disk(self._compute, lambda: remove_upload(found.path))
        outcome = NEW_IMAGE if stored is not None else OLD_IMAGE
        log.info("recovered image=%s outcome=%s deleted=%d", record.image, outcome, deleted)

    async def _wait(self, found: Found, seconds: float, what: str) -> None:
        """Sleep, and let who looks at the state directory know until when, and what for."""
        if seconds <= 0:
            return
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        write_waiting(found.path, f"waits until {until} {what}")
        await trio.sleep(seconds)
        write_waiting(found.path, "")

    def _unsettled_seconds(self, record: UploadRecord) -> float:
        # A clock that was set back must not have us wait for years.
        age = max(0.0, time.time() - record.changed)
        return self._settle_seconds - age

    async def _doomed(
        self, record: UploadRecord, sight: Sight, stored: Attempt | None
    ) -> Collection[ObjectName]:
        """Return what is to be deleted."""
        doomed = sight.not_named(sight.uploaded)
        is_ours = sight.stored_attempt(record) is not None
        if doomed and not is_ours and record.attempts:
            # Stored, perhaps, and renamed by somebody since: only all manifests can tell.
            claims = await read_claims(self._newest, since_ns=sight.oldest_ns)
            doomed = claims.unnamed(doomed)
        if stored is not None:
            doomed |= sight.not_named(stored.replaced)
        return doomed

    async def _end_move(self, source: ObjectName, sight: Sight) -> None:
        """Take a manifest's old name away, if it has that still: the new one has been given."""
        async with self._turns:
            old = await image_now(self._newest, *source)
            is_same = (
                old is not None
                and sight.image is not None
                and old.info.etag == sight.image.info.etag
                and old.parts == sight.image.parts
            )
            if is_same:
                with contextlib.suppress(errors.NotFoundError):
                    await self._store.delete_object(*source)

    async def _delete_uploaded(self, found: Found) -> int:
        """Delete what no manifest can name yet; what comes later is looked for again."""
        sight = await self._look(found)
        return await self._delete(sight.not_named(sight.uploaded))

    async def _delete(self, objects: Collection[ObjectName]) -> int:
        async with self._turns:
            undeleted = await delete_objects(self._store, objects)
        again = next((u for u in undeleted if u.is_worth_another_try), None)
        if again is not None:
            raise again.failure
        return len(objects) - len(undeleted)

    async def _keep_again(self, session: Session, found: Found) -> None:
        """Give an upload back that was being sent again when its sender died."""
        reason = "interrupted while it was sent again"
        record = replace(found.record, state=State.FAILED, reason=reason)

        def keep() -> None:
            write_record(found.path, record)
            session.keep(found.path)

        await on_disk(self._compute, keep)
        log.info("recovered image=%s outcome=%s", record.image, "kept for swiftimgfs retry")

    async def _look(self, found: Found) -> Sight:
        record = found.record
        async with self._turns:
            uploaded: dict[ObjectName, int] = {}
            for container, prefix in record.places:
                uploaded |= await self._listed(container, prefix)
            uploaded |= await self._known_by_name(found)
            uploaded |= await claimed_object(self._newest, record)
            image = await image_now(self._newest, record.container, record.name)
            return Sight(image, frozenset(uploaded), min(uploaded.values(), default=0))

    async def _known_by_name(self, found: Found) -> dict[ObjectName, int]:
        """Return what the upload stored under names that are not its own alone.

        What was stored there long after the last of it was noted is somebody else's: Glance
        gives the segments of an image the same names whoever uploads it again.
        """
        names = frozenset(found.record.objects)
        latest_ns = int((found.noted + self._settle_seconds + STRANGERS_AFTER) * 1e9)
        there: dict[ObjectName, int] = {}
        for container, prefix in {(c, n.rstrip("0123456789")) for c, n in names}:
            there |= await self._listed(container, prefix)
        return {n: when for n, when in there.items() if n in names and when <= latest_ns}

    async def _listed(self, container: str, prefix: str) -> dict[ObjectName, int]:
        try:
            rows = await self._newest.list_all(container, prefix)
        except errors.NotFoundError:
            return {}
        return {(container, row.name): row.last_modified_ns for row in rows}


def _stored(record: UploadRecord, sight: Sight) -> Attempt | None:
    """Return the commit that was stored, now or before somebody changed the image again."""
    if record.state is State.COMMITTED:
        return record.attempts[-1] if record.attempts else Attempt("")
    return sight.stored_attempt(record)


async def forget(store: ImageStore, record: UploadRecord) -> int:
    """Delete what a kept upload has stored, since it will not be sent; return how much.

    Raises:
        SwiftImgFsError: It may go later, by the same request.
    """
    newest = store.newest()
    uploaded = await uploaded_objects(newest, record)
    image = await image_now(newest, record.container, record.name)
    claims = await read_claims(newest) if uploaded and record.attempts else Claims()
    doomed = claims.unnamed(Sight(image, frozenset(uploaded)).not_named(uploaded))
    undeleted = await delete_objects(store, doomed)
    if again := next((u for u in undeleted if u.is_worth_another_try), None):
        raise again.failure
    return len(doomed) - len(undeleted)
