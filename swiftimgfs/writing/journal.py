"""What this mount is uploading, on disk before it is in Swift.

An entry is one commit of one image: it begins before the first object is stored, and ends
when what was replaced is gone. Whatever happens to the process in between, the next mount
of the account knows what may be in Swift that no manifest names.

Invariant: when a method that notes something returns, it is on disk. The record is a frozen
value that is changed without awaiting and written afterwards, so that notes that come at
the same time are written once, and never an older one over a newer.
"""

from __future__ import annotations

import errno
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from swiftimgfs import errors
from swiftimgfs.writing import hooks
from swiftimgfs.writing.state_directory import (
    SPOOL,
    adopt_spool,
    disk_bytes,
    remove_upload,
    write_progress,
    write_record,
)
from swiftimgfs.writing.upload_record import (
    GIVEN_UP,
    UNCERTAIN,
    Attempt,
    State,
    UploadRecord,
    new_token,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from swiftimgfs.writing.state_directory import Session
    from swiftimgfs.writing.upload_record import ObjectName

    Compute = Callable[[Callable[[], None]], Awaitable[None]]

log = logging.getLogger(__name__)

T = TypeVar("T")


class Journal(hooks.Journal):
    """The entries of one mount."""

    def __init__(
        self, session: Session, compute: Compute, *, most_kept: int | None = None
    ) -> None:
        """Have entries in a session.

        Args:
            session: This mount's.
            compute: Runs what blocks in a thread.
            most_kept: Bytes that all failed uploads of the host may take of its disk.
        """
        self._session: Final = session
        self._compute: Final = compute
        self._most_kept: Final = most_kept

    async def begin(self, container: str, name: str, base_etag: str | None) -> JournalEntry:
        """Note that an image is about to be uploaded over the one that has `base_etag`.

        Raises:
            HostDiskError: It cannot be noted, so it must not begin.
        """
        now = time.time()
        token, owner = new_token(), self._session.owner
        record = UploadRecord(token, owner, container, name, base_etag, now, now)
        return await self._begin(record)

    async def removing(
        self, container: str, name: str, parts: Sequence[ObjectName]
    ) -> JournalEntry:
        """Note that a manifest is about to go, and then what it names.

        As long as the manifest is there, so are its segments: recovery deletes nothing that
        an image names.
        """
        now = time.time()
        token, owner = new_token(), self._session.owner
        record = UploadRecord(token, owner, container, name, None, now, now)
        attempt = Attempt("", tuple(parts))
        return await self._begin(replace(record, state=State.COMMITTED, attempts=(attempt,)))

    async def moving(self, source: ObjectName, target: ObjectName, etag: str) -> JournalEntry:
        """Note that a manifest is about to be copied to another name, and to lose its own.

        In between two manifests name the same segments: whoever then deletes the one breaks
        the other. So recovery ends what was begun.
        """
        now = time.time()
        token, owner = new_token(), self._session.owner
        record = UploadRecord(token, owner, *target, None, now, now, moved_from=source)
        attempts = (Attempt(etag),)
        return await self._begin(replace(record, state=State.COMMITTING, attempts=attempts))

    def resume(self, path: Path, record: UploadRecord) -> JournalEntry:
        """Return the entry of an upload that is in the session already."""
        return JournalEntry(self._session, self._compute, path, record, self._most_kept)

    async def _begin(self, record: UploadRecord) -> JournalEntry:
        made: list[Path] = []
        await on_disk(self._compute, lambda: made.append(self._session.begin(record)))
        return self.resume(made[0], record)


class JournalEntry(hooks.JournalEntry):
    """One commit of one image."""

    def __init__(
        self,
        session: Session,
        compute: Compute,
        path: Path,
        record: UploadRecord,
        most_kept: int | None = None,
    ) -> None:
        self.record = record
        self._most_kept = most_kept
        self._session = session
        self._compute = compute
        self._path = path
        self._version = self._written = 0
        self._writing = trio.Lock()

    @property
    def token(self) -> str:
        """What tells this upload from all others: to be part of its segments' names."""
        return self.record.token

    async def place(self, container: str, prefix: str) -> None:
        """Note that whatever is below a prefix will be of this upload, and of no other."""
        if (container, prefix) not in self.record.places:
            await self._note(places=(*self.record.places, (container, prefix)))

    async def uploading(self, container: str, name: str) -> None:
        """Note that an object is about to be stored, which no manifest names yet."""
        is_known = (container, name) in self.record.objects
        if not is_known and not self.record.is_placed(container, name):
            await self._note(objects=(*self.record.objects, (container, name)))

    def sent(self, size: int) -> None:
        """Note how many bytes of it Swift has acknowledged so far."""
        write_progress(self._path, size)

    async def claiming(self, container: str, name: str) -> None:
        """Note that an object may be of this upload: if its metadata has the token."""
        if self.record.claim != (container, name):
            await self._note(claim=(container, name))

    def renamed(self, container: str, name: str) -> None:
        """Have the image committed under another name; written with the next note."""
        self._change(container=container, name=name)

    async def dropped(self, objects: Sequence[ObjectName]) -> None:
        """Forget objects that were deleted again."""
        gone = frozenset(objects)
        left = tuple(name for name in self.record.objects if name not in gone)
        if left != self.record.objects:
            await self._note(objects=left)

    async def committing(
        self,
        etag: str,
        named: Sequence[ObjectName],  # noqa: ARG002  # asked of Swift, once it matters
        replaced: Sequence[ObjectName],
    ) -> None:
        """Note that the image may have `etag` from now on, and what then has to go.

        Every etag that was ever tried is remembered: a PUT that failed here may have been
        stored there.
        """
        attempts = (*self.record.attempts, Attempt(etag, tuple(replaced)))
        await self._note(state=State.COMMITTING, attempts=attempts)

    async def committed(self) -> None:
        """Note that Swift has acknowledged the image."""
        await self._note(state=State.COMMITTED)

    async def delete_after(self, moment: float) -> None:
        """Note that what was replaced stays until `moment`, in seconds since the epoch."""
        await self._note(delete_after=moment)

    async def finished(self) -> None:
        """Forget the upload: nothing of it is left to be done.

        A disk that fails here costs another look at the next mount.
        """
        try:
            await on_disk(self._compute, lambda: remove_upload(self._path))
        except errors.HostDiskError as failure:
            log.warning("journal not tidied up image=%s reason=%s", self.record.image, failure)

    def is_alone_with(self, objects: Sequence[ObjectName]) -> bool:
        """Return whether objects are below prefixes of this entry."""
        return all(self.record.is_placed(*place) for place in objects)

    async def given_up(self, *, is_uncertain: bool = False) -> None:
        """Note that nobody goes on with it, for who looks.

        It is not on disk when that fails, which changes nothing: the next mount does the same.
        """
        try:
            await self._note(reason=UNCERTAIN if is_uncertain else GIVEN_UP)
        except errors.HostDiskError as failure:
            log.debug("not noted as given up image=%s reason=%s", self.record.image, failure)

    async def abandoned(self) -> None:
        """Forget the upload: nothing of it was committed, and its segments are gone."""
        await self.finished()

    async def keep(
        self,
        recipe: Mapping[str, object],
        spool: Path | None,
        reason: str,
        errno_name: str = "EIO",
        *,
        is_told: bool = True,
    ) -> bool:
        """Take over an image that could not be committed: its spool file, and how it is built.

        Args:
            recipe: What `retry` builds the same writer from.
            spool: The bytes that Swift does not have.
            reason: Why it failed.
            errno_name: What who wrote it was told.
            is_told: Whether he was: then it is never stored unless somebody says so. Else
                the next mount stores it, if the image is still the one that was opened.

        Returns:
            Whether it was taken over; else the caller still has to clean up.
        """
        size = recipe.get("size")
        self._change(
            state=State.FAILED if is_told else State.INTERRUPTED,
            recipe=dict(recipe),
            has_spool=spool is not None,
            size=size if isinstance(size, int) else None,
            reason=reason,
            errno=errno_name,
        )
        try:
            await on_disk(self._compute, lambda: self._keep(spool, is_told=is_told))
        except errors.HostDiskError as failure:
            log.error("not kept image=%s reason=%s", self.record.image, failure)  # noqa: TRY400  # said
            return False
        log.error(
            "not stored image=%s size=%s errno=%s reason=%s; its bytes are kept:"
            " swiftimgfs retry %s",
            self.record.image,
            size,
            errno_name,
            reason,
            self.token,
        )
        return True

    def _keep(self, spool: Path | None, *, is_told: bool) -> None:
        if spool is not None and spool != self._path / SPOOL:
            self._check_room(spool)
            adopt_spool(self._path, spool)
        write_record(self._path, self.record)
        if is_told:
            self._path = self._session.keep(self._path)

    def _check_room(self, spool: Path) -> None:
        """Refuse to keep more and more, of who tries the same in vain each hour."""
        if self._most_kept is None:
            return
        kept = self._session.state.kept_bytes()
        if kept + disk_bytes(spool) > self._most_kept:
            raise OSError(errno.ENOSPC, f"{kept} bytes are kept already (spool_size)")

    def _change(self, **changes: object) -> None:
        if "state" in changes:
            changes["changed"] = time.time()
        self.record = replace(self.record, **changes)  # type: ignore[arg-type]  # our own names
        self._version += 1

    async def _note(self, **changes: object) -> None:
        self._change(**changes)
        mine = self._version
        async with self._writing:
            if self._written >= mine:
                return  # somebody wrote it along with his own
            record, version = self.record, self._version
            await on_disk(self._compute, lambda: write_record(self._path, record))
            self._written = version


async def on_disk(compute: Compute, blocking: Callable[[], object]) -> None:
    """Run what uses the disk in a thread.

    Raises:
        HostDiskError: The disk failed.
    """
    failures: list[OSError] = []

    def run() -> None:
        try:
            blocking()
        except OSError as exc:
            failures.append(exc)

    await compute(run)
    if failures:
        raise errors.host_failure(failures[0], "journal") from failures[0]


def errno_name_of(failure: errors.SwiftImgFsError) -> str:
    """Return the name of the errno that tells of a failure."""
    return errors.errno_name(failure.errno)
