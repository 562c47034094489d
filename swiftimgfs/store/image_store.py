"""The verbs of the store: list, head, lay out, read a range, put, copy, delete, post.

Each verb is one request, or the few that Swift needs for one fact; nothing here remembers
anything between two calls but the cluster's limits.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from swiftimgfs import errors
from swiftimgfs.layout import Inline, Layout, Source, Stored, Zeros
from swiftimgfs.store import large_objects, records
from swiftimgfs.store.cluster import Limits, limits_of
from swiftimgfs.store.location import Location, format_storage_location
from swiftimgfs.store.request import Payload, Request, ZeroBytes, heartbeat_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swiftimgfs.store.connection import ConnectionPool
    from swiftimgfs.store.large_objects import Segment
    from swiftimgfs.store.records import (
        AccountInfo,
        ContainerInfo,
        ContainerRow,
        ImageInfo,
        ObjectRow,
    )
    from swiftimgfs.store.wire import Target

log = logging.getLogger(__name__)

HTTP_ACCEPTED = 202  # PUT of a container that is there
ASKING_ALL = {"X-Newest": "true"}
IF_NEW = {"If-None-Match": "*"}  # the only condition that Swift takes with a PUT
INFO = Request("GET", "info", is_below_account=False)
DEEPEST_SLO = 10  # Swift's own limit for manifests in manifests
# Swift looks at each segment that a manifest names, four at a time: with more than these it
# is asked to say something meanwhile, so that no proxy in between gives up.
FEW_SEGMENTS = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a container's listing: objects, sub-directories, and where the next part starts."""

    rows: list[ObjectRow]
    subdirs: list[str]
    next_marker: str | None

    @property
    def has_any(self) -> bool:
        """Whether there is anything."""
        return bool(self.rows or self.subdirs)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One version of an image, with all that it is made of.

    Attributes:
        info: What HEAD says of it.
        layout: Its bytes, down to objects that hold plain ones.
        parts: (container, object) of everything that its manifest names, nested manifests
            too: what has to go when the image goes. Empty for a plain image.
    """

    info: ImageInfo
    layout: Layout
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Parts:
    """What a manifest was found to name so far."""

    pieces: list[tuple[int, Source]] = field(default_factory=list)
    objects: list[tuple[str, str]] = field(default_factory=list)
    nested: dict[tuple[str, str], Layout] = field(default_factory=dict)

    def add_zeros(self, size: int) -> None:
        """Add zeros, to those before if there are some: a hole is many rows."""
        if self.pieces and isinstance(self.pieces[-1][1], Zeros):
            size += self.pieces.pop()[0]
        self.pieces.append((size, Zeros()))


class ImageStore:
    """The containers and images of one account."""

    def __init__(self, pool: ConnectionPool, reference: str = "") -> None:
        """Use `pool`; `reference` is what Glance calls the login in its locations."""
        self._pool: Final = pool
        self._reference: Final = reference
        self._asking: Mapping[str, str] = {}
        self.limits = Limits()
        self._md5_of_zeros: dict[int, str] = {}

    def newest(self) -> ImageStore:
        """Return the same store, asking all replicas of an object and not the next best.

        Slower, and as right as Swift can be: who deletes by what a manifest names must not
        be told of the one before.
        """
        store = ImageStore(self._pool, self._reference)
        store.limits, store._asking = self.limits, ASKING_ALL
        return store

    # ── the account ────────────────────────────────────────────────────────────────────

    async def connect(self) -> AccountInfo:
        """Prove who we are, learn the cluster's limits, and return what the account says.

        Somebody whom an ACL lets into a container may not ask the account: it then says
        nothing.

        Raises:
            AccessDeniedError: The credentials were refused.
            StoreUnavailableError: Nothing answers there.
        """
        try:
            info = await self.account()
        except errors.ForbiddenError:
            info = records.account_info({})
        self.limits = await self._limits()
        return info

    async def account(self) -> AccountInfo:
        """Return usage and quota of the account."""
        return records.account_info((await self._pool.request(Request("HEAD"))).headers)

    async def _limits(self) -> Limits:
        try:
            answer = json.loads((await self._pool.request(INFO)).body)
        except (errors.SwiftImgFsError, ValueError):
            return Limits()  # operators may close /info: the defaults are what Swift ships
        return Limits() if not isinstance(answer, dict) else limits_of(answer)

    async def list_containers(self, *, limit: int | None = None) -> list[ContainerRow]:
        """Return the containers of the account, by name: all, or the first `limit`."""
        rows: list[ContainerRow] = []
        while True:
            query = {"format": "json", "limit": str(limit or self.limits.listing)}
            if rows:
                query["marker"] = rows[-1].name
            response = await self._pool.request(Request("GET", query=query))
            page = json.loads(response.body or b"[]")
            rows += [records.container_row(row) for row in page]
            if limit or len(page) < self.limits.listing:
                return rows

    # ── containers ─────────────────────────────────────────────────────────────────────

    async def head_container(self, container: str) -> ContainerInfo:
        """Return usage and ACLs of a container."""
        response = await self._pool.request(Request("HEAD", container))
        return records.container_info(container, response.headers)

    async def put_container(
        self, container: str, headers: Mapping[str, str] | None = None
    ) -> bool:
        """Make a container; return whether it is new."""
        response = await self._pool.request(Request("PUT", container, headers=headers or {}))
        return response.status != HTTP_ACCEPTED

    async def delete_container(self, container: str) -> None:
        """Delete an empty container.

        Raises:
            DirectoryNotEmptyError: It has objects (HTTP 409), or a replica still thinks so.
        """
        try:
            await self._pool.request(Request("DELETE", container))
        except errors.StoreRefusedError as exc:
            raise errors.DirectoryNotEmptyError(str(exc)) from exc

    async def list_page(
        self,
        container: str,
        prefix: str = "",
        *,
        delimiter: str = "/",
        marker: str = "",
        limit: int | None = None,
    ) -> Page:
        """Return one page of the names under `prefix`, after `marker`.

        With a delimiter, what lies deeper comes as `subdirs`, whole names ending in it.
        """
        size = limit or self.limits.listing
        query = {"format": "json", "limit": str(size), "prefix": prefix}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"marker": marker} if marker else {}
        response = await self._pool.request(Request("GET", container, query=query))
        page = json.loads(response.body or b"[]")
        last = page[-1].get("name") or page[-1]["subdir"] if len(page) == size else None
        return Page(
            rows=[records.object_row(row) for row in page if "subdir" not in row],
            subdirs=[row["subdir"] for row in page if "subdir" in row],
            next_marker=last,
        )

    async def list_all(self, container: str, prefix: str) -> list[ObjectRow]:
        """Return every object under `prefix`, in Swift's order (by UTF-8 bytes)."""
        rows: list[ObjectRow] = []
        marker: str | None = ""
        while marker is not None:
            page = await self.list_page(container, prefix, delimiter="", marker=marker)
            rows += page.rows
            marker = page.next_marker
        return rows

    # ── images ─────────────────────────────────────────────────────────────────────────

    async def head_image(self, container: str, name: str) -> ImageInfo:
        """Return what the image is now.

        Of a DLO with more segments than a page of the listing has, Swift tells the size and
        the etag of the manifest object itself (unquoted, where those of a large object are
        quoted): they are then made from the whole listing.
        """
        request = Request("HEAD", container, name, headers=self._asking)
        response = await self._pool.request(request)
        info = records.image_info(container, name, response.headers)
        if info.dlo and not response.headers.get("etag", "").startswith('"'):
            image = await self.resolve(info)
            etags = [
                e.source.etag for e in image.layout.extents if isinstance(e.source, Stored)
            ]
            return replace(
                info, size=image.layout.size, etag=large_objects.etag_of_etags(etags)
            )
        return info

    async def resolve(self, info: ImageInfo) -> StoredImage:
        """Return what the image is made of: no request for a plain one, few for others.

        Who may not see what a large image is made of reads it through its manifest, as
        slowly as Swift then is.

        Raises:
            NotFoundError: A manifest in it is gone.
        """
        if info.manifest is None:
            return StoredImage(info, through_manifest(info))
        found = _Parts()
        try:
            if info.manifest is records.Manifest.SLO:
                await self._add_slo(info.container, info.name, found, DEEPEST_SLO)
            else:
                await self._add_dlo(info, found)
        except errors.ForbiddenError as failure:
            log.info("reading through the manifest reason=%s", failure)
            return StoredImage(info, through_manifest(info))
        return StoredImage(info, Layout(found.pieces), tuple(dict.fromkeys(found.objects)))

    async def slo_rows(self, container: str, name: str) -> list[Segment | bytes]:
        """Return what an SLO's manifest itself names: nested manifests as segments.

        Raises:
            ImageChangedError: It is no SLO (any more).
        """
        query = {"multipart-manifest": "get"}
        # What was a manifest a moment ago may be a plain image of any size now.
        headers = {"Range": f"bytes=0-{self.limits.largest_manifest - 1}", **self._asking}
        response = await self._pool.request(Request("GET", container, name, query, headers))
        if response.headers.get("x-static-large-object", "").lower() != "true":
            raise errors.ImageChangedError(f"{container}/{name}: is no SLO any more")
        return large_objects.parse_slo(response.body)

    async def _add_slo(self, container: str, name: str, found: _Parts, depth: int) -> None:
        if depth == 0:
            raise errors.StoreRefusedError(f"{container}/{name}: manifests nested too deep")
        for row in await self.slo_rows(container, name):
            if isinstance(row, bytes):
                found.pieces.append((len(row), Inline(memoryview(row))))
                continue
            found.objects.append((row.container, row.name))
            if row.is_slo:
                nested = await self._nested(row, found, depth - 1)
                found.pieces += nested.part(row.start, row.length)
            elif await self._is_zeros(row):
                found.add_zeros(row.length)
            else:
                source = Stored(row.container, row.name, row.etag, row.start, row.size)
                found.pieces.append((row.length, source))

    async def _nested(self, row: Segment, found: _Parts, depth: int) -> Layout:
        """Return what a manifest in a manifest names, however often that names it."""
        place = row.container, row.name
        if place not in found.nested:
            inner = _Parts(objects=found.objects, nested=found.nested)
            await self._add_slo(*place, inner, depth)
            found.nested[place] = Layout(inner.pieces)
        return found.nested[place]

    async def _is_zeros(self, row: Segment) -> bool:
        """Return whether a segment is an image's object of zeros: its MD5 proves it."""
        if not large_objects.is_named_zeros(row.name):
            return False
        if row.size not in self._md5_of_zeros:
            zeros = Payload(ZeroBytes(row.size), row.size)
            self._md5_of_zeros[row.size] = await self.md5_of(zeros)
        return self._md5_of_zeros[row.size] == row.etag

    async def _add_dlo(self, info: ImageInfo, found: _Parts) -> None:
        container, prefix = info.dlo or ("", "")
        for row in await self.list_all(container, prefix):
            found.objects.append((container, row.name))
            if row.is_slo:
                await self._add_slo(container, row.name, found, DEEPEST_SLO)
            else:
                source = Stored(container, row.name, row.etag, 0, row.size)
                found.pieces.append((row.size, source))

    async def fetch_range(self, source: Stored, target: Target, patience: float) -> None:
        """Make one try to get what `target` lacks, from where `source` starts.

        Raises:
            ImageChangedError: The object is another one now, gone, or answered with
                anything but the range that was asked for.
            StalledError: Nothing came for `patience` seconds.
        """
        last = source.start + target.size - target.filled - 1
        headers = {"Range": f"bytes={source.start}-{last}", "If-Match": f'"{source.etag}"'}
        request = Request("GET", source.container, source.object, headers=headers)
        expected = f"bytes {source.start}-{last}/"
        try:
            await self._pool.fetch(request, expected, target, patience)
        except errors.NotFoundError as exc:
            raise errors.ImageChangedError(f"{exc}: its bytes are gone") from exc

    async def put_object(
        self,
        container: str,
        name: str,
        body: Payload | bytes,
        headers: Mapping[str, str],
        *,
        is_new: bool = False,
    ) -> ImageInfo:
        """Store an object; return what it is now.

        Raises:
            CorruptDataError: Swift answers with another MD5 than that of a payload.
            ExistsError: `is_new`, and something has the name already.
        """
        all_headers = {**headers, **(IF_NEW if is_new else {})}
        request = Request("PUT", container, name, headers=all_headers, body=body)
        info = await self._put(request, len(body), None)
        if isinstance(body, Payload) and info.etag != body.md5():
            raise errors.CorruptDataError(f"{request}: etag {info.etag}, not {body.md5()}")
        return info

    async def put_manifest(
        self,
        container: str,
        name: str,
        segments: Sequence[Segment],
        headers: Mapping[str, str],
        *,
        is_new: bool = False,
    ) -> ImageInfo:
        """Store an SLO made of segments or parts of them; return what it is now.

        Raises:
            CorruptDataError: Swift holds other segments than those we sent.
            ExistsError: `is_new`, and something has the name already.
        """
        etag = large_objects.slo_etag(segments)
        query = {"multipart-manifest": "put"}
        if len(segments) > FEW_SEGMENTS:
            query["heartbeat"] = "on"
        request = Request(
            "PUT",
            container,
            name,
            query,
            {
                **headers,
                **(IF_NEW if is_new else {}),
                "ETag": etag,
                "Accept": "application/json",
            },
            large_objects.format_slo(segments),
        )
        size = sum(segment.length for segment in segments)
        info = await self._put(request, size, records.Manifest.SLO)
        if info.etag != etag:
            raise errors.CorruptDataError(f"{request}: etag {info.etag}, not {etag}")
        return info

    async def md5_of(self, payload: Payload) -> str:
        """Return the MD5 of what a PUT sends, without making the mount wait."""
        await self._pool.compute(lambda: _ignore(payload.md5()))
        return payload.md5()

    async def copy_object(
        self, source: Segment, container: str, name: str, headers: Mapping[str, str]
    ) -> str:
        """Have Swift copy an object, or a part of it, without its metadata.

        Large objects become plain ones.

        Returns:
            The copy's etag.

        Raises:
            ImageChangedError: The source is not what it was.
        """
        all_headers = {
            **headers,
            "X-Fresh-Metadata": "true",
            "Destination": f"/{quote(container)}/{quote(name)}",
            "If-Match": f'"{source.etag}"',
        }
        if not source.is_whole:
            all_headers["Range"] = f"bytes={source.start}-{source.last}"
        request = Request("COPY", source.container, source.name, headers=all_headers)
        etag = (await self._pool.request(request)).headers.get("etag", "").strip('"')
        if etag != source.etag:
            copy = await self.head_image(container, name)
            if copy.size != source.length or (source.is_whole and copy.etag != source.etag):
                raise errors.ImageChangedError(f"{request}: copied as {copy.etag}")
            etag = copy.etag
        return etag

    async def _put(
        self, request: Request, size: int, manifest: records.Manifest | None
    ) -> ImageInfo:
        response = await self._pool.request(request)
        answered = heartbeat_answer(request, response.status, response.body) or response.headers
        headers = {key.lower(): value for key, value in request.headers.items()}
        headers |= {"etag": answered.get("etag", "")}
        headers |= {"last-modified": answered.get("last-modified", "")}
        headers |= {"content-length": str(size)}
        info = records.image_info(request.container, request.name, headers)
        return replace(info, manifest=manifest)

    async def copy_image(self, info: ImageInfo, container: str, name: str) -> None:
        """Give an image a second name, server-side: its bytes, or only its manifest.

        The segments are then named by both manifests, so one must go at once by
        `delete_object`, which leaves segments alone.
        """
        headers = {"Destination": f"/{quote(container)}/{quote(name)}"}
        query = {"multipart-manifest": "get"}
        await self._pool.request(Request("COPY", info.container, info.name, query, headers))

    async def delete_object(self, container: str, name: str) -> None:
        """Delete one object, or a manifest without its segments."""
        await self._pool.request(Request("DELETE", container, name))

    async def post_container(self, container: str, headers: Mapping[str, str]) -> None:
        """Change metadata of a container; what `headers` do not name stays."""
        await self._pool.request(Request("POST", container, headers=headers))

    async def post_image(self, info: ImageInfo, metadata: Mapping[str, str]) -> None:
        """Replace the metadata of an image.

        What else Swift would forget by it is sent again, `X-Object-Manifest` first: without
        it the POST would turn a DLO into an empty object.
        """
        all_headers = {**info.kept_headers, **metadata_headers(metadata)}
        await self._pool.request(
            Request("POST", info.container, info.name, headers=all_headers)
        )

    def location(self, container: str, name: str = "") -> str:
        """Return the location of an image or a container as Glance writes it, without credentials."""
        if self._reference:
            return str(Location("swift+config", self._reference, container, name))
        return format_storage_location(self._pool.storage_url, container, name)


def _ignore(value: object) -> None:
    """Have no use for a value."""


def metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as the headers that store it."""
    return {f"{records.OBJECT_META}{key}": value for key, value in metadata.items()}


def through_manifest(info: ImageInfo) -> Layout:
    """Return an image as one object, whatever it is made of: as a GET of its name gives it."""
    source = replace(whole_object(info), is_manifest=info.manifest is not None)
    return Layout([(info.size, source)])


def whole_object(info: ImageInfo) -> Stored:
    """Return a plain image as the source of its own bytes."""
    return Stored(info.container, info.name, info.etag, 0, info.size)
