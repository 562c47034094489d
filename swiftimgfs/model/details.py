"""What images are: HEADs that were answered, kept while they are good.

A listing cannot tell a DLO's size, nor the mtime and mode in an image's metadata. Those are
asked for with one HEAD per image, in parallel, and kept as long as the listing shows the
same version. Who asks for one image gets it at most `attr_timeout` seconds old.

Every image seen is noted in the registry of segments, so whoever asked for the details of
a directory knows which of its objects are segments.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.records import ImageInfo, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swiftimgfs.model.segments import Parts, SegmentRegistry
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ObjectRow


@dataclass(frozen=True, slots=True)
class _Known:
    info: ImageInfo
    asked_at: float


class ImageDetails:
    """The images that were asked for, by container and name."""

    def __init__(
        self,
        store: ImageStore,
        segments: SegmentRegistry,
        *,
        attr_timeout: float,
        is_mtime_exact: bool,
    ) -> None:
        self._store = store
        self._segments = segments
        self._attr_timeout = attr_timeout
        self._is_mtime_exact = is_mtime_exact
        self._known: dict[tuple[str, str], _Known] = {}

    async def image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path`, at most `attr_timeout` old."""
        known = self._known.get((path.container, path.name))
        if known and trio.current_time() - known.asked_at < self._attr_timeout:
            return known.info
        return await self.refreshed_image(path)

    async def refreshed_image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path` as it is now.

        Raises:
            NotFoundError: There is none.
        """
        try:
            info = await self._store.head_image(path.container, path.name)
        except errors.NotFoundError:
            self.forget(path)
            raise
        self.note(info)
        return info

    def note(self, info: ImageInfo, parts: Parts | None = None) -> None:
        """Take note of what an image is, and of what it is made of when that is known."""
        name = (info.container, info.name)
        known = self._known.get(name)
        self._known[name] = _Known(info, trio.current_time())
        if parts is not None or known is None or known.info.etag != info.etag:
            self._segments.note(info, parts or ())

    def forget(self, path: StorePath) -> None:
        """Forget an image that is gone."""
        self._known.pop((path.container, path.name), None)
        self._segments.forget(path.container, path.name)

    def expire(self, directory: StorePath) -> None:
        """Have the images in a directory, however deep, be asked for again by who wants them."""
        for (container, name), known in list(self._known.items()):
            if StorePath(container, name).is_in(directory):
                self._known[container, name] = _Known(known.info, -math.inf)

    async def ask(self, container: str, rows: Iterable[ObjectRow]) -> None:
        """Ask for what the listing cannot tell of these images, side by side."""
        with errors.first_failure():
            async with trio.open_nursery() as nursery:
                for row in rows:
                    if self._needs_asking(container, row):
                        nursery.start_soon(self.ask_one, container, row)

    async def ask_one(self, container: str, row: ObjectRow) -> None:
        """Ask what one listed image is; one that is gone by now is not known afterwards."""
        with contextlib.suppress(errors.NotFoundError):
            info = await self._store.head_image(container, row.name)
            if info.manifest is Manifest.SLO:
                self.note(info, (await self._store.resolve(info)).parts)
            else:
                self.note(info)

    def of(self, container: str, row: ObjectRow) -> ImageInfo | None:
        """Return what a listed image is; None if it was gone when it was asked for."""
        known = self._known.get((container, row.name))
        if known is not None:
            return known.info
        if self._needs_asking(container, row):
            return None
        return ImageInfo(
            container=container,
            name=row.name,
            size=row.size,
            etag=row.etag,
            last_modified_ns=row.last_modified_ns,
            content_type=row.content_type,
        )

    def _needs_asking(self, container: str, row: ObjectRow) -> bool:
        known = self._known.get((container, row.name))
        if known is not None:
            return known.info.last_modified_ns != row.last_modified_ns
        return row.may_be_manifest or self._is_mtime_exact
