"""The verbs on images: what one is made of, a second name for it, other metadata.

With the verbs on containers (`containers`) and on single objects (`objects`) this is the
whole store.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from swiftimgfs import errors
from swiftimgfs.layout import Inline, Layout, Source, Stored, Zeros
from swiftimgfs.store import large_objects, records
from swiftimgfs.store.metadata import for_post
from swiftimgfs.store.objects import ObjectStore
from swiftimgfs.store.request import Payload, Request, ZeroBytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.store.connection import ConnectionPool
    from swiftimgfs.store.large_objects import Segment
    from swiftimgfs.store.metadata import HeaderChanges
    from swiftimgfs.store.records import ImageInfo, LinkTarget

log = logging.getLogger(__name__)

ASKING_ALL = {"X-Newest": "true"}
# Of a symlink Swift tells what it leads to, unless it is asked for the symlink itself. It
# means nothing to other objects, nor to a Swift that has no symlinks.
ITSELF = {"symlink": "get"}
LINK_TYPE = "application/symlink"  # what Swift itself makes of a symlink without a type
DEEPEST_SLO = 10  # Swift's own limit for manifests in manifests


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One version of an image, with all that it is made of.

    Attributes:
        info: What HEAD says of it.
        layout: Its bytes, down to objects that hold plain ones.
        parts: (container, object) of everything that its manifest names, nested manifests
            too: what has to go when the image goes. Empty for a plain image.
        lost: Those of them that are nested manifests and gone: what they named is not known.
    """

    info: ImageInfo
    layout: Layout
    parts: tuple[tuple[str, str], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Parts:
    """What a manifest was found to name so far."""

    pieces: list[tuple[int, Source]] = field(default_factory=list)
    objects: list[tuple[str, str]] = field(default_factory=list)
    nested: dict[tuple[str, str], Layout] = field(default_factory=dict)
    lost: list[tuple[str, str]] = field(default_factory=list)

    def add_zeros(self, size: int) -> None:
        """Add zeros, to those before if there are some: a hole is many rows."""
        if self.pieces and isinstance(self.pieces[-1][1], Zeros):
            size += self.pieces.pop()[0]
        self.pieces.append((size, Zeros()))


class ImageStore(ObjectStore):
    """The images of one account, with the objects and containers that hold them."""

    def __init__(self, pool: ConnectionPool, reference: str = "", policy: str = "") -> None:
        """Use `pool`; see `ContainerStore`."""
        super().__init__(pool, reference, policy)
        self._asking: Mapping[str, str] = {}
        self._md5_of_zeros: dict[int, str] = {}

    def newest(self) -> ImageStore:
        """Return the same store, asking all replicas of an object and not the next best.

        Slower, and as right as Swift can be: who deletes by what a manifest names must not
        be told of the one before.
        """
        store = ImageStore(self._pool, self._reference, self._policy)
        store.limits, store._asking = self.limits, ASKING_ALL
        return store

    async def head_image(self, container: str, name: str) -> ImageInfo:
        """Return what the image is now; a symlink as the symlink that it is.

        Of a DLO with more segments than a page of the listing has, Swift tells the size and
        the etag of the manifest object itself (unquoted, where those of a large object are
        quoted): they are then made from the whole listing.
        """
        request = Request("HEAD", container, name, ITSELF, self._asking)
        response = await self._pool.request(request)
        info = self._with_own_account(records.image_info(container, name, response.headers))
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
        slowly as Swift then is. A nested manifest that is gone is as a segment that is: the
        image is there, and reading that part of it is what fails.

        Raises:
            NotFoundError: The image is gone, or its own manifest is.
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
        parts = tuple(dict.fromkeys(found.objects))
        return StoredImage(info, Layout(found.pieces), parts, tuple(found.lost))

    def _with_own_account(self, info: ImageInfo) -> ImageInfo:
        """Return an image, if it is a link that names this account as one that does not."""
        own = self._pool.storage_url.rstrip("/").rpartition("/")[2]
        if info.link is None or info.link.account != unquote(own):
            return info
        return replace(info, link=replace(info.link, account=""))

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
                source = Stored(row.container, row.name, row.etag, 0, row.size)
                nested = await self._nested(source, found, depth - 1)
                found.pieces += nested.part(row.start, row.length)
            elif await self._is_zeros(row):
                found.add_zeros(row.length)
            else:
                source = Stored(row.container, row.name, row.etag, row.start, row.size)
                found.pieces.append((row.length, source))

    async def _nested(self, manifest: Stored, found: _Parts, depth: int) -> Layout:
        """Return what a manifest in a manifest names, however often that names it.

        One that is gone, or no manifest any more, is a segment that cannot be read.
        """
        place = manifest.container, manifest.object
        if place not in found.nested:
            inner = _Parts(objects=found.objects, nested=found.nested, lost=found.lost)
            try:
                await self._add_slo(*place, inner, depth)
            except (errors.NotFoundError, errors.ImageChangedError) as failure:
                log.warning("a nested manifest is gone reason=%s", failure)
                found.lost.append(place)
                inner.pieces = [(manifest.object_size, replace(manifest, is_manifest=True))]
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
            if (container, row.name) == (info.container, info.name):
                continue  # its own prefix fits it: it has no bytes, and is none of its segments
            found.objects.append((container, row.name))
            source = Stored(container, row.name, row.slo_etag or row.etag, 0, row.size)
            if row.is_slo:
                nested = await self._nested(source, found, DEEPEST_SLO)
                found.pieces += nested.part(0, nested.size)
            else:
                found.pieces.append((row.size, source))

    async def copy_image(
        self, info: ImageInfo, container: str, name: str, headers: Mapping[str, str]
    ) -> ImageInfo:
        """Give an image a second name, server-side: its bytes, its manifest, or a symlink.

        What is stored with it goes along: metadata, content type, `X-Delete-At`; `headers`
        are stored with the copy besides.

        The segments are then named by both manifests, so one must go at once by
        `delete_object`, which leaves segments alone.

        Returns:
            The copy, as far as Swift tells: its time is rounded.

        Raises:
            ImageChangedError: What was copied is not what `info` says.
            TooLargeError: Swift copies so much only in parts.
        """
        to = {**headers, "Destination": f"/{quote(container)}/{quote(name)}"}
        query = {"multipart-manifest": "get", **ITSELF}
        request = Request("COPY", info.container, info.name, query, to)
        answered = (await self._pool.request(request)).headers
        if info.dlo is None and answered.get("etag", "").strip('"') != info.etag:
            raise errors.ImageChangedError(f"{request}: changed before it was copied")
        lowered = {key.lower(): value for key, value in headers.items()}
        told = records.image_info(container, name, {**answered, **lowered})
        return replace(
            info,
            container=container,
            name=name,
            last_modified_ns=told.last_modified_ns,
            metadata={**info.metadata, **told.metadata},
        )

    async def put_link(
        self,
        container: str,
        name: str,
        link: LinkTarget,
        headers: Mapping[str, str],
        *,
        is_new: bool = False,
    ) -> ImageInfo:
        """Store a symlink; return what it is now.

        Raises:
            ExistsError: `is_new`, and something has the name already.
        """
        to = {
            "X-Symlink-Target": f"{quote(link.container)}/{quote(link.name)}",
            "content-type": LINK_TYPE,
            **headers,
        }
        if link.account:
            to["X-Symlink-Target-Account"] = quote(link.account)
        stored = await self.put_object(container, name, b"", to, is_new=is_new)
        return replace(stored, link=link)

    def path_of(self, link: LinkTarget) -> str:
        """Return where a symlink leads as Swift has it: `/v1/account/container/object`."""
        path, _, account = urlsplit(self._pool.storage_url).path.rstrip("/").rpartition("/")
        return f"{path}/{link.account or unquote(account)}/{link.container}/{link.name}"

    async def change_image(
        self, container: str, name: str, changes: HeaderChanges
    ) -> ImageInfo:
        """Change metadata and headers of an image; return what it is then.

        What the changes do not name stays: it is read, from the newest replica, and sent
        again, `X-Object-Manifest` too, without which the POST would turn a DLO into an empty
        object. Swift has no condition for a POST: what another host posts between the two
        is lost. With a symlink it does what it is told, and then answers that the target
        might be meant (307): its own target stays, and nothing is done to that.

        Raises:
            NotFoundError: There is no such image.
        """
        await self.post_image(await self.newest().head_image(container, name), changes)
        return await self.newest().head_image(container, name)

    async def post_image(self, info: ImageInfo, changes: HeaderChanges) -> None:
        """Change metadata and headers of an image as it was a moment ago; see `change_image`."""
        request = Request("POST", info.container, info.name, headers=for_post(info, changes))
        try:
            await self._pool.request(request)
        except errors.StoreRefusedError as failure:
            if info.link is None or failure.status != HTTPStatus.TEMPORARY_REDIRECT:
                raise


def through_manifest(info: ImageInfo) -> Layout:
    """Return an image as one object, whatever it is made of: as a GET of its name gives it."""
    source = replace(whole_object(info), is_manifest=info.manifest is not None)
    return Layout([(info.size, source)])


def whole_object(info: ImageInfo) -> Stored:
    """Return a plain image as the source of its own bytes."""
    return Stored(info.container, info.name, info.etag, 0, info.size)
