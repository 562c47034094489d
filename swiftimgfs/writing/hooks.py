"""What the writer calls on its way, so that it knows neither files nor digests nor Glance.

- `Journal` is told of every object before it is made, so that a crash leaves nothing that
  nobody knows of.
- `ByteWatch` sees the bytes as they are written: digests, signatures.
- `ImageFormat` is how a large image is stored: an SLO, or what Glance's driver writes.
- `MemoryLender` is the read cache, which makes room for dirty bytes.

The first two are classes that do nothing: they are called when nobody is interested, and who is
derives from them. The others are protocols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from swiftimgfs.writing.upload_record import new_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from swiftimgfs.store.large_objects import Segment
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.cells import Hole
    from swiftimgfs.writing.segmenter import SegmentPlan

ObjectName = tuple[str, str]  # container, object

# Metadata that says something of the bytes: other bytes must not keep it.
STALE_METADATA = frozenset({"os-hash-algo", "os-hash-value", "md5", "verified", "allocated"})


class JournalEntry:
    """One commit of one image, from its first segment to the end of what it replaced.

    This one notes nothing, and keeps nothing.
    """

    def __init__(self) -> None:
        self._token = new_token()

    @property
    def token(self) -> str:
        """What tells it from every other, of all hosts and times."""
        return self._token

    async def place(self, container: str, prefix: str) -> None:
        """Note that all below a prefix will be of this entry; on disk when this returns."""

    async def uploading(self, container: str, name: str) -> None:
        """Note that an object is about to be made; on disk when this returns."""

    def sent(self, size: int) -> None:
        """Note how many bytes of it Swift has acknowledged so far, for who looks."""

    async def claiming(self, container: str, name: str) -> None:
        """Note that an object is this entry's if its metadata has the token; on disk then."""

    def renamed(self, container: str, name: str) -> None:
        """Note that the image will be committed under another name."""

    async def given_up(self, *, is_uncertain: bool = False) -> None:
        """Note that nobody goes on with it, and that what is left of it is being deleted.

        `is_uncertain` says that its manifest may be stored: then it is left to the next mount.
        """

    def is_alone_with(self, objects: Sequence[ObjectName]) -> bool:  # noqa: ARG002
        """Return whether objects have names that no other upload can give to others."""
        return False

    async def abandoned(self) -> None:
        """Note that nothing of it will be committed, and nothing of it is left."""

    async def dropped(self, objects: Sequence[ObjectName]) -> None:
        """Note that objects of before were deleted again."""

    async def committing(
        self, etag: str, named: Sequence[ObjectName], replaced: Sequence[ObjectName]
    ) -> None:
        """Note that the image is about to get `etag`, to name some objects, and others no more."""

    async def committed(self) -> None:
        """Note that Swift has acknowledged the image."""

    async def delete_after(self, moment: float) -> None:
        """Note until when what was replaced stays, in seconds since the epoch."""

    async def finished(self) -> None:
        """Note that nothing is left to do."""

    async def keep(
        self,
        recipe: Mapping[str, object],  # noqa: ARG002
        spool: Path | None,  # noqa: ARG002
        reason: str,  # noqa: ARG002
        errno_name: str = "EIO",  # noqa: ARG002
        *,
        is_told: bool = True,  # noqa: ARG002
    ) -> bool:
        """Take over what could not be committed; return whether it was taken."""
        return False


class Journal:
    """What is being uploaded, on this host's disk; this one is nowhere."""

    async def begin(
        self,
        container: str,  # noqa: ARG002
        name: str,  # noqa: ARG002
        base_etag: str | None,  # noqa: ARG002
    ) -> JournalEntry:
        """Return an entry for a commit of an image."""
        return JournalEntry()

    async def removing(
        self,
        container: str,  # noqa: ARG002
        name: str,  # noqa: ARG002
        parts: Sequence[ObjectName],  # noqa: ARG002
    ) -> JournalEntry:
        """Return an entry for an image that is about to go, and then what it names."""
        return JournalEntry()

    async def moving(
        self,
        source: ObjectName,  # noqa: ARG002
        target: ObjectName,  # noqa: ARG002
        etag: str,  # noqa: ARG002
    ) -> JournalEntry:
        """Return an entry for a manifest that is about to get another name."""
        return JournalEntry()


