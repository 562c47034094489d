"""What Swift tells about accounts, containers and images, as frozen values. Pure.

Headers and listing rows become these; nobody above knows a header's name. Times are
nanoseconds since the epoch, sizes bytes.
"""

from __future__ import annotations

import datetime
import email.utils
import enum
import functools
import re
import sys
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from swiftimgfs.store.large_objects import parse_dlo_header

if TYPE_CHECKING:
    from collections.abc import Mapping

OBJECT_META = "x-object-meta-"
CONTAINER_META = "x-container-meta-"
OBJECT_MANIFEST = "x-object-manifest"
DELETE_AT = "x-delete-at"
CONTENT_TYPE = "content-type"
# What a POST must send again or lose: Swift replaces all of these at once. Content-Type is
# kept by Swift when it is left out. (Swift API, "Create or update object metadata".)
KEPT_BY_POST = (
    OBJECT_MANIFEST,
    DELETE_AT,
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
    "x-robots-tag",
)
# The swift CLI, and we, keep the segments of a container's images in its neighbour.
SEGMENT_CONTAINER_SUFFIX = "_segments"
# Says that we made such a container, so that it is ours to hide when empty, and to remove.
SEGMENT_CONTAINER_MARK = "X-Container-Meta-Swiftimgfs"
DIRECTORY_TYPE = "application/directory"
DIRECTORY_TYPES = frozenset({DIRECTORY_TYPE, "text/directory"})
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
_NS = 1_000_000_000
# Of all that has none: one object, however many there are.
NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})


class Manifest(enum.Enum):
    """How an image is stored when it is not one object."""

    SLO = "slo"
    DLO = "dlo"


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """What HEAD of the account says; quotas in bytes and objects, None without one."""

    bytes_used: int
    container_count: int
    object_count: int
    quota: int | None
    object_quota: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """One container in the account's listing."""

    name: str
    object_count: int
    last_modified_ns: int


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """What HEAD of a container says.

    Attributes:
        read_acl: None when it is not set, or not for us to see.
        write_acl: The same.
        metadata: `X-Container-Meta-*` by lower-cased name without the prefix.
        keeps_versions: Whether old versions of objects stay, where no listing shows them.
        storage_policy: Where its objects are; empty if not told.
    """

    name: str
    bytes_used: int
    object_count: int
    last_modified_ns: int
    read_acl: str | None
    write_acl: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    keeps_versions: bool = False
    storage_policy: str = ""

    @property
    def quota(self) -> int | None:
        """Bytes that may be stored in it; None when nothing limits that."""
        return _quota(self.metadata.get("quota-bytes", ""))

    @property
    def object_quota(self) -> int | None:
        """Objects that may be in it; None when nothing limits that."""
        return _quota(self.metadata.get("quota-count", ""))

    @property
    def is_our_segment_container(self) -> bool:
        """Whether we made it, for segments."""
        return "swiftimgfs" in self.metadata

    @property
    def mtime_ns(self) -> int:
        """The modification time that was stored with it, else when it was made."""
        noted = parse_seconds(self.metadata.get("mtime", ""))
        return self.last_modified_ns if noted is None else noted


@dataclass(slots=True)  # not frozen: that takes three times as long, a million times
class ObjectRow:
    """One object in a container's listing.

    Attributes:
        size: An SLO's is its total, a DLO's and a symlink's 0.
        etag: The listing's hash: MD5 of the bytes, of an SLO's manifest, or of nothing.
        slo_etag: The etag of an SLO, None for anything else (older Swifts do not say it).
        is_link: Whether it is a symlink.
    """

    name: str
    size: int
    etag: str
    last_modified_ns: int
    content_type: str
    slo_etag: str | None = None
    is_link: bool = False

    @property
    def is_slo(self) -> bool:
        """Whether the object is an SLO, as far as the listing knows.

        A symlink to a certain version of one has that one's etag in the listing, too.
        """
        return self.slo_etag is not None and not self.is_link

    @property
    def is_directory_marker(self) -> bool:
        """Whether the object only says that there is a directory of its name."""
        return self.size == 0 and self.content_type.split(";")[0] in DIRECTORY_TYPES

    @property
    def may_be_manifest(self) -> bool:
        """Whether only a HEAD can tell what this is: an SLO, or something with no bytes.

        A DLO and a symlink look like an empty object in a listing.
        """
        return self.is_slo or self.etag == EMPTY_MD5


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """Where a symlink of Swift's leads: an object that may be there or not.

    Attributes:
        account: Empty for the account that the symlink is in.
    """

    container: str
    name: str
    account: str = ""


