"""Open images follow their names: who reads or writes one goes on when it is renamed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.store.metadata import carried_by_bytes, headers_of
from swiftimgfs.store.records import format_seconds
from swiftimgfs.writing.copying import copy_in_segments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.model.versions import Versions
    from swiftimgfs.store.image_store import StoredImage
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.hooks import JournalEntry
    from swiftimgfs.writing.parts import WriteParts


class Followers:
    """The open images of a mount, when their names change."""

    def __init__(self, versions: Versions, writing: WriteParts) -> None:
        self._versions = versions
        self._writing = writing

    @contextlib.asynccontextmanager
    async def holding(self, inode: Inode) -> AsyncIterator[None]:
        """Let nobody store an image who writes it now: a commit would be at the old name."""
        image = self._versions.current.get(inode)
        writer = image.writer if image is not None else None
        inode.is_leaving = True
        try:
            async with writer.holding if writer is not None else contextlib.nullcontext():
                yield
        finally:
            inode.is_leaving = False

    async def moving(self, info: ImageInfo, target: StorePath) -> JournalEntry | None:
        """Note in the journal that a manifest gets another name: for a while it has two."""
        if info.manifest is None:
            return None
        source, journal = (info.container, info.name), self._writing.journal
        return await journal.moving(source, (target.container, target.name), info.etag)

    def headers_to_keep(self, info: ImageInfo) -> Mapping[str, str]:
        """Return what has to be told with a copy so that it has the time of the image.

        Glance's images are left as Glance wrote them, which their metadata tells.
        """
        if "mtime" in info.metadata or self._versions.is_left_as_it_is(info):
            return {}
        return headers_of({"mtime": format_seconds(info.mtime_ns)})

    async def copy_in_segments(
        self, info: ImageInfo, target: StorePath, headers: Mapping[str, str]
    ) -> StoredImage:
        """Return a copy of a plain image that Swift does not copy at once."""
        kept = {**carried_by_bytes(info), **headers}
        return await copy_in_segments(
            self._writing, info, (target.container, target.name), kept
        )

    def renamed(self, inode: Inode, stored: StoredImage) -> None:
        """Point open handles at the image's new name, where the same bytes are."""
        image = self._versions.current.get(inode)
        if image is None:
            return
        image.stored = stored
        image.moves += 1
        if image.writer is not None:
            image.writer.renamed(stored.info.container, stored.info.name, stored)

    def retarget(
        self,
        inode: Inode,
        path: StorePath,
        replaced: StoredImage | None = None,
        replaced_inode: Inode | None = None,
    ) -> bool:
        """Have an image that was never stored get this name at its commit.

        Args:
            inode: The image.
            path: The name.
            replaced: What has it until then.
            replaced_inode: The same, as who has it open knows it.

        Returns:
            Whether there is such an image, so that nothing in Swift has to be renamed.
        """
        image = self._versions.current.get(inode)
        if image is None or image.writer is None or image.writer.is_stored:
            return False
        image.writer.renamed(path.container, path.name, replaced)
        if replaced_inode is not None:
            image.replaces = self._versions.current.get(replaced_inode)
        return True


@contextlib.asynccontextmanager
async def given_up_when_refused(entry: JournalEntry | None) -> AsyncIterator[None]:
    """Have an entry end with a failure after which all is as before; else the next mount looks."""
    try:
        yield
    except errors.SwiftImgFsError as failure:
        if entry is not None and not failure.is_transient:
            await entry.abandoned()
        raise
