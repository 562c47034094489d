"""DLO and SLO manifests, parsed and formatted. Pure.

Source: Swift's "Large Object Support", `slo.py` and `dlo.py` of swift 2.38. An SLO's
manifest is asked for with `?multipart-manifest=get`; a row of it is an object, part of an
object (`range`), another SLO (`sub_slo`), or bytes (`data`). A DLO is whatever lies under
the prefix of its `X-Object-Manifest` header at this moment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Iterable


# What the object of zeros is called that a sparse image names for its holes.
ZEROS = "zeros"


@dataclass(frozen=True, slots=True)
class Segment:
    """One stored piece of a large object.

    Attributes:
        container: Where the segment is.
        name: Its object's name.
        size: Bytes of the whole object.
        etag: Its MD5, or the etag of a nested SLO.
        start: First byte of it that the large object uses.
        length: How many bytes from there.
        is_slo: Whether it is an SLO itself, whose own manifest says what it is made of.
    """

    container: str
    name: str
    size: int
    etag: str
    start: int
    length: int
    is_slo: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the large object uses all of it."""
        return self.length == self.size

    @property
    def last(self) -> int:
        """The last byte of it that the large object uses."""
        return self.start + self.length - 1


def is_named_zeros(name: str) -> bool:
    """Return whether an object is called as an image's object of zeros is."""
    return name.endswith((f"/{ZEROS}", f"-{ZEROS}"))


def parse_slo(manifest: bytes) -> list[Segment | bytes]:
    """Return the rows of an SLO manifest, in order: segments, and `data` rows as bytes.

    Raises:
        StoreRefusedError: This is not the JSON that Swift documents.
    """
    try:
        return [_parse_row(row) for row in _parse_rows(manifest)]
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as exc:
        # Not what the parser says: that is the text, which may be an image's.
        raise errors.StoreRefusedError(f"not an SLO manifest: {type(exc).__name__}") from None


def _parse_rows(manifest: bytes) -> list[dict[str, object]]:
    rows = json.loads(manifest)
    if not isinstance(rows, list):
        raise TypeError("no list of rows")
    return rows


def _parse_row(row: dict[str, object]) -> Segment | bytes:
    if "data" in row:
        return base64.b64decode(str(row["data"]), validate=True)
    container, name = str(row["name"]).lstrip("/").split("/", 1)
    size = int(str(row["bytes"]))
    first, last = 0, size - 1
    if row.get("range"):
        # Swift has resolved open ranges when it stored the manifest: "first-last" it is.
        first, last = (int(text) for text in str(row["range"]).split("-"))
    if not 0 <= first <= last + 1 <= size:
        raise ValueError(f"bytes {first}-{last} of {size}")
    return Segment(
        container,
        name,
        size,
        str(row["hash"]),
        first,
        last - first + 1,
        is_slo=bool(row.get("sub_slo")),
    )


def format_slo(segments: Iterable[Segment]) -> bytes:
    """Return the body of a manifest PUT, with the etag and size that Swift must find."""
    return json.dumps([_row(segment) for segment in segments]).encode()


def _row(segment: Segment) -> dict[str, object]:
    row: dict[str, object] = {
        "path": f"/{segment.container}/{segment.name}",
        "etag": segment.etag,
        "size_bytes": segment.size,
    }
    if not segment.is_whole:
        row["range"] = f"{segment.start}-{segment.last}"
    return row


def slo_etag(segments: Iterable[Segment]) -> str:
    """Return the etag that Swift gives an SLO made of these segments."""
    texts = (s.etag if s.is_whole else f"{s.etag}:{s.start}-{s.last};" for s in segments)
    return etag_of_etags(texts)


def etag_of_etags(etags: Iterable[str]) -> str:
    """Return the etag that Swift gives a large object of whole segments with these etags."""
    return hashlib.md5("".join(etags).encode(), usedforsecurity=False).hexdigest()


def parse_dlo_header(value: str) -> tuple[str, str]:
    """Return (container, prefix) of an `X-Object-Manifest` value.

    Raises:
        StoreRefusedError: It has not the form container/prefix.
    """
    container, slash, prefix = unquote(value).lstrip("/").partition("/")
    if not slash or not container or not prefix:
        raise errors.StoreRefusedError(f"not an X-Object-Manifest: {value!r}")
    return container, prefix


def format_dlo_header(container: str, prefix: str) -> str:
    """Return the `X-Object-Manifest` value: quoted, because Swift refuses a raw ? or &."""
    return f"{quote(container)}/{quote(prefix)}"
