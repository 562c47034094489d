"""Segments on their way to Swift: started early, waited for at the commit.

A segment is uploaded by a task of the mount's nursery. Its failure is a value, kept until
somebody who can tell an application asks: it never ends the mount. Every PUT carries the
MD5 of its bytes, and the etag that comes back is compared.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.layout import Source, Stored
from swiftimgfs.store.large_objects import Segment
from swiftimgfs.store.naming import Naming
from swiftimgfs.store.request import Payload
from swiftimgfs.writing.places import segment_container
from swiftimgfs.writing.segmenter import (
    SEGMENT_CONTENT_TYPE,
    SegmentPlan,
    prefix_among_images,
    segments_prefix,
)
from swiftimgfs.writing.spool import inline_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from swiftimgfs.store.image_store import ImageStore

log = logging.getLogger(__name__)

# Clean-up must end even when Swift does not answer: what is left then is in the log.
CLEAN_UP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How images are stored, and what may be written.

    Attributes:
        segment_size: Bytes of the first segments.
        large_object_size: From how many bytes on an image is stored in segments.
        dirty_limit: Bytes of segments that may wait for Swift, of all images together.
        allow_glance_writes: Change also images that Glance wrote, whose checksums it keeps.
        last_writer_wins: Replace an image even when somebody else changed it meanwhile.
        naming: By which an image is known as Glance's.
    """

    segment_size: int = 64 * 1024**2
    large_object_size: int = 64 * 1024**2
    dirty_limit: int = 256 * 1024**2
    allow_glance_writes: bool = False
    last_writer_wins: bool = False
    naming: Naming = field(default_factory=Naming)


