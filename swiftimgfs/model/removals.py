"""Images that lose their name: deleted in Swift, once nobody here reads them any more."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.model.followers import given_up_when_refused
from swiftimgfs.store.records import Manifest
from swiftimgfs.writing.doomed import Doomed
from swiftimgfs.writing.named_by import anchor_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from swiftimgfs.model.changes import Changes
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.versions import Versions
    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.store.large_objects import Segment
    from swiftimgfs.writing.doomed import Version
    from swiftimgfs.writing.hooks import JournalEntry
    from swiftimgfs.writing.parts import WriteParts

log = logging.getLogger(__name__)


class Removals:
    """Takes images away that were removed or replaced."""

    def __init__(
        self, store: ImageStore, changes: Changes, versions: Versions, writing: WriteParts
    ) -> None:
        self._store = store
        self._changes = changes
        self._versions = versions
        self._writing = writing

    async def remove(self, inode: Inode, image: StoredImage) -> None:
        """Delete an image in Swift: its name first, then what it was made of.

        The other way round a failure would leave an image that lists, but cannot be read.
        A plain image that somebody reads is its own bytes: it is deleted when the last
        handle is closed, and only then do other hosts see that it is gone.
        """
        info = image.info
        current = self._versions.current.get(inode)
        if info.manifest is None and current is not None and current.stored is not None:
            self._versions.removed_open.add(current, info)
            return
        async with self.removing(image) as entry:
            await self._store.delete_object(info.container, info.name)
        await self._discard(inode, image, entry, is_removed=True)

    async def replaced(
        self,
        inode: Inode | None,
        image: StoredImage,
        entry: JournalEntry | None,
        successor: Version | None,
    ) -> None:
        """Delete what an image was made of whose name another one has now, `successor`."""
        await self._discard(inode, image, entry, successor)

    async def rows_of(self, inode: Inode) -> Sequence[Segment | bytes]:
        """Return what an SLO's manifest names; nothing of any other image, or when it fails."""
        info = inode.info
        if info is None or info.manifest is not Manifest.SLO:
            return ()
        try:
            return await self._store.slo_rows(info.container, info.name)
        except errors.SwiftImgFsError as failure:
            log.info("not looked at again image=%s reason=%s", inode.path, failure)
            return ()

    async def hurry(self, container: str) -> None:
        """Return after nothing is left in a container that has no images any more."""
        await self._writing.garbage.hurry(container)

    @contextlib.asynccontextmanager
    async def removing(self, image: StoredImage | None) -> AsyncIterator[JournalEntry | None]:
        """Have the journal know what an image is made of while its name is taken away.

        There is no entry for what is one object, or nothing.
        """
        if image is None or not image.parts:
            yield None
            return
        info = image.info
        journal = self._writing.journal
        entry = await journal.removing(info.container, info.name, image.parts)
        async with given_up_when_refused(entry):
            yield entry

    async def _discard(
        self,
        inode: Inode | None,
        image: StoredImage,
        entry: JournalEntry | None,
        successor: Version | None = None,
        *,
        is_removed: bool = False,
    ) -> None:
        """Delete what an image was made of, once nobody who has `inode` open reads it."""
        anchor = anchor_of(image.parts)
        place = image.info.container, image.info.name
        doomed = Doomed(image.parts, entry, place, anchor, is_removed, successor)
        self._changes.doomed(doomed)
        current = self._versions.current.get(inode) if inode else None
        if current is not None and current.handles:
            current.doomed.append(doomed)
        else:
            await self._writing.garbage.discard(doomed)
