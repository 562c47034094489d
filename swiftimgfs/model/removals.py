"""Images that lose their name: deleted in Swift, once nobody here reads them any more."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from swiftimgfs.model.followers import given_up_when_refused
from swiftimgfs.writing.doomed import Doomed
from swiftimgfs.writing.named_by import anchor_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swiftimgfs.model.changes import Changes
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.versions import Versions
    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.writing.hooks import JournalEntry
    from swiftimgfs.writing.parts import WriteParts


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
        self, inode: Inode | None, image: StoredImage, entry: JournalEntry | None
    ) -> None:
        """Delete what an image was made of whose name another one has now."""
        await self._discard(inode, image, entry, is_removed=False)

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
        *,
        is_removed: bool,
    ) -> None:
        """Delete what an image was made of, once nobody who has `inode` open reads it."""
        place = image.info.container, image.info.name
        doomed = Doomed(image.parts, entry, place, anchor_of(image.parts), is_removed)
        self._changes.doomed(doomed)
        current = self._versions.current.get(inode) if inode else None
        if current is not None and current.handles:
            current.doomed.append(doomed)
        else:
            await self._writing.garbage.discard(doomed)