class DirtyBudget:
    """Bytes that wait for Swift, of all images of the mount: the back-pressure of write().

    A segment that is larger than the whole budget waits until it is alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._freed = trio.Condition()

    async def take(self, size: int) -> None:
        """Return when `size` bytes more may be kept."""
        async with self._freed:
            while self._used and self._used + size > self._limit:
                await self._freed.wait()
            self._used += size

    async def give_back(self, size: int) -> None:
        """Say that `size` bytes are no longer kept."""
        with trio.CancelScope(shield=True):  # never waits long: nobody awaits while holding it
            async with self._freed:
                self._used -= size
                self._freed.notify_all()


@dataclass(eq=False, slots=True)
class SegmentUpload:
    """One segment: its bytes until Swift has them, then what Swift has."""

    buffers: Sequence[memoryview]
    size: int
    segment: Segment | None = None
    failure: errors.SwiftImgFsError | None = None
    done: trio.Event = field(default_factory=trio.Event)

    def pieces(self) -> Iterator[tuple[int, Source]]:
        """Yield the segment as pieces of a layout: from memory until it is in Swift."""
        if self.segment is None:
            yield from inline_pieces(self.buffers)
        else:
            yield self.size, stored_segment(self.segment)


def stored_segment(segment: Segment) -> Stored:
    """Return a whole segment as a source of a layout."""
    return Stored(segment.container, segment.name, segment.etag, 0, segment.size)


class Uploader:
    """Uploads the segments of one image."""

    def __init__(
        self,
        store: ImageStore,
        nursery: trio.Nursery,
        budget: DirtyBudget,
        options: WriteOptions,
        container: str,
        name: str,
    ) -> None:
        self.plan: Final = SegmentPlan(
            options.segment_size, store.limits.manifest_segments, store.limits.largest_object
        )
        self.container = container  # of the image; a rename changes it
        self._name = name
        self._options = options
        self._segment_container = ""  # until the first segment has to go somewhere
        self._prefix = ""
        self._choosing = trio.Lock()
        self._store = store
        self._nursery = nursery
        self._budget = budget
        self._started = 0

    async def start(self, buffers: Sequence[memoryview], size: int) -> SegmentUpload:
        """Upload a segment in the background, when the budget has room for it."""
        upload = SegmentUpload(buffers, size)
        await self._start(upload)
        return upload

    async def restart_failed(self, uploads: Iterable[SegmentUpload]) -> None:
        """Upload again what failed before; its bytes are still there."""
        for upload in uploads:
            if upload.failure is not None:
                upload.failure = None
                upload.done = trio.Event()
                await self._start(upload)

    async def wait(self, uploads: Iterable[SegmentUpload]) -> list[Segment]:
        """Return the segments when Swift has all of them.

        Raises:
            SwiftImgFsError: What the first of them that failed failed with.
        """
        segments = []
        for upload in uploads:
            await upload.done.wait()
            if upload.segment is None:
                raise upload.failure or errors.StoreUnavailableError("upload was cancelled")
            segments.append(upload.segment)
        return segments

    async def discard(self, uploads: Sequence[SegmentUpload]) -> None:
        """Delete segments that no manifest will name; shielded, and limited in time.

        Those on their way are let through first: a PUT that was given up could still land
        after the DELETE.
        """
        with trio.move_on_after(CLEAN_UP_SECONDS, shield=True) as scope:
            for upload in uploads:
                await upload.done.wait()
            stored = [upload.segment for upload in uploads if upload.segment]
            await delete_objects(self._store, [(s.container, s.name) for s in stored])
        if scope.cancelled_caught:
            log.error(
                "segments left behind prefix=%s/%s", self._segment_container, self._prefix
            )

    async def _start(self, upload: SegmentUpload) -> None:
        await self._budget.take(upload.size)
        number = self._started
        self._started += 1
        self._nursery.start_soon(self._upload, upload, number)

    async def _upload(self, upload: SegmentUpload, number: int) -> None:
        try:
            upload.segment = await self._put(upload, number)
            upload.buffers = ()
        except errors.SwiftImgFsError as failure:
            log.warning("segment not stored number=%d reason=%s", number, failure)
            upload.failure = failure
        finally:
            await self._budget.give_back(upload.size)
            upload.done.set()

    async def _put(self, upload: SegmentUpload, number: int) -> Segment:
        await self._choose_place()
        payload = Payload(upload.buffers)
        headers = {"Content-Type": SEGMENT_CONTENT_TYPE}
        container, name = self._segment_container, f"{self._prefix}{number:08d}"
        info = await self._store.put_object(container, name, payload, headers)
        return Segment(container, name, upload.size, info.etag, 0, upload.size)

    async def _choose_place(self) -> None:
        """Decide where the segments go, once, when the first is there."""
        async with self._choosing:
            if self._segment_container:
                return
            naming, longest = self._options.naming, self._store.limits.longest_name
            container = await segment_container(self._store, naming, self.container)
            upload = f"{time.time():.6f}-{secrets.token_hex(4)}"  # unique among all hosts
            self._prefix = (
                prefix_among_images(self._name, upload, longest)
                if container == self.container
                else segments_prefix(self._name, upload, self._options.segment_size, longest)
            )
            self._segment_container = container


async def delete_objects(store: ImageStore, objects: Sequence[tuple[str, str]]) -> None:
    """Delete stored objects side by side; what is already gone is fine.

    What cannot be deleted stays in Swift as objects that no manifest names, and in the
    log: it costs room, and harms nobody.
    """
    failed: list[errors.SwiftImgFsError] = []

    async def delete(container: str, name: str) -> None:
        with suppress(errors.NotFoundError):
            try:
                await store.delete_object(container, name)
            except errors.NotFoundError:
                raise
            except errors.SwiftImgFsError as failure:
                failed.append(failure)

    async with trio.open_nursery() as nursery:
        for container, name in objects:
            nursery.start_soon(delete, container, name)
    if failed:
        log.error(
            "segments left behind count=%d of=%d first=%s reason=%s",
            len(failed),
            len(objects),
            "/".join(objects[0]),
            failed[0],
        )
