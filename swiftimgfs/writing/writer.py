"""One image being written in order: spooled, uploaded in segments, committed as a whole.

The image is what was uploaded, then what is on its way, then the spool's tail. Until a
commit nobody sees any of it; a commit is one PUT, of the image or of its manifest, after
which everybody does. `close` comes as `flush`, once for every duplicate of a descriptor
and sometimes before the last write, so a commit can be followed by more bytes and another
commit: the tail stays in the spool until the writer is closed, and a tail that was
committed as a segment is uploaded again, longer, under another name.

State: clean (Swift has all of it) or dirty; a commit that failed can be tried again, its
bytes are kept. Once a write was refused the image has a gap that nobody will fill: it is
broken, and never committed, whatever the application does after the error.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.layout import Layout, Source
from swiftimgfs.store.image_store import StoredImage, whole_object
from swiftimgfs.store.large_objects import slo_etag
from swiftimgfs.store.records import EMPTY_MD5
from swiftimgfs.store.request import Payload
from swiftimgfs.writing.spool import Spool, inline_pieces
from swiftimgfs.writing.uploader import SegmentUpload, Uploader, stored_segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.large_objects import Segment
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.uploader import WriteOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit made: the image, and the parts of the one that it replaced."""

    image: StoredImage
    replaced: list[tuple[str, str]]


