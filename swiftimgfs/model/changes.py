"""What this mount did to the store, and learnt of it: noted wherever somebody would look.

`details` has what an image is, `markers` the same of a directory, `overlay` what no listing
shows yet, `listings` what is listed.
Nothing here awaits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from swiftimgfs.model.entries import Entry, file_entry
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.paths import StorePath

if TYPE_CHECKING:
    from swiftimgfs.model.details import ImageDetails
    from swiftimgfs.model.listings import Listings
    from swiftimgfs.model.markers import Markers
    from swiftimgfs.model.overlay import Overlay
    from swiftimgfs.model.segments import Parts
    from swiftimgfs.store.image_store import StoredImage
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.doomed import Doomed


class Changes:
    """Takes note of what this mount did."""

    def __init__(
        self,
        details: ImageDetails,
        overlay: Overlay,
        listings: Listings,
        markers: Markers,
    ) -> None:
        self._details = details
        self._overlay = overlay
        self._listings = listings
        self._markers = markers

    def note_resolved(self, image: StoredImage) -> None:
        """Take note of what an image is made of, when somebody had to learn it."""
        self._details.note(image.info, image.parts)

    def stored(self, path: StorePath, info: ImageInfo, parts: Parts | None = None) -> None:
        """Note that we stored an image, or changed its metadata."""
        self._details.note(info, parts)
        self._overlay.stored(path, info)
        self._listings.set_entry(path, file_entry(path.component, info))

    def removed(self, path: StorePath, info: ImageInfo | None) -> None:
        """Note that we took an image's name away; None when it had never been stored.

        A directory that it was alone in stays for now: Swift has no directory without
        something in it, but `rm -r` removes what it emptied.
        """
        self._details.forget(path)
        self._overlay.removed(path, info)
        if path.parent.name:
            self._overlay.made_directory(path.parent)
        self._listings.set_entry(path, None)

    def doomed(self, doomed: Doomed) -> None:
        """Note that no image names some objects any more, though they may be there for a while.

        Beside their image, where Glance has segments, they would be listed as images.
        """
        container, _ = doomed.image or ("", "")
        for where, name in doomed.objects:
            if where == container:
                self._overlay.doomed(StorePath(where, name), time.time_ns())

    def found_gone(self, path: StorePath, ours: ImageInfo | None) -> None:
        """Note that Swift said there is no such image, so that no listing shows it any more.

        Args:
            path: Where it was.
            ours: What this mount had stored there when Swift was asked: what it stored
                meanwhile is not gone.
        """
        if self._overlay.image(path) is not ours:
            return
        self._overlay.forget_image(path)
        listing = self._listings.known(path.parent)
        entry = listing.entries.get(path.component) if listing else None
        if entry is not None and entry.kind is not Kind.DIRECTORY:
            self._listings.set_entry(path, None)

    def made_directory(self, path: StorePath) -> None:
        """Note that we made a directory."""
        entry = Entry(path.component, Kind.DIRECTORY, mtime_ns=time.time_ns())
        self._markers.forget(path)
        self._markers.note_bare(path, entry)
        self._overlay.made_directory(path)
        self._listings.set_entry(path, entry)

    def removed_directory(self, path: StorePath) -> None:
        """Note that we removed a directory; the one that it was alone in stays, as above."""
        self._markers.forget(path)
        self._overlay.removed_directory(path)
        if path.parent.name:
            self._overlay.made_directory(path.parent)
        self._listings.forget(path)
        self._listings.forget(path.parent)  # an image that it shadowed shows again

    def changed_directory(self, path: StorePath) -> None:
        """Note that we changed what is stored with a directory or a container."""
        self._markers.forget(path)

    def moved_directory(self, source: StorePath, target: StorePath) -> None:
        """Note that a directory, with all that is in it, has another name."""
        self._listings.forget_in(source)
        self._listings.forget_in(target)
        self._overlay.move_directories(source, target)
        self.removed_directory(source)
        self.made_directory(target)
        self._markers.forget_in(source)
        self._markers.forget_in(target)
