"""Which objects of a directory are manifests, and so which are segments.

An SLO says so in the listing. A DLO looks like an empty object there, of no size, and only a
HEAD tells; yet its segments must not show, and its size is that of all of them. So:

- Glance's are told by what is listed beside them (`glance_rows`); a few of a directory have to
  confirm that;
- of all others each is asked once a version, before the directory shows. Where they are many
  (a directory of thousands of empty objects would take as many HEADs before its first name)
  only those are that other names begin with, as the segments of Glance's do and of most who
  keep them in the same container. The rest is *put off*: shown as it is listed, and asked as
  soon as somebody looks at it, also at all of them (`details.exact`).

So nobody is ever told a size that is none. What may show until its manifest was looked at is a
segment in the same directory, of a manifest among many empty objects, that is not called after it.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.details import side_by_side
from swiftimgfs.model.glance_rows import glance_images
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.records import ImageInfo, Manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from swiftimgfs.model.details import ImageDetails
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ObjectRow

# How many of the images of a directory that look like Glance's large ones are asked.
CONFIRMED: Final = 8
# How many empty objects of one page of a listing are asked before it shows.
FEW_EMPTY: Final = 64


class Manifests:
    """Finds the manifests among listed objects."""

    def __init__(self, store: ImageStore, details: ImageDetails) -> None:
        """Note in `details` what is found."""
        self._store = store
        self._details = details

    async def settle(
        self,
        container: str,
        rows: Sequence[ObjectRow],
        spoilt: Collection[str],
        *,
        asks_all: bool = False,
    ) -> set[str]:
        """Learn which of these objects are manifests, and so what is a segment.

        Args:
            container: Where they are.
            rows: Of one directory, in Swift's order.
            spoilt: See `glance_rows`.
            asks_all: Put nothing off.

        Returns:
            The names of those that are put off.
        """
        inferred = {
            info.name: info
            for info in glance_images(container, rows, spoilt)
            if not self._details.has(container, info.name, info.last_modified_ns)
        }
        step = max(1, len(inferred) // CONFIRMED)
        confirming = {*list(inferred)[::step][:CONFIRMED]}
        may_be = [row for row in rows if row.may_be_manifest and row.name not in inferred]
        put_off = set() if asks_all else _less_urgent(rows, may_be)
        asked = [row for row in may_be if row.name not in put_off]
        asked += [row for row in rows if row.name in confirming]
        await self._ask(container, asked)
        rest = [info for name, info in inferred.items() if name not in confirming]
        if all(self._is_as_inferred(inferred[name]) for name in confirming):
            for info in rest:
                self._details.infer(info)
        else:
            names = {info.name for info in rest}
            await self._ask(container, [row for row in rows if row.name in names])
        return put_off

    def of(
        self, container: str, row: ObjectRow, put_off: Collection[str] = ()
    ) -> ImageInfo | None:
        """Return what a listed image is; None if it was gone when it was asked for.

        Args:
            container: Where it is.
            row: As it is listed.
            put_off: What `settle` returned.
        """
        known = self._details.known(container, row.name)
        if known is not None and known.last_modified_ns >= row.last_modified_ns:
            return known  # where it is newer, the listing lags
        if row.may_be_manifest and not row.is_slo and row.name not in put_off:
            return known
        return _listed_image(container, row)

    def _is_as_inferred(self, inferred: ImageInfo) -> bool:
        """Return whether an image that was asked is what the listing let expect; or is gone."""
        known = self._details.known(inferred.container, inferred.name)
        return known is None or known.dlo == inferred.dlo

    async def _ask(self, container: str, rows: Iterable[ObjectRow]) -> None:
        """Ask what these are, side by side, unless this version of them is known."""
        await side_by_side(
            (self._ask_one, container, row)
            for row in rows
            if self._needs_asking(container, row)
        )

    def _needs_asking(self, container: str, row: ObjectRow) -> bool:
        if row.is_slo:
            return not self._details.has_resolved(container, row.name, row.slo_etag)
        return not self._details.has(container, row.name, row.last_modified_ns)

    async def _ask_one(self, container: str, row: ObjectRow) -> None:
        """Ask what one listed image is; one that is gone by now is not known afterwards."""
        try:
            if row.is_slo:
                with contextlib.suppress(errors.ImageChangedError):  # is asked as it is now
                    await self._details.resolve(_listed_image(container, row))
                    return
            info = await self._store.head_image(container, row.name)
            self._details.note(info)
            if info.manifest is Manifest.SLO:
                await self._details.resolve(info)
        except errors.NotFoundError:
            self._details.forget(StorePath(container, row.name))


def _less_urgent(rows: Sequence[ObjectRow], may_be: Sequence[ObjectRow]) -> set[str]:
    """Return which of those that may be manifests need not be asked before all is shown."""
    empty = {row.name for row in may_be if not row.is_slo and not row.is_link}
    if len(empty) <= FEW_EMPTY:
        return set()
    beginnings = {
        row.name
        for row, following in itertools.pairwise(rows)
        if following.name.startswith(row.name)
    }
    return empty - beginnings


def _listed_image(container: str, row: ObjectRow) -> ImageInfo:
    """Return an image as far as a listing tells: all but its metadata."""
    return ImageInfo(
        container=container,
        name=row.name,
        size=row.size,
        etag=row.slo_etag or row.etag,
        last_modified_ns=row.last_modified_ns,
        content_type=row.content_type,
        manifest=Manifest.SLO if row.is_slo else None,
    )