@dataclass(slots=True)  # Final and not frozen: that takes three times as long, a million times
class ImageInfo:
    """What HEAD of an image says: one version of it.

    Attributes:
        size: Of the image, whatever its manifest is.
        etag: As Swift says, without quotes; a large object's is no MD5 of its bytes, but
            tells one version from another.
        content_type: Empty when Swift was left to guess it, and was not asked since.
        metadata: `X-Object-Meta-*` by lower-cased name without the prefix.
        kept_headers: What a POST must send again, as `KEPT_BY_POST` lists it.
        dlo: (container, prefix) of a DLO's segments.
        transaction_id: Of the request that told; empty after a listing.
        link: Where it leads, when it is a symlink: nothing else here is its target's.
    """

    container: Final[str]
    name: Final[str]
    size: Final[int]
    etag: Final[str]
    last_modified_ns: Final[int]
    content_type: Final[str] = "application/octet-stream"
    manifest: Final[Manifest | None] = None
    dlo: Final[tuple[str, str] | None] = None
    metadata: Final[Mapping[str, str]] = field(default_factory=lambda: NO_METADATA)
    kept_headers: Final[Mapping[str, str]] = field(default_factory=lambda: NO_METADATA)
    transaction_id: Final[str] = field(default="", compare=False)
    link: Final[LinkTarget | None] = None

    @property
    def mtime_ns(self) -> int:
        """The modification time that the writer noted, else when Swift stored it.

        `X-Object-Meta-Mtime` in float seconds is what the swift CLI and rclone write.
        """
        if not self.metadata:  # of most in a long listing
            return self.last_modified_ns
        noted = parse_seconds(self.metadata.get("mtime", ""))
        return self.last_modified_ns if noted is None else noted

    @property
    def is_directory_marker(self) -> bool:
        """Whether the object only says that there is a directory of its name."""
        is_empty = self.size == 0 and self.link is None
        return is_empty and self.content_type.split(";")[0] in DIRECTORY_TYPES


def parse_seconds(text: str) -> int | None:
    """Return decimal seconds as nanoseconds, exactly (a float would round); else None."""
    match = re.fullmatch(r"(-?)(\d{1,12})(?:\.(\d+))?", text.strip())
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    nanoseconds = int(whole) * _NS + int((fraction or "0")[:9].ljust(9, "0"))
    return -nanoseconds if sign else nanoseconds


def format_seconds(nanoseconds: int) -> str:
    """Return nanoseconds as decimal seconds, without losing any; inverse of `parse_seconds`."""
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{abs(nanoseconds) // _NS}.{abs(nanoseconds) % _NS:09d}"


def _listing_time(text: str) -> int:
    """Nanoseconds of a listing's `2026-11-23T03:05:00.123450`, which is UTC without saying so."""
    whole, _, fraction = text.partition(".")
    return _listing_second(whole) + int(fraction[:6].ljust(6, "0")) * 1000


@functools.lru_cache(maxsize=256)  # names that were stored together are listed together
def _listing_second(text: str) -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return int(moment.timestamp()) * _NS


def _header_time(headers: Mapping[str, str]) -> int:
    """Nanoseconds of X-Timestamp (exact), else of Last-Modified (whole seconds, rounded up)."""
    exact = parse_seconds(headers.get("x-timestamp", ""))
    if exact is not None:
        return exact
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("last-modified", ""))
    except ValueError:
        return 0
    return int(moment.timestamp()) * _NS


