"""Large images as SLOs: rows for segments, for parts of them, and for zeros.

The zeros of a sparse image are one object of zeros that belongs to it, named as often as
that takes, so a hole of any size costs a few rows. Where a manifest names more than Swift
lets it, its rows go into manifests below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs.layout import Extent, Zeros
from swiftimgfs.store.large_objects import ZEROS, Segment, slo_etag
from swiftimgfs.writing.cells import Hole, rows_of_hole, size_of_zeros
from swiftimgfs.writing.hooks import Folded
from swiftimgfs.writing.places import segment_container
from swiftimgfs.writing.segmenter import (
    SEGMENT_CONTENT_TYPE,
    SegmentPlan,
    prefix_among_images,
    segments_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.hooks import ObjectName
    from swiftimgfs.writing.options import WriteOptions
    from swiftimgfs.writing.uploader import Uploader


class SloFormat:
    """How one image is stored as an SLO; see `hooks.ImageFormat`."""

    names_zeros: Final = True
    is_fixed: Final = False
    segment_headers: Final[Mapping[str, str]] = {"Content-Type": SEGMENT_CONTENT_TYPE}

    def __init__(self, store: ImageStore, uploader: Uploader, options: WriteOptions) -> None:
        limits = store.limits
        self.plan: Final = SegmentPlan(
            max(options.segment_size, limits.smallest_segment),
            limits.manifest_segments,
            limits.largest_object,
            limits.smallest_segment,
        )
        self._store = store
        self._uploader = uploader
        self._options = options
        self._choosing = trio.Lock()
        self._token = ""  # of the journal's entry whose prefix was chosen
        self._place: ObjectName = ("", "")

    def is_large(self, size: int, *, is_started: bool) -> bool:
        """Return whether an image is stored in segments."""
        return size > 0 and (is_started or size >= self._options.large_object_size)

    async def get_ready(self) -> None:
        """Have a container for the segments."""
        await self._chosen_place()

    async def place(self, start: int, number: int) -> ObjectName:  # noqa: ARG002  # Glance's way
        """Return where the writer's PUT number `number` goes."""
        container, prefix = await self._chosen_place()
        return container, f"{prefix}{number:08d}"

    async def prepare(self, rows: Sequence[Segment | Hole]) -> list[Segment]:
        """Return the rows, with the object of zeros for holes and a copy of a plain image."""
        return await self._without_holes(await self._without_own_object(rows))

    async def fold(self, rows: Sequence[Segment]) -> Folded:
        """Put rows into manifests below the image's, when they are too many for one."""
        most = self._store.limits.manifest_segments
        made: list[Segment] = []
        while len(rows) > most:
            groups = [rows[i : i + most] for i in range(0, len(rows), most)]
            first = len(made)
            made += [await self._nested(g, first + n) for n, g in enumerate(groups)]
            rows = made[first:]
        return Folded(rows, [(segment.container, segment.name) for segment in made])

    async def put(
        self, rows: Sequence[Segment], headers: Mapping[str, str], *, is_new: bool
    ) -> ImageInfo:
        """Store the manifest."""
        uploader = self._uploader
        return await self._store.put_manifest(
            uploader.container, uploader.name, rows, headers, is_new=is_new
        )

    def etag_of(self, rows: Sequence[Segment]) -> str:
        """Return the etag that the image has then."""
        return slo_etag(rows)

    def renamed(self, container: str, name: str) -> None:
        """Do nothing: the uploader knows the name."""

    async def abandon(self) -> None:
        """Do nothing: all that is made here is the uploader's."""

    async def _without_own_object(
        self, rows: Sequence[Segment | Hole]
    ) -> Sequence[Segment | Hole]:
        """Have what a plain image holds copied, inside Swift, to where a manifest can name it."""
        image = self._uploader.image
        own = next(
            (r for r in rows if isinstance(r, Segment) and (r.container, r.name) == image), None
        )
        if own is None:
            return rows
        container, prefix = await self._chosen_place()
        name = f"{prefix}copy"
        await self._uploader.announce(container, name)
        await self._store.copy_object(
            Segment(*image, own.size, own.etag, 0, own.size),
            container,
            name,
            self.segment_headers,
        )
        self._uploader.acknowledged(own.size)
        return [
            Segment(container, name, row.size, row.etag, row.start, row.length)
            if isinstance(row, Segment) and (row.container, row.name) == image
            else row
            for row in rows
        ]

    async def _without_holes(self, rows: Sequence[Segment | Hole]) -> list[Segment]:
        holes = [row.size for row in rows if isinstance(row, Hole)]
        if not holes:
            return [row for row in rows if isinstance(row, Segment)]
        most = self.plan.rows_for(len(rows))
        size = size_of_zeros(holes, most - (len(rows) - len(holes)), self.plan.smallest)
        size = min(size, self._store.limits.largest_object)
        zeros = await self._zeros(size)
        return list(_filled(rows, zeros))

    async def _zeros(self, size: int) -> Segment:
        container, prefix = await self._chosen_place()
        return await self._uploader.put(
            (container, f"{prefix}{ZEROS}"), [Extent(0, size, Zeros())], self.segment_headers
        )

    async def _nested(self, group: Sequence[Segment], number: int) -> Segment:
        container, prefix = await self._chosen_place()
        place = container, f"{prefix}rows-{number:08d}"
        await self._uploader.announce(*place)
        info = await self._store.put_manifest(*place, group, self.segment_headers)
        return Segment(*place, info.size, info.etag, 0, info.size, is_slo=True)

    async def _chosen_place(self) -> ObjectName:
        """Return (container, prefix) of the segments: another prefix for each commit."""
        async with self._choosing:
            entry = await self._uploader.entry()
            if self._token == entry.token:
                return self._place
            uploader, longest = self._uploader, self._store.limits.longest_name
            container = await segment_container(
                self._store, self._options.naming, uploader.container
            )
            prefix = (
                prefix_among_images(uploader.name, entry.token, longest)
                if container == uploader.container
                else segments_prefix(
                    uploader.name, entry.token, self._options.segment_size, longest
                )
            )
            await entry.place(container, prefix)
            self._token, self._place = entry.token, (container, prefix + uploader.attempt)
            return self._place


def _filled(rows: Sequence[Segment | Hole], zeros: Segment) -> Iterator[Segment]:
    for row in rows:
        if isinstance(row, Segment):
            yield row
            continue
        for size in rows_of_hole(row.size, zeros.size):
            yield Segment(zeros.container, zeros.name, zeros.size, zeros.etag, 0, size)
