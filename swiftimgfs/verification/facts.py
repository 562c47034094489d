"""What is known of an image in a mount: its extended attributes."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any, Final

from swiftimgfs.verification.plan import Digest, Facts, Segment
from swiftimgfs.writing.signatures import PROPERTIES, ImageSignature

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_PAGES: Final = 100_000  # of the list of segments
ATTRIBUTE: Final = "user.swift."


def read_facts(fd: int) -> Facts:
    """Return what the attributes of an open image say.

    Raises:
        OSError: They cannot be had, or not of one version.
    """
    etag = _attribute(fd, "etag") or ""
    is_large = _attribute(fd, "manifest") is not None
    digests = []
    md5 = _attribute(fd, "md5")
    if md5 is not None:
        digests.append(Digest("md5", md5, "MD5" if is_large else "etag"))
    value = _attribute(fd, "os_hash_value")
    if value is not None:
        algorithm = _attribute(fd, "os_hash_algo") or ""
        digests.append(Digest(algorithm, value, "os_hash_value"))
    rows = list(_rows(fd)) if is_large else []
    segments = tuple(row for row in rows if isinstance(row, Segment))
    zeros = sum(row for row in rows if isinstance(row, int))
    size = os.fstat(fd).st_size
    if (_attribute(fd, "etag") or "") != etag or not _is_inside(segments, size):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    return Facts(size, etag, is_large, segments, tuple(digests), _signature(fd), zeros)


def is_manifest(fd: int, segment: int) -> bool:
    """Return whether a segment is a manifest itself; costs a request to Swift.

    Raises:
        OSError: Nobody can tell.
    """
    return _attribute(fd, f"segments.{segment}.manifest") is not None


def _signature(fd: int) -> ImageSignature | None:
    values = {key: _attribute(fd, f"meta.{key.replace('-', '_')}") for key in PROPERTIES}
    return ImageSignature.of({key: v for key, v in values.items() if v is not None})


def _attribute(fd: int, name: str) -> str | None:
    try:
        return os.getxattr(fd, ATTRIBUTE + name).decode(errors="replace")
    except OSError as exc:
        if exc.errno == errno.ENODATA:
            return None
        raise


def _rows(fd: int) -> Iterator[Segment | int]:
    """Yield the segments of a large image, and how many zeros there are between them."""
    for number in range(MOST_PAGES):
        page = _attribute(fd, f"segments.{number}")
        if page is None and number == 0:
            raise OSError(errno.EPROTO, "an older swiftimgfs made this mount: mount it again")
        if page is None:
            return
        try:
            yield from (_row(row) for row in json.loads(page))
        except (ValueError, KeyError, TypeError) as exc:
            raise OSError(errno.EPROTO, f"{ATTRIBUTE}segments: {exc!r}") from exc


def _row(row: dict[str, Any]) -> Segment | int:
    if row.get("zeros"):
        return int(row["size"])
    return Segment(
        name=str(row["name"]),
        offset=int(row["offset"]),
        size=int(row["size"]),
        etag=str(row["etag"]),
        start=int(row["start"]),
        object_size=int(row["object_size"]),
    )


def _is_inside(segments: Sequence[Segment], size: int) -> bool:
    """Whether they follow each other: pages of two versions would not."""
    end = 0
    for segment in segments:
        if segment.offset < end:
            return False
        end = segment.offset + segment.size
    return end <= size
