"""The last step of writing an image: one PUT, after which everybody sees it.

Swift has no If-Match for a PUT: a HEAD just before it tells whether the image is still the
one that was opened, and between the two another host can come; whoever is later then wins
as a whole. A new name is put with If-None-Match. Of a PUT whose answer is lost, a HEAD tells
whether it was done; where that cannot be told either, what the manifest names is kept.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.layout import Layout, Zeros
from swiftimgfs.store.image_store import StoredImage, whole_object
from swiftimgfs.store.large_objects import Segment
from swiftimgfs.writing.doomed import Doomed, Version
from swiftimgfs.writing.named_by import anchor_of
from swiftimgfs.writing.uploader import stored_segment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.store.request import Payload
    from swiftimgfs.writing.cells import Hole
    from swiftimgfs.writing.hooks import ImageFormat, ObjectName
    from swiftimgfs.writing.parts import WriteParts
    from swiftimgfs.writing.uploader import Uploader

log = logging.getLogger(__name__)

# Entered for the last step of a commit; says whether the image still has its name.
Gate = Callable[[], AbstractAsyncContextManager[bool]]


def always_open() -> AbstractAsyncContextManager[bool]:
    """Return the gate of an image that nobody else of this process knows."""
    return contextlib.nullcontext(enter_result=True)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit made.

    Attributes:
        image: The image.
        doomed: What nothing names any more: to be deleted when nobody reads it.
    """

    image: StoredImage
    doomed: Doomed