def _metadata(prefix: str, headers: Mapping[str, str]) -> dict[str, str]:
    lowered = ((key.lower(), value) for key, value in headers.items())
    return {key.removeprefix(prefix): value for key, value in lowered if key.startswith(prefix)}


def account_info(headers: Mapping[str, str]) -> AccountInfo:
    """Return what an account's headers say."""
    older = headers.get("x-account-meta-quota-bytes", "")
    return AccountInfo(
        bytes_used=int(headers.get("x-account-bytes-used", 0)),
        container_count=int(headers.get("x-account-container-count", 0)),
        object_count=int(headers.get("x-account-object-count", 0)),
        quota=_quota(headers.get("x-account-quota-bytes") or older),
        object_quota=_quota(headers.get("x-account-quota-count", "")),
    )


def _quota(text: str) -> int | None:
    """Return a quota; what is no number limits nothing (Swift, `account_quotas`)."""
    return int(text) if text.isascii() and text.isdigit() else None


def container_row(row: Mapping[str, Any]) -> ContainerRow:
    """Return one row of an account's JSON listing; before Swift 2.18 it has no dates."""
    modified = row.get("last_modified")
    return ContainerRow(row["name"], row["count"], _listing_time(modified) if modified else 0)


def container_info(name: str, headers: Mapping[str, str]) -> ContainerInfo:
    """Return what a container's headers say."""
    return ContainerInfo(
        name=name,
        bytes_used=int(headers.get("x-container-bytes-used", 0)),
        object_count=int(headers.get("x-container-object-count", 0)),
        last_modified_ns=_header_time(headers),
        metadata=_metadata(CONTAINER_META, headers),
        read_acl=headers.get("x-container-read"),
        write_acl=headers.get("x-container-write"),
        keeps_versions=headers.get("x-versions-enabled", "").lower() == "true",
        storage_policy=headers.get("x-storage-policy", ""),
    )


def object_row(row: Mapping[str, Any]) -> ObjectRow:
    """Return one row of a container's JSON listing that is an object."""
    return ObjectRow(
        name=row["name"],
        size=row["bytes"],
        etag=row["hash"],
        last_modified_ns=_listing_time(row["last_modified"]),
        content_type=sys.intern(row["content_type"]),
        slo_etag=row["slo_etag"].strip('"') if "slo_etag" in row else None,
        is_link="symlink_path" in row,
    )


def image_info(container: str, name: str, headers: Mapping[str, str]) -> ImageInfo:
    """Return what an object's headers say."""
    manifest, dlo = None, None
    if headers.get("x-static-large-object", "").lower() == "true":
        manifest = Manifest.SLO
    elif "x-object-manifest" in headers:
        manifest, dlo = Manifest.DLO, parse_dlo_header(headers["x-object-manifest"])
    return ImageInfo(
        container=container,
        name=name,
        size=int(headers.get("content-length", 0)),
        etag=headers.get("etag", "").strip('"'),
        last_modified_ns=_header_time(headers),
        content_type=headers.get("content-type", "application/octet-stream"),
        manifest=manifest,
        dlo=dlo,
        metadata=_metadata(OBJECT_META, headers),
        kept_headers={key: headers[key] for key in KEPT_BY_POST if key in headers},
        transaction_id=headers.get("x-trans-id", ""),
        link=_link_target(headers),
    )


def _link_target(headers: Mapping[str, str]) -> LinkTarget | None:
    container, slash, name = unquote(headers.get("x-symlink-target", "")).partition("/")
    account = unquote(headers.get("x-symlink-target-account", ""))
    return LinkTarget(container, name, account) if slash else None
