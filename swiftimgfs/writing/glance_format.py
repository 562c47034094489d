"""Large images as Glance's driver stores them: DLOs, with `large_object=glance`.

A DLO has no list of its segments: what lies below its prefix is the image, at once. So

- a prefix is used for one commit only, and every commit has a new one, at which untouched
  segments are copied inside Swift: what somebody reads never changes under them;
- the driver's own prefix is taken only where nothing lies below it, and is claimed first:
  of two hosts that make one image, only one gets it;
- before the manifest is put, the listing below the prefix has to be just the segments that
  were stored, sizes and etags too. A listing may lag: it is waited for.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.store.large_objects import Segment, etag_of_etags
from swiftimgfs.store.metadata import headers_of
from swiftimgfs.store.naming import is_image_id
from swiftimgfs.store.records import OBJECT_MANIFEST, Manifest
from swiftimgfs.writing.glance_layout import (
    MOST_SEGMENTS,
    glance_plan,
    manifest_header,
    numbers_of,
    prefix_of,
    segment_name,
)
from swiftimgfs.writing.hooks import Folded
from swiftimgfs.writing.segmenter import prefix_among_images

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.cells import Hole
    from swiftimgfs.writing.hooks import ObjectName
    from swiftimgfs.writing.options import WriteOptions
    from swiftimgfs.writing.uploader import Uploader

log = logging.getLogger(__name__)

# How long a listing may lag behind what was stored, and how soon it is looked at again.
LISTING_SECONDS: Final = 30.0
FIRST_LOOK: Final = 0.1
LONGEST_LOOK: Final = 2.0
CLAIM: Final = "claim"
CLAIM_SECONDS: Final = 0.1  # longer than Swift takes from looking to storing
COPIES_AT_ONCE: Final = 8


class GlanceFormat:
    """How one image is stored as the driver would; see `hooks.ImageFormat`."""

    names_zeros: Final = False
    is_fixed: Final = True
    segment_headers: Final[Mapping[str, str]] = {}  # the driver sends none

    def __init__(self, store: ImageStore, uploader: Uploader, options: WriteOptions) -> None:
        self.plan: Final = glance_plan(options.segment_size, store.limits.largest_object)
        self._store = store
        self._uploader = uploader
        self._options = options
        self._choosing = trio.Lock()
        self._token = ""  # of the journal's entry whose prefix was chosen
        self._place: ObjectName = ("", "")
        self._claiming: tuple[ObjectName, str] | None = (
            None  # which may be stored, and its token
        )

    def is_large(self, size: int, *, is_started: bool) -> bool:
        """Return whether an image is stored in segments, or as a manifest without any."""
        if size == 0:
            return is_image_id(self._uploader.name)  # else it is somebody's empty file
        return is_started or size >= self._options.large_object_size

    async def get_ready(self) -> None:
        """Do nothing: a prefix that is claimed is a segment already."""

    async def place(self, start: int, number: int) -> ObjectName:  # noqa: ARG002  # SLOs' way
        """Return where the segment that begins at `start` goes.

        Raises:
            TooLargeError: Glance has no name for it.
        """
        position = start // self.plan.segment_size + 1
        if position > MOST_SEGMENTS:
            raise errors.TooLargeError(
                f"{self._uploader.name}: more than {MOST_SEGMENTS} segments of"
                f" {self.plan.segment_size} bytes (swift_store_large_object_chunk_size)"
            )
        container, prefix = await self._chosen_place()
        return container, segment_name(prefix, position)

    async def prepare(self, rows: Sequence[Segment | Hole]) -> list[Segment]:
        """Return the rows where the manifest will find them, and nothing else with them.

        Raises:
            StoreUnavailableError: The listing does not show them in time.
        """
        segments = [row for row in rows if isinstance(row, Segment)]
        if await self._are_one_image(segments):
            return segments
        numbers = numbers_of(segments, self.plan.segment_size)
        container, prefix = await self._chosen_place(is_empty=not segments)
        names = [segment_name(prefix, number) for number in numbers]
        if _are_misplaced(segments, container, prefix, names):
            prefix = self._own_prefix(f"{self._token}-again")
            self._place = container, prefix
            names = [segment_name(prefix, number) for number in numbers]
        placed = await self._copied(segments, container, names)
        await self._uploader.drop(self._leftovers(container, prefix, names))
        await self._wait_for_listing(container, prefix, placed)
        return placed

    async def fold(self, rows: Sequence[Segment]) -> Folded:
        """Return the rows: a DLO is as long as it is."""
        return Folded(rows)

    async def put(
        self, rows: Sequence[Segment], headers: Mapping[str, str], *, is_new: bool
    ) -> ImageInfo:
        """Store the manifest: an empty object that names the prefix.

        It is sent without an ETag, which Ceph takes for that of the segments and refuses.
        """
        container, prefix = self._place
        manifest = {**headers, OBJECT_MANIFEST: manifest_header(container, prefix)}
        uploader = self._uploader
        info = await self._store.put_object(
            uploader.container, uploader.name, b"", manifest, is_new=is_new
        )
        return replace(
            info,
            size=sum(row.size for row in rows),
            etag=self.etag_of(rows),
            manifest=Manifest.DLO,
            dlo=(container, prefix),
        )

    def etag_of(self, rows: Sequence[Segment]) -> str:
        """Return the etag that the image has then."""
        return etag_of_etags(row.etag for row in rows)

    def renamed(self, container: str, name: str) -> None:
        """Do nothing: the segments stay where they are, and the uploader knows the name."""

    async def abandon(self) -> None:
        """Have the uploader delete the claim too, whose answers may all have been lost.

        Where Swift cannot say whether it is ours, the journal's entry stays: the next mount asks.
        """
        if self._claiming is None:
            return
        (container, name), token = self._claiming
        self._claiming = None
        try:
            if await self._has_claim(container, name, token):
                await self._uploader.announce(container, name)
        except errors.NotFoundError:
            return
        except errors.SwiftImgFsError as failure:
            log.warning("claim left to the next mount name=%s reason=%s", name, failure)
            self._uploader.leave()

    # ── where segments go ──────────────────────────────────────────────────────────────

    async def _chosen_place(self, *, is_empty: bool = False) -> ObjectName:
        """Return (container, prefix) of the segments: another prefix for each commit."""
        async with self._choosing:
            uploader = self._uploader
            entry = await uploader.entry()
            if self._token == entry.token:
                return self._place
            container = uploader.container
            prefix = f"{uploader.name}-"
            is_free = await self._is_free(container, prefix, entry.token)
            if not is_free or not (is_empty or await self._is_claimed(container, prefix)):
                prefix = self._own_prefix(entry.token)
                await entry.place(container, prefix)
            self._token, self._place = entry.token, (container, prefix)
            return self._place

    def _own_prefix(self, token: str) -> str:
        name, longest = self._uploader.name, self._store.limits.longest_name
        return prefix_among_images(name, token, longest)

    async def _is_free(self, container: str, prefix: str, token: str) -> bool:
        """Return whether the driver's prefix is for this image, and nothing lies below it.

        But for a claim of ours, of which no answer came.
        """
        if self._uploader.base_etag is not None or not is_image_id(self._uploader.name):
            return False
        page = await self._store.list_page(container, prefix, delimiter="", limit=2)
        names = [row.name for row in page.rows]
        claim = segment_name(prefix, 1)
        is_free = not names or (
            names == [claim] and await self._has_claim(container, claim, token)
        )
        if not is_free:
            log.info("prefix in use already container=%s prefix=%s", container, prefix)
        return is_free

    async def _is_claimed(self, container: str, prefix: str) -> bool:
        """Return whether the driver's prefix is ours now, and nobody else's.

        The claim is an empty first segment, which the real one replaces. Of two that come at
        once Swift may let both pass: the later one stays, and the other one finds it there.
        It is noted as stored when it is ours and not before: somebody else's must never be
        deleted. Until then it is noted as what Swift has to be asked about.
        """
        name = segment_name(prefix, 1)
        entry = await self._uploader.entry()
        token = entry.token
        claim = headers_of({CLAIM: token})
        await entry.claiming(container, name)
        self._claiming = (container, name), token
        with contextlib.suppress(errors.ExistsError):  # perhaps ours, whose answer was lost
            await self._store.put_object(container, name, b"", claim, is_new=True)
            await trio.sleep(CLAIM_SECONDS)
        is_ours = await self._has_claim(container, name, token)
        self._claiming = None
        if not is_ours:
            log.info("prefix claimed by another container=%s prefix=%s", container, prefix)
            return False
        await self._uploader.announce(container, name)
        return True

    async def _has_claim(self, container: str, name: str, token: str) -> bool:
        there = await self._store.newest().head_image(container, name)
        return there.metadata.get(CLAIM) == token

    def _leftovers(
        self, container: str, prefix: str, names: Collection[str]
    ) -> list[ObjectName]:
        """Return what was put below the prefix and is no part of the image any more."""
        return [
            (where, name)
            for where, name in self._uploader.pending
            if where == container and name.startswith(prefix) and name not in names
        ]

    async def _are_one_image(self, rows: Sequence[Segment]) -> bool:
        """Return whether the rows are a DLO as they are: only headers are new."""
        place = prefix_of(rows)
        if place is None or any(not row.is_whole for row in rows):
            return False
        if not await self._is_listed(*place, rows):
            return False
        self._place = place
        return True

    # ── copies ─────────────────────────────────────────────────────────────────────────

    async def _copied(
        self, rows: Sequence[Segment], container: str, names: Sequence[str]
    ) -> list[Segment]:
        """Return the rows under `names`: copied there by Swift where they are not there yet."""
        placed = list(rows)
        limit = trio.CapacityLimiter(COPIES_AT_ONCE)

        async def copy(number: int) -> None:
            async with limit:
                placed[number] = await self._copy(rows[number], container, names[number])

        with errors.first_failure():
            async with trio.open_nursery() as nursery:
                for number, (row, name) in enumerate(zip(rows, names, strict=True)):
                    if (row.container, row.name) != (container, name) or not row.is_whole:
                        nursery.start_soon(copy, number)
        return placed

    async def _copy(self, row: Segment, container: str, name: str) -> Segment:
        await self._uploader.announce(container, name)
        etag = await self._store.copy_object(row, container, name, self.segment_headers)
        self._uploader.acknowledged(row.length)
        return Segment(container, name, row.length, etag, 0, row.length)

    # ── the listing, which is the image ────────────────────────────────────────────────

    async def _wait_for_listing(
        self, container: str, prefix: str, rows: Sequence[Segment]
    ) -> None:
        look = FIRST_LOOK
        with trio.move_on_after(LISTING_SECONDS):
            while not await self._is_listed(container, prefix, rows):
                await trio.sleep(look)
                look = min(2 * look, LONGEST_LOOK)
            return
        raise errors.StoreUnavailableError(
            f"{container}/{prefix}*: the listing shows other segments than were stored"
        )

    async def _is_listed(self, container: str, prefix: str, rows: Sequence[Segment]) -> bool:
        listed = await self._store.list_all(container, prefix)
        stored = [(row.name, row.size, row.etag) for row in rows]
        return [(row.name, row.size, row.etag) for row in listed] == stored


def _are_misplaced(
    rows: Sequence[Segment], container: str, prefix: str, names: Sequence[str]
) -> bool:
    """Return whether what was stored below the prefix is not where the other rows leave it."""
    return any(
        row.container == container and row.name.startswith(prefix) and row.name != name
        for row, name in zip(rows, names, strict=True)
    )