class ByteWatch:
    """Sees what is written to one image, in the order in which it is written.

    This one looks at nothing.
    """

    def written(self, offset: int, data: bytes | memoryview) -> None:
        """Take note of bytes, which never change; cheap, and does not wait."""

    def truncated(self, size: int) -> None:
        """Take note of another size; 0 starts anew."""

    async def keep_up(self) -> None:
        """Return when not too much of it waits to be looked at."""

    async def finish(
        self,
        size: int,  # noqa: ARG002
        metadata: Mapping[str, str],  # noqa: ARG002
        read: Callable[[int, int], Awaitable[bytes | memoryview]],  # noqa: ARG002
    ) -> dict[str, str]:
        """Return metadata that tells of the image's bytes.

        Raises:
            SwiftImgFsError: These bytes must not be stored.
        """
        return {}

    def close(self) -> None:
        """Forget what waits."""


class WatchFactory:
    """Makes a watch for each image that is written; these look at nothing."""

    def of(self, size_of_base: int, metadata: Mapping[str, str]) -> ByteWatch:  # noqa: ARG002
        """Return the watch of an image that has `size_of_base` bytes as yet, and metadata."""
        return ByteWatch()


@dataclass(frozen=True, slots=True)
class Folded:
    """The rows of an image's own manifest, and the manifests that were made for that."""

    rows: Sequence[Segment]
    made: Sequence[ObjectName] = ()


class ImageFormat(Protocol):
    """How a large image of one name is stored."""

    @property
    def plan(self) -> SegmentPlan:
        """Where its segments begin and end."""
        ...

    @property
    def names_zeros(self) -> bool:
        """Whether zeros need no bytes: rows of them are `Hole`."""
        ...

    @property
    def is_fixed(self) -> bool:
        """Whether every segment has to be one of the plan."""
        ...

    @property
    def segment_headers(self) -> Mapping[str, str]:
        """What is sent with each segment."""
        ...

    def is_large(self, size: int, *, is_started: bool) -> bool:
        """Return whether an image is stored in segments; some may be in Swift already."""
        ...

    async def get_ready(self) -> None:
        """Do what may be done before the first segment, even if there never is one."""
        ...

    async def place(self, start: int, number: int) -> ObjectName:
        """Return where the segment at offset `start` goes, the writer's PUT number `number`."""
        ...

    async def prepare(self, rows: Sequence[Segment | Hole]) -> list[Segment]:
        """Have each row where a manifest can name it, holes too; return them."""
        ...

    async def fold(self, rows: Sequence[Segment]) -> Folded:
        """Put rows into manifests below the image's, when they are too many for one."""
        ...

    async def put(
        self, rows: Sequence[Segment], headers: Mapping[str, str], *, is_new: bool
    ) -> ImageInfo:
        """Store the manifest."""
        ...

    def etag_of(self, rows: Sequence[Segment]) -> str:
        """Return the etag that the image has then."""
        ...

    def renamed(self, container: str, name: str) -> None:
        """Store the manifest under another name from now on."""
        ...

    async def abandon(self) -> None:
        """Have the uploader know all that was put, before it removes that: the writer gives up."""
        ...


class MemoryLender(Protocol):
    """Who gives memory up for dirty bytes: the cache of what was read."""

    def lend(self, size: int) -> None:
        """Do with `size` bytes less."""
        ...

    def give_back(self, size: int) -> None:
        """Have `size` bytes back."""
        ...


class NoLender:
    """Lends nothing: dirty bytes have memory of their own."""

    def lend(self, size: int) -> None:
        """Do nothing."""

    def give_back(self, size: int) -> None:
        """Do nothing."""
