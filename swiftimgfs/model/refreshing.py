"""Seeing now what other hosts did, whatever was believed until now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors

if TYPE_CHECKING:
    from swiftimgfs.model.details import ImageDetails
    from swiftimgfs.model.listings import Listings
    from swiftimgfs.model.markers import Markers
    from swiftimgfs.model.overlay import Overlay
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore


class Refreshing:
    """Gives up what is believed of the store."""

    def __init__(
        self,
        store: ImageStore,
        details: ImageDetails,
        overlay: Overlay,
        listings: Listings,
        markers: Markers,
    ) -> None:
        self._store = store
        self._details = details
        self._overlay = overlay
        self._listings = listings
        self._markers = markers

    async def refresh(self, directory: StorePath) -> None:
        """Have whoever asks next for anything in a directory, however deep, be told by Swift.

        What this mount did there is compared with Swift now, since no listing that lags may
        hide it, and somebody else may have taken it away again.
        """
        self._listings.forget_in(directory)
        self._details.expire(directory)
        self._markers.forget_in(directory)
        images, directories = self._overlay.below(directory)
        with errors.first_failure():
            async with trio.open_nursery() as nursery:
                for path in images:
                    nursery.start_soon(self._confirm_image, path)
                for path in directories:
                    nursery.start_soon(self._confirm_directory, path)

    async def _confirm_image(self, path: StorePath) -> None:
        try:
            await self._details.refreshed_image(path)
        except errors.NotFoundError:
            self._overlay.forget(path)

    async def _confirm_directory(self, path: StorePath) -> None:
        try:
            page = await self._store.list_page(
                path.container, path.prefix, delimiter="", limit=1
            )
        except errors.NotFoundError:
            self._overlay.forget(path)
        else:
            is_there = bool(page.rows) or not path.name
            if is_there != self._overlay.directory(path):
                self._overlay.forget(path)
