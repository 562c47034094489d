"""Objects of one image on their way to Swift, each noted before it is made.

Every PUT carries the MD5 of its bytes, and the etag that comes back is compared. What was
put and is in no manifest yet is known here, to be deleted when it never will be.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs.layout import Stored
from swiftimgfs.store.large_objects import Segment
from swiftimgfs.store.request import NO_HEAD, Head
from swiftimgfs.writing.body import payload_of
from swiftimgfs.writing.deletion import CLEAN_UP_SECONDS, delete_objects

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from swiftimgfs.layout import Extent
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.hooks import Journal, JournalEntry, ObjectName

log = logging.getLogger(__name__)


def stored_segment(segment: Segment) -> Stored:
    """Return a segment, or the part that is used of it, as a source of a layout."""
    return Stored(segment.container, segment.name, segment.etag, segment.start, segment.size)


class Uploader:
    """Makes the objects of one image.

    Attributes:
        container: Of the image.
        name: Of the image.
        attempt: What tells names below one prefix apart, when an upload is gone on with.
        pending: What was put, or may have been, and no committed image names.
        stored: Bytes of it that Swift has acknowledged.
    """

    def __init__(self, store: ImageStore, journal: Journal, container: str, name: str) -> None:
        self.container = container
        self.name = name
        self.base_etag: str | None = None
        self.attempt = ""
        self.pending: dict[ObjectName, None] = {}
        self.stored = 0
        self._store: Final = store
        self._journal = journal
        self._entry: JournalEntry | None = None
        self._beginning = trio.Lock()

    @property
    def image(self) -> ObjectName:
        """The image's container and name."""
        return self.container, self.name

    @property
    def entry_so_far(self) -> JournalEntry | None:
        """The journal's entry, if there is one yet."""
        return self._entry

    def adopt(self, entry: JournalEntry) -> None:
        """Go on with an entry of before, whose objects keep their names to themselves."""
        self._entry = entry
        self.attempt = f"{secrets.token_hex(3)}-"

    def leave(self) -> None:
        """Leave what was put to whoever has taken it over."""
        self.pending, self._entry = {}, None

    async def entry(self) -> JournalEntry:
        """Return the journal's entry for the next commit."""
        async with self._beginning:
            if self._entry is None:
                self._entry = await self._journal.begin(
                    self.container, self.name, self.base_etag
                )
            return self._entry

    async def announce(self, container: str, name: str) -> None:
        """Note an object that is about to be made."""
        entry = await self.entry()
        self.pending[container, name] = None
        await entry.uploading(container, name)

    def acknowledged(self, size: int) -> None:
        """Note bytes of the image that Swift has now, sent or copied there."""
        self.stored += size
        if self._entry is not None:
            self._entry.sent(self.stored)

    def sent(self, sending: Mapping[ObjectName, int]) -> int:
        """Return how many bytes Swift was given, also of what is on its way: see the writer."""
        own = {*self.pending, self.image}
        return self.stored + sum(size for place, size in sending.items() if place in own)

    async def put(
        self,
        place: ObjectName,
        extents: Sequence[Extent],
        headers: Mapping[str, str],
        head: Head = NO_HEAD,
    ) -> Segment:
        """Store pieces of the image, which begin with `head`, as one object; return it."""
        container, name = place
        payload = payload_of(extents, head)
        await self.announce(container, name)
        info = await self._store.put_object(container, name, payload, headers)
        self.acknowledged(len(payload))
        return Segment(container, name, len(payload), info.etag, 0, len(payload))

    def committed(
        self, named: Collection[ObjectName]
    ) -> tuple[list[ObjectName], JournalEntry | None]:
        """Start anew after a commit; return what it does not name, and the journal's entry."""
        left = [place for place in self.pending if place not in named]
        entry, self._entry = self._entry, None
        self.pending, self.stored = {}, 0
        return left, entry

    def renamed(self, container: str, name: str) -> None:
        """Make objects of an image that has another name now."""
        self.container, self.name = container, name
        if self._entry is not None:
            self._entry.renamed(container, name)

    async def drop(self, objects: Sequence[ObjectName]) -> None:
        """Delete objects that no manifest will name; what stays is tried again at the end."""
        mine = [place for place in objects if place in self.pending]
        left = {(u.container, u.name) for u in await delete_objects(self._store, mine)}
        gone = [place for place in mine if place not in left]
        for place in gone:
            self.pending.pop(place, None)
        if gone and self._entry is not None:
            await self._entry.dropped(gone)

    async def abandon(self) -> tuple[list[ObjectName], JournalEntry | None]:
        """Delete all that was put; shielded, and limited in time.

        Returns:
            What may go later, and the journal's entry, which has to end with that.
        """
        left, entry = list(self.pending), self._entry
        self.pending, self._entry = {}, None
        with trio.move_on_after(CLEAN_UP_SECONDS, shield=True) as scope:
            if entry is not None:
                await entry.given_up()
            undeleted = await delete_objects(self._store, left)
            left = [(u.container, u.name) for u in undeleted if u.is_worth_another_try]
            if entry is not None and not left:
                await entry.abandoned()
        if scope.cancelled_caught:
            log.error("segments left behind image=%s/%s", self.container, self.name)
        return left, entry
