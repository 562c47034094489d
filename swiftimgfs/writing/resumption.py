"""Sending again what was kept: an image whose commit had failed, or was interrupted.

The journal's recipe says what the image is made of: segments that are in Swift since then,
zeros, and bytes in the spool file beside the record. The file is left as it is until the
image is committed, so that who dies on the way has lost nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.writing.claims import read_claims
from swiftimgfs.writing.glance_format import CLAIM
from swiftimgfs.writing.recipe import damage_told, names_stored, read_from_own, stored_in
from swiftimgfs.writing.sight import Sight, image_now
from swiftimgfs.writing.writer import ImageWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.reading.fetcher import Fetcher
    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.writing.commit import Committed
    from swiftimgfs.writing.deletion import ObjectName
    from swiftimgfs.writing.journal import JournalEntry
    from swiftimgfs.writing.parts import WriteParts
    from swiftimgfs.writing.state_directory import Found
    from swiftimgfs.writing.upload_record import Attempt, UploadRecord


class Resumption:
    """Sends for one mount, or for a command."""

    def __init__(self, parts: WriteParts, fetcher: Fetcher) -> None:
        """Send with `parts`; what has to be completed from Swift is read by `fetcher`."""
        self.store: Final = parts.store
        self._parts: Final = parts
        self._fetcher: Final = fetcher

    async def send_again(self, found: Found, entry: JournalEntry) -> None:
        """Return after an image that was kept is in Swift, and its entry is finished.

        Raises:
            ImageChangedError: It is not the image any more that was opened: it must not be
                replaced, or cannot be, since bytes of it are gone.
            SwiftImgFsError: It cannot be stored; all of it is still there.
        """
        record = found.record
        if record.recipe is None:
            raise errors.HostDiskError(f"{record.image}: the journal has no recipe for it")
        base, stored = await self._base_of(record)
        recipe = record.recipe
        reader = ImageReader(self._fetcher)
        try:
            with damage_told(record.image):
                if stored is not None and base is not None and not base.parts:
                    recipe = read_from_own(recipe, base.info.etag, base.info.size)
                writer = ImageWriter.resumed(
                    self._parts, recipe, found.spool, entry, reader, base
                )
            with _told_what_is_gone(record, base):
                await self._check_named(record, base)
                committed = await writer.commit()
        finally:
            reader.close()
        if committed is None:
            await entry.finished()
            return
        left = await self._left_over(record, committed, stored)
        doomed = replace(committed.doomed, objects=[*committed.doomed.objects, *left])
        await self._parts.garbage.discard(replace(doomed, entry=entry))

    async def _base_of(self, record: UploadRecord) -> tuple[StoredImage | None, Attempt | None]:
        """Return what has the image's name, and the commit of ours that it is, if it is one.

        Of a commit whose answers were all lost Swift may have done the work. It is then made
        once more, over itself: its segments are there, and nothing else tells whether what
        was kept is what was sent.
        """
        base = await image_now(self.store.newest(), record.container, record.name)
        stored = None
        if record.attempts:  # also where the etag is that of before: of the same bytes
            uploaded = frozenset(await uploaded_objects(self.store, record))
            stored = Sight(base, uploaded).stored_attempt(record)
        if base is None or stored is not None or self._parts.options.last_writer_wins:
            return base, stored
        with damage_told(record.image):
            is_the_same = base.info.etag == (record.recipe or {})["base_etag"]
        if not is_the_same:
            raise errors.ImageChangedError(f"{record.image}: changed by somebody else since")
        return base, None

    async def _check_named(self, record: UploadRecord, base: StoredImage | None) -> None:
        """Refuse to name segments of the old version that another image names by now.

        Such as the old version itself, where somebody has renamed it.
        """
        others = stored_in(record.recipe or {}) - {(record.container, record.name)}
        others -= {*(base.parts if base is not None else ())}
        if others <= {*await uploaded_objects(self.store, record)}:
            return
        if (await read_claims(self.store)).unnamed(others) != others:
            raise errors.ImageChangedError(
                f"{record.image}: renamed by somebody else since it was opened"
            )

    async def _left_over(
        self, record: UploadRecord, committed: Committed, stored: Attempt | None
    ) -> list[ObjectName]:
        """Return what the upload stored or replaced before, and the image does not name."""
        named = {*committed.image.parts, *committed.doomed.objects}
        before = dict.fromkeys(await uploaded_objects(self.store, record))
        before |= dict.fromkeys(stored.replaced if stored is not None else ())
        return [name for name in before if name not in named]


@contextlib.contextmanager
def _told_what_is_gone(record: UploadRecord, base: StoredImage | None) -> Iterator[None]:
    """Say of an edit what stands in its way, where the version that was edited is not there."""
    try:
        yield
    except errors.ImageChangedError as failure:
        recipe = record.recipe or {}
        is_there = base is not None and base.info.etag == recipe["base_etag"]
        if is_there or not names_stored(recipe):
            raise
        raise errors.ImageChangedError(
            f"{record.image}: what was not written here was only in the version that was opened,"
            f" and that is gone: get out what is kept by retry --save-to ({failure})"
        ) from failure


async def uploaded_objects(store: ImageStore, record: UploadRecord) -> list[ObjectName]:
    """Return what an upload has stored, as far as it is still there."""
    info = (record.container, record.name)
    found: dict[ObjectName, None] = {name: None for name in record.objects if name != info}
    for container, prefix in record.places:
        with contextlib.suppress(errors.NotFoundError):
            rows = await store.list_all(container, prefix)
            found |= {(container, row.name): None for row in rows}
    return list(found | dict.fromkeys(await claimed_object(store, record)))


async def claimed_object(store: ImageStore, record: UploadRecord) -> dict[ObjectName, int]:
    """Return the claim of an upload and its time in ns, if the object of its name is that."""
    if record.claim is None:
        return {}
    try:
        info = await store.head_image(*record.claim)
    except errors.NotFoundError:
        return {}
    is_ours = info.metadata.get(CLAIM) == record.token
    return {record.claim: info.last_modified_ns} if is_ours else {}
