"""The verbs on objects: read a range, put, copy, delete.

An object is what Swift keeps under one name, whatever it is part of; what an image is made
of is `image_store`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from swiftimgfs import errors
from swiftimgfs.store import large_objects, records
from swiftimgfs.store.containers import ContainerStore
from swiftimgfs.store.request import Payload, Request, heartbeat_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from swiftimgfs.layout import Stored
    from swiftimgfs.store.large_objects import Segment
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.store.wire import Target

IF_NEW = {"If-None-Match": "*"}  # the only condition that Swift takes with a PUT
# Swift looks at each segment that a manifest names, four at a time: with more than these it
# is asked to say something meanwhile, so that no proxy in between gives up.
FEW_SEGMENTS = 100


class ObjectStore(ContainerStore):
    """The objects of one account, each by itself."""

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
            raise errors.ImageChangedError(
                f"{exc}: its bytes are gone: changed by somebody else meanwhile, or damaged"
            ) from exc

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
            ImageChangedError: A segment is gone, or another one now.
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

    async def compute(self, blocking: Callable[[], None]) -> None:
        """Return when `blocking` has returned, in a thread: what takes a processor's time."""
        await self._pool.compute(blocking)

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
        try:
            answered = (await self._pool.request(request)).headers
        except errors.NotFoundError:  # the source, or the container of the copy
            await self._check_is_there(source)
            raise
        etag = answered.get("etag", "").strip('"')
        if etag != source.etag:
            copy = await self.head_object(container, name)
            if copy.size != source.length or (source.is_whole and copy.etag != source.etag):
                raise errors.ImageChangedError(f"{request}: copied as {copy.etag}")
            etag = copy.etag
        return etag

    async def _check_is_there(self, source: Segment) -> None:
        try:
            await self.head_object(source.container, source.name)
        except errors.NotFoundError as gone:
            raise errors.ImageChangedError(f"{gone}: gone before it was copied") from gone

    async def _put(
        self, request: Request, size: int, manifest: records.Manifest | None
    ) -> ImageInfo:
        response = await self._pool.request(request)
        answered = heartbeat_answer(request, response.status, response.body) or response.headers
        headers = {key.lower(): value for key, value in request.headers.items()}
        headers |= {"etag": answered.get("etag", "")}
        headers |= {"last-modified": answered.get("last-modified", "")}
        headers |= {"content-length": str(size)}
        headers |= {"x-trans-id": response.headers.get("x-trans-id", "")}
        headers.setdefault("content-type", "")  # which Swift guesses then, and does not tell
        info = records.image_info(request.container, request.name, headers)
        return replace(info, manifest=manifest)

    async def head_object(self, container: str, name: str) -> ImageInfo:
        """Return what Swift says of one object, which is wrong of a DLO of many segments."""
        response = await self._pool.request(Request("HEAD", container, name))
        return records.image_info(container, name, response.headers)

    async def delete_object(self, container: str, name: str) -> None:
        """Delete one object, or a manifest without its segments."""
        await self._pool.request(Request("DELETE", container, name))


def _ignore(value: object) -> None:
    """Have no use for a value."""
