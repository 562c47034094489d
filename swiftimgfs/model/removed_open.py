"""Plain images whose name was removed while they are open.

Such an image is its own bytes: Swift has it until the last handle is closed, and under that
name. Swift's DELETE has no condition. So whoever stores something there meanwhile holds the
name while he does, and the removed image is looked at and deleted while nobody does: else a
new image could be refused because of the old one, or be deleted in its stead.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swiftimgfs.model.handles import OpenImage
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore


@dataclass(frozen=True, slots=True)
class _Removed:
    image: OpenImage
    lock: trio.Lock = field(default_factory=trio.Lock)


class RemovedOpen:
    """The removed images that are still in Swift, by what was their name."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._by_name: dict[StorePath, _Removed] = {}

    def at(self, path: StorePath) -> OpenImage | None:
        """Return the removed image that Swift still has under a name."""
        removed = self._by_name.get(path)
        return removed.image if removed else None

    def add(self, image: OpenImage) -> None:
        """Note that an image's name was removed."""
        path = image.inode.path
        older = self._by_name.get(path)
        self._by_name[path] = _Removed(image, older.lock) if older else _Removed(image)

    @contextlib.asynccontextmanager
    async def holding(self, path: StorePath) -> AsyncIterator[None]:
        """While this is entered nothing is deleted under a name."""
        removed = self._by_name.get(path)
        async with removed.lock if removed else contextlib.nullcontext():
            yield

    async def delete(self, image: OpenImage) -> None:
        """Delete an image that was removed and is not open any more, if it has no successor."""
        assert image.stored is not None  # noqa: S101  # only such an image is kept
        info, path = image.stored.info, image.inode.path
        async with self.holding(path):
            try:
                with contextlib.suppress(errors.NotFoundError):
                    now = await self._store.head_image(info.container, info.name)
                    if (now.etag, now.last_modified_ns) == (info.etag, info.last_modified_ns):
                        await self._store.delete_object(info.container, info.name)
            finally:
                if self.at(path) is image:
                    del self._by_name[path]
