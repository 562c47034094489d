"""What an image carries beside its bytes, and how changes are merged into that. Pure.

Swift's PUT and POST replace all of it at once: what is not sent again is gone. So whoever
stores an image again, under its name or another one, or changes its metadata, sends what it
`carries` with its changes `merged`, and this is the one place where that is put together.

Headers are by lower-cased name here; a change to None removes one.

Source: Swift API, "Create or update object metadata"; the object server's `allowed_headers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.store.records import CONTENT_TYPE, OBJECT_MANIFEST, OBJECT_META

if TYPE_CHECKING:
    from swiftimgfs.store.cluster import Limits
    from swiftimgfs.store.records import ImageInfo

HeaderChanges = Mapping[str, str | None]
# What the mount itself keeps with an image, and applications do not set as attributes. There
# is always room for it: 64 digest characters or 128, four numbers, and their names.
OWN_KEYS: Final = frozenset(
    {"mode", "uid", "gid", "mtime", "allocated", "md5", "os-hash-algo", "os-hash-value"}
    | {"verified"}
)
OWN_SIZE: Final = 384


def carried(info: ImageInfo) -> dict[str, str]:
    """Return all that an image carries: for a PUT of the same image as a manifest of its kind.

    A DLO's `X-Object-Manifest` is among it: what is put without that is no DLO.
    """
    guessed = {} if not info.content_type else {CONTENT_TYPE: info.content_type}
    return {**guessed, **info.kept_headers, **headers_of(info.metadata)}


def carried_by_bytes(info: ImageInfo) -> dict[str, str]:
    """Return what an image carries that is stored as one object or an SLO from now on."""
    return merged(carried(info), {OBJECT_MANIFEST: None})


def for_post(info: ImageInfo, changes: HeaderChanges) -> dict[str, str]:
    """Return what a POST sends: all that it would forget, with changes.

    The content type stays as it is when it is left out, whoever has set it meanwhile.
    """
    headers = merged(carried(info), changes)
    if CONTENT_TYPE not in changes:
        headers.pop(CONTENT_TYPE, None)
    return headers


def merged(headers: Mapping[str, str], changes: HeaderChanges) -> dict[str, str]:
    """Return headers with changes; None takes one away."""
    both: dict[str, str | None] = {**headers, **changes}
    return {key: value for key, value in both.items() if value is not None}


def headers_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as the headers that store it."""
    return {f"{OBJECT_META}{key}": value for key, value in metadata.items()}


def changes_of(metadata: HeaderChanges) -> dict[str, str | None]:
    """Return changes of metadata as changes of headers."""
    return {f"{OBJECT_META}{key}": value for key, value in metadata.items()}


def metadata_changes_of(changes: HeaderChanges) -> dict[str, str | None]:
    """Return what changes of headers are of metadata; inverse of `changes_of`."""
    return {
        key.removeprefix(OBJECT_META): value
        for key, value in changes.items()
        if key.startswith(OBJECT_META)
    }


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that headers store; inverse of `headers_of`."""
    return {
        key.removeprefix(OBJECT_META): value
        for key, value in headers.items()
        if key.startswith(OBJECT_META)
    }


def check_room(metadata: Mapping[str, str], limits: Limits) -> None:
    """Refuse metadata that Swift would, before it is sent.

    Raises:
        AttributeTooLargeError: A name or a value is too long by itself.
        AttributesFullError: All together are too many or too long.
    """
    others = {key: value.encode() for key, value in metadata.items() if key not in OWN_KEYS}
    for key, value in others.items():
        if len(key.encode()) > limits.longest_meta_name:
            raise errors.AttributeTooLargeError(f"the name {key!r} is too long for Swift")
        if len(value) > limits.longest_meta_value:
            raise errors.AttributeTooLargeError(f"the value of {key!r} is too long for Swift")
    size = sum(len(key.encode()) + len(value) for key, value in others.items())
    if size + OWN_SIZE > limits.largest_metadata:
        raise errors.AttributesFullError(f"{size} bytes of metadata are too much for Swift")
    if len(others) + len(OWN_KEYS) > limits.most_metadata:
        raise errors.AttributesFullError(f"{len(others)} keys are too many for Swift")