class ImageWriter:
    """Writes one image from its first byte to its last."""

    def __init__(
        self,
        store: ImageStore,
        uploader: Uploader,
        options: WriteOptions,
        name: str,
        *,
        base: StoredImage | None,
    ) -> None:
        """Start an empty image.

        Args:
            store: Where it will be.
            uploader: Of its segments.
            options: When it is stored in segments, and whether whoever is last wins.
            name: Its name in the uploader's container.
            base: The image that it will replace, as it was seen when it was opened; None
                when there was none.
        """
        self.name = name
        self._store = store
        self._uploader = uploader
        self._options = options
        self._base = base
        self._full: list[SegmentUpload] = []
        self._tail = Spool()
        self._headers: dict[str, str] = {}
        self._is_dirty = True  # an empty image is also one to be stored
        self._refused: errors.SwiftImgFsError | None = None
        self._is_manifest_uncertain = False
        self._lock = trio.Lock()  # writes and commits, one at a time, in the kernel's order

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return sum(upload.size for upload in self._full) + self._tail.size

    @property
    def is_dirty(self) -> bool:
        """Whether there is something that Swift has not acknowledged."""
        return self._is_dirty

    @property
    def is_stored(self) -> bool:
        """Whether an image has the name in Swift: the replaced one, or what was committed."""
        return self._base is not None

    def renamed(self, container: str, name: str, base: StoredImage | None) -> None:
        """Commit under another name from now on, where `base` is what has the name already."""
        self._uploader.container = container
        self.name = name
        self._base = base

    async def write(self, offset: int, data: bytes) -> None:
        """Append `data` at `offset`; what lies between it and the end becomes zeros.

        Waits only when too many bytes wait for Swift.

        Raises:
            NotSupportedError: `offset` lies before the end.
            SwiftImgFsError: What an upload of this image failed with.
        """
        async with self._lock:
            self._raise_refused()
            try:
                await self._write(offset, data)
            except errors.SwiftImgFsError as failure:
                self._refused = failure
                raise

    async def _write(self, offset: int, data: bytes) -> None:
        gap = offset - self.size
        if gap < 0:
            raise errors.NotSupportedError(
                f"{self.name}: written at {offset} with {self.size} bytes there already;"
                " images can be written in order only"
            )
        self._is_dirty = True
        await self._append_zeros(gap)
        self._tail.append(data)
        await self._upload_full_segments()

    async def truncate(self, size: int) -> None:
        """Make the image `size` bytes long, by zeros or by forgetting what was not uploaded.

        Raises:
            NotSupportedError: What would have to go was already uploaded.
        """
        async with self._lock:
            gap = size - self.size
            if not gap:
                return
            if -gap > self._tail.size:
                raise errors.NotSupportedError(
                    f"{self.name}: cannot be shortened to {size} bytes any more"
                )
            self._is_dirty = True
            if gap < 0:
                self._tail.truncate(self._tail.size + gap)
            await self._append_zeros(gap)
            await self._upload_full_segments()

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """Have the next commit send these headers, metadata and content type, with the image."""
        if any(self._headers.get(key) != value for key, value in headers.items()):
            self._headers |= headers
            self._is_dirty = True

    def layout(self) -> Layout:
        """Return the image as it was written, wherever its bytes are now."""
        return Layout(self._pieces())

    async def commit(self) -> Committed | None:
        """Return after Swift acknowledged all of the image; None when it had already.

        Raises:
            ImageChangedError: Somebody else changed or made the image meanwhile.
            SwiftImgFsError: Swift does not have it; the bytes are kept, try again.
        """
        async with self._lock:
            self._raise_refused()
            if not self._is_dirty:
                return None
            committed = await self._commit()
            self._is_dirty = False
            return committed

    async def close(self) -> None:
        """Give the bytes up; delete the segments of what was never committed."""
        if self._is_dirty:
            kept = set(self._base.parts) if self._base else set()
            abandoned = [
                u for u in self._full if u.segment is None or _name(u.segment) not in kept
            ]
            await self._discard(abandoned)
        self._tail = Spool()

    # ── the steps of a commit ──────────────────────────────────────────────────────────

    async def _commit(self) -> Committed:
        await self._check_base()
        is_large = self._full or self._tail.size >= self._options.large_object_size
        info, tail = await (self._put_large() if is_large else self._put_plain())
        image = self._stored_image(info, tail)
        kept = {*image.parts, (info.container, info.name)}
        old = self._base.parts if self._base else ()
        self._base = image
        log.info(
            "committed image=%s/%s size=%d etag=%s",
            info.container,
            info.name,
            info.size,
            info.etag,
        )
        return Committed(image, [part for part in old if part not in kept])

    async def _check_base(self) -> None:
        """Refuse to replace an image that is not the one we opened.

        Swift has no If-Match for a PUT: between this HEAD and the PUT another host can
        still come. Whoever is later then wins as a whole.
        """
        if self._base is None or self._options.last_writer_wins:
            return
        base = self._base.info
        try:
            now = await self._store.head_image(base.container, base.name)
        except errors.NotFoundError:
            return  # deleted since: what we write is not in anybody's way
        if now.etag != base.etag:
            raise errors.ImageChangedError(
                f"{base.container}/{base.name}: changed by somebody else since it was opened"
            )

    async def _put_plain(self) -> tuple[ImageInfo, None]:
        payload = Payload(self._tail.buffers()) if self._tail.size else b""
        container, name = self._uploader.container, self.name
        try:
            info = await self._store.put_object(
                container, name, payload, self._headers, is_new=self._must_be_new
            )
        except (errors.ExistsError, errors.StoreUnavailableError) as failure:
            etag = payload.md5() if isinstance(payload, Payload) else EMPTY_MD5
            info = await self._ours_after_all(etag, failure)
        return info, None

    async def _put_large(self) -> tuple[ImageInfo, Segment | None]:
        self._check_count(len(self._full) + bool(self._tail.size))
        await self._uploader.restart_failed(self._full)
        tail = []
        if self._tail.size:
            tail.append(await self._uploader.start(self._tail.buffers(), self._tail.size))
        try:
            segments = await self._uploader.wait([*self._full, *tail])
            info = await self._put_manifest(segments)
        except BaseException:
            await self._discard(tail)
            raise
        return info, segments[-1] if tail else None

    async def _put_manifest(self, segments: list[Segment]) -> ImageInfo:
        container, is_new = self._uploader.container, self._must_be_new
        etag = slo_etag(segment.etag for segment in segments)
        self._is_manifest_uncertain = True
        try:
            info = await self._store.put_manifest(
                container, self.name, segments, self._headers, is_new=is_new
            )
        except (errors.ExistsError, errors.StoreUnavailableError) as failure:
            info = await self._ours_after_all(etag, failure)
        except errors.SwiftImgFsError:
            self._is_manifest_uncertain = False
            raise
        self._is_manifest_uncertain = False
        return info

    @property
    def _must_be_new(self) -> bool:
        return self._base is None and not self._options.last_writer_wins

    async def _ours_after_all(self, etag: str, failure: errors.SwiftImgFsError) -> ImageInfo:
        """Return what has the name if it is what we sent: only the answer to our PUT was lost."""
        info = await self._store.head_image(self._uploader.container, self.name)
        if info.etag == etag:
            return info
        if isinstance(failure, errors.ExistsError):
            self._is_manifest_uncertain = False
            raise errors.ImageChangedError(f"{failure}: made by somebody else") from failure
        raise failure

    async def _discard(self, uploads: list[SegmentUpload]) -> None:
        """Delete uploaded segments, unless a manifest whose fate we do not know may name them."""
        if not self._is_manifest_uncertain:
            await self._uploader.discard(uploads)
        elif uploads:
            log.error(
                "segments kept, because their manifest may be stored image=%s/%s count=%d",
                self._uploader.container,
                self.name,
                len(uploads),
            )

    # ── the parts of the image ─────────────────────────────────────────────────────────

    def _pieces(self) -> Iterator[tuple[int, Source]]:
        for upload in self._full:
            yield from upload.pieces()
        yield from inline_pieces(self._tail.buffers())

    def _stored_image(self, info: ImageInfo, tail: Segment | None) -> StoredImage:
        segments = [upload.segment for upload in self._full if upload.segment]
        segments += [tail] if tail else []
        if not segments:
            return StoredImage(info, Layout([(info.size, whole_object(info))]))
        layout = Layout((segment.size, stored_segment(segment)) for segment in segments)
        return StoredImage(info, layout, tuple(_name(segment) for segment in segments))

    async def _append_zeros(self, size: int) -> None:
        """Append zeros segment by segment, so that a large hole waits like data does."""
        while size > 0:
            step = min(size, self._uploader.plan.size_of(len(self._full)))
            self._tail.append_zeros(step)
            size -= step
            await self._upload_full_segments()

    async def _upload_full_segments(self) -> None:
        """Start the upload of each segment that is complete."""
        while self._full or self._tail.size >= self._options.large_object_size:
            size = self._uploader.plan.size_of(len(self._full))
            if self._tail.size < max(size, 1):
                return
            self._raise_upload_failure()
            self._check_count(len(self._full) + 1)
            self._full.append(await self._uploader.start(self._tail.cut(size), size))

    def _check_count(self, segments: int) -> None:
        if segments > self._uploader.plan.most_segments:
            raise errors.TooLargeError(f"{self.name}: more segments than a manifest names")

    def _raise_upload_failure(self) -> None:
        """Tell an application at once that what it goes on to write will not be stored."""
        for upload in self._full:
            if upload.failure is not None:
                raise upload.failure

    def _raise_refused(self) -> None:
        if self._refused is not None:
            raise self._refused


def _name(segment: Segment) -> tuple[str, str]:
    return segment.container, segment.name
