"""Plain images whose name was removed while they are open.

Such an image is its own bytes: Swift has it until the last handle is closed, and under that
name, where something new may have come meanwhile.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from swiftimgfs import errors

if TYPE_CHECKING:
    from swiftimgfs.model.handles import OpenImage
    from swiftimgfs.model.name_locks import NameLocks
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ImageInfo


class RemovedOpen:
    """The removed images that are still in Swift, by what was their name."""

    def __init__(self, store: ImageStore, name_locks: NameLocks) -> None:
        self._store = store
        self._name_locks = name_locks
        self._by_name: dict[StorePath, OpenImage] = {}

    def at(self, path: StorePath) -> OpenImage | None:
        """Return the removed image that Swift still has under a name."""
        return self._by_name.get(path)

    def add(self, image: OpenImage, info: ImageInfo) -> None:
        """Note that an image's name was removed, when it was `info`."""
        image.removed = info
        self._by_name[image.inode.path] = image

    async def delete(self, image: OpenImage, info: ImageInfo) -> None:
        """Delete an image that was removed and is not open any more, if it has no successor."""
        path = image.inode.path
        async with self._name_locks.holding(path):
            try:
                with contextlib.suppress(errors.NotFoundError):
                    now = await self._store.head_image(info.container, info.name)
                    if (now.etag, now.last_modified_ns) == (info.etag, info.last_modified_ns):
                        await self._store.delete_object(info.container, info.name)
            finally:
                if self.at(path) is image:
                    del self._by_name[path]