class Committer:
    """Puts one image.

    Attributes:
        base: What has the name in Swift, as far as we know.
    """

    def __init__(
        self,
        parts: WriteParts,
        uploader: Uploader,
        image_format: ImageFormat,
        base: StoredImage | None,
        gate: Gate,
    ) -> None:
        self.base = base
        self._gate = gate
        self._parts = parts
        self._uploader = uploader
        self._format = image_format
        self._is_uncertain = False  # a manifest may be stored, or not

    async def put_plain(self, payload: Payload, headers: Mapping[str, str]) -> Committed | None:
        """Store the image as one object; return None when its name is gone."""
        async with self._gate() as has_name:
            return await self._put_plain(payload, headers) if has_name else None

    async def _put_plain(self, payload: Payload, headers: Mapping[str, str]) -> Committed:
        await self._check_base(())
        store, uploader = self._parts.store, self._uploader
        if self._replaced(()) or uploader.entry_so_far is not None:
            await self._announce(await store.md5_of(payload), ())
        try:
            info = await store.put_object(
                uploader.container, uploader.name, payload, headers, is_new=self._must_be_new
            )
        except (errors.ExistsError, errors.StoreUnavailableError) as failure:
            md5 = await store.md5_of(payload)
            await self._announce(md5, ())  # it may be stored: who tries again must know it
            info = await self._ours_after_all(md5, failure)
        return await self._done(StoredImage(info, Layout([(info.size, whole_object(info))])))

    async def put_large(
        self,
        rows: Sequence[Segment | Hole],
        layout: Layout,
        headers: Mapping[str, str],
    ) -> Committed | None:
        """Store the image as a manifest of `rows`, which are what `layout` says; or None."""
        async with self._gate() as has_name:
            return await self._put_large(rows, layout, headers) if has_name else None

    async def _put_large(
        self,
        rows: Sequence[Segment | Hole],
        layout: Layout,
        headers: Mapping[str, str],
    ) -> Committed:
        await self._check_base([_name(row) for row in rows if isinstance(row, Segment)])
        flat = await self._format.prepare(rows)
        folded = await self._format.fold(flat)
        named = dict.fromkeys([*(_name(s) for s in flat), *folded.made])
        etag = self._format.etag_of(folded.rows)
        await self._announce(etag, list(named))
        self._is_uncertain = True
        try:
            info = await self._format.put(folded.rows, headers, is_new=self._must_be_new)
        except (errors.ExistsError, errors.StoreUnavailableError) as failure:
            info = await self._ours_after_all(etag, failure, named)
        except errors.SwiftImgFsError:
            self._is_uncertain = False
            raise
        self._is_uncertain = False
        rows = () if info.dlo is not None else folded.rows
        return await self._done(StoredImage(info, _moved(layout, flat), tuple(named)), rows)

    async def abandon(self) -> None:
        """Delete what was put, unless a manifest whose fate we do not know may name it."""
        if self._is_uncertain:
            if self._uploader.entry_so_far is not None:
                await self._uploader.entry_so_far.given_up(is_uncertain=True)
            if self._uploader.pending:
                log.error(
                    "segments kept, because their manifest may be stored image=%s/%s count=%d",
                    self._uploader.container,
                    self._uploader.name,
                    len(self._uploader.pending),
                )
            return
        await self._format.abandon()
        left, entry = await self._uploader.abandon()
        # Under names that others may give to theirs meanwhile it is left to the next mount.
        if left and entry is not None and entry.is_alone_with(left):
            self._parts.garbage.go_on(left, entry)

    @property
    def _must_be_new(self) -> bool:
        return self.base is None and not self._parts.options.last_writer_wins

    async def _announce(self, etag: str, named: Sequence[ObjectName]) -> None:
        entry = await self._uploader.entry()
        await entry.committing(etag, named, self._replaced(named))

    def _replaced(self, named: Collection[ObjectName]) -> list[ObjectName]:
        kept = {*named, self._uploader.image}
        old = self.base.parts if self.base else ()
        return [part for part in old if part not in kept]

    async def _done(
        self, image: StoredImage, rows: Sequence[Segment] | None = None
    ) -> Committed:
        replaced = self._replaced(image.parts)
        anchor = anchor_of(self.base.parts if self.base else ())
        left, entry = self._uploader.committed(set(image.parts))
        self.base = image
        self._uploader.base_etag = image.info.etag
        info = image.info
        log.info(
            "committed image=%s/%s size=%d segments=%d etag=%s",
            info.container,
            info.name,
            info.size,
            len(image.parts),
            info.etag,
        )
        if entry is not None:
            await entry.committed()
        place = info.container, info.name
        successor = None if rows is None else Version(image, rows)
        doomed = Doomed([*replaced, *left], entry, place, anchor, successor=successor)
        return Committed(image, doomed)

    async def _check_base(self, named: Collection[ObjectName]) -> None:
        """Refuse to replace an image that is not the one we opened, or to name what is not ours.

        One that has lost its name may have another: what it is made of is that one's then, and
        is neither named nor deleted by us. Without any of it we are in nobody's way.
        """
        if self.base is None:
            return
        base = self.base.info
        image = f"{base.container}/{base.name}"
        try:
            now = await self._parts.store.head_image(base.container, base.name)
        except errors.NotFoundError:
            if not {*self.base.parts}.isdisjoint(named):
                raise errors.ImageChangedError(
                    f"{image}: removed or renamed by somebody else since it was opened"
                ) from None
            self.base = None
            return
        if now.etag != base.etag and not self._parts.options.last_writer_wins:
            raise errors.ImageChangedError(
                f"{image}: changed by somebody else since it was opened"
            )

    async def _ours_after_all(
        self,
        etag: str,
        failure: errors.SwiftImgFsError,
        named: Collection[ObjectName] = (),
    ) -> ImageInfo:
        """Return what has the name if it is what we sent: only the answer to our PUT was lost.

        The same bytes may have been there before, in segments that have to go after a
        commit: so it has to name those that we have put.
        """
        uploader, store = self._uploader, self._parts.store
        info = await store.head_image(uploader.container, uploader.name)
        if info.etag == etag and set((await store.resolve(info)).parts) == set(named):
            return info
        if isinstance(failure, errors.ExistsError):
            self._is_uncertain = False
            raise errors.ImageChangedError(f"{failure}: made by somebody else") from failure
        raise failure


def _name(segment: Segment) -> ObjectName:
    return segment.container, segment.name


def _moved(layout: Layout, rows: Sequence[Segment]) -> Layout:
    """Return a layout with what is stored where the rows say that it is now."""
    if not any(isinstance(extent.source, Zeros) for extent in layout.extents):
        return Layout((row.length, stored_segment(row)) for row in rows)
    starts = itertools.accumulate((row.length for row in rows), initial=0)
    by_offset = dict(zip(starts, rows, strict=False))
    return Layout(
        (
            e.size,
            e.source if isinstance(e.source, Zeros) else stored_segment(by_offset[e.offset]),
        )
        for e in layout.extents
    )
