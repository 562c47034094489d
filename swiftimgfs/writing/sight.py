"""What Swift has of an upload that somebody left: what became of its commits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.writing.upload_record import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swiftimgfs.store.image_store import ImageStore, StoredImage
    from swiftimgfs.writing.upload_record import Attempt, ObjectName, UploadRecord

LOOKS: Final = 3  # at an image that changes while it is looked at


@dataclass(frozen=True, slots=True)
class Sight:
    """What Swift has of an upload.

    Attributes:
        image: What has the image's name now; None when nothing has.
        uploaded: What the upload stored, as far as it is still there.
        oldest_ns: When the first of that was stored; 0 when that is not known.
    """

    image: StoredImage | None
    uploaded: frozenset[ObjectName]
    oldest_ns: int = 0

    def not_named(self, objects: Iterable[ObjectName]) -> set[ObjectName]:
        """Return those of `objects` that are neither the image nor what it is made of.

        Of a DLO that is whatever is below its prefix, listed already or not. An image that
        has lost a nested manifest may have named any of them there: what nobody reads
        without that is left to `swiftimgfs gc`.
        """
        if self.image is None:
            return set(objects)
        if self.image.lost:
            return set()
        info = self.image.info
        rest = set(objects).difference(self.image.parts, [(info.container, info.name)])
        if info.dlo is not None:
            where, prefix = info.dlo
            rest = {(c, n) for c, n in rest if c != where or not n.startswith(prefix)}
        return rest

    def stored_attempt(self, record: UploadRecord) -> Attempt | None:
        """Return the commit that made the image what it is, if it was one of the upload's.

        The same bytes have the same etag, whoever stored them: an image in segments is of
        this upload only if it names something of it.
        """
        if self.image is None:
            return None
        parts = self.image.parts
        is_named = not parts or not self.uploaded or not self.uploaded.isdisjoint(parts)
        for attempt in reversed(record.attempts):
            if attempt.etag == self.image.info.etag and is_named:
                return attempt
        return None

    def is_final(self, record: UploadRecord) -> bool:
        """Return whether nothing that is still on its way in Swift can change this."""
        if record.state is State.COMMITTED:
            # While a manifest is there that was to be deleted, its DELETE may still come.
            return len(self.not_named(record.replaced)) == len(set(record.replaced))
        stored = self.stored_attempt(record)
        return stored is not None and stored == record.attempts[-1]


async def image_now(store: ImageStore, container: str, name: str) -> StoredImage | None:
    """Return what has a name, with all that it names; None when nothing has it.

    Raises:
        ForbiddenError: It is not for us to see what it names.
        SwiftImgFsError: It cannot be known.
    """
    for look in range(1, LOOKS + 1):
        try:
            info = await store.head_image(container, name)
        except errors.NotFoundError:
            return None
        try:
            image = await store.resolve(info)
        except errors.ImageChangedError:
            if look == LOOKS:
                raise
            continue
        if info.manifest is not None and not image.parts and image.layout.size:
            raise errors.ForbiddenError(
                f"{container}/{name}: its manifest is not for us to see"
            )
        return image
    raise AssertionError  # the last look returns or raises
