"""What Swift says of an image, and what of that can be changed."""

from __future__ import annotations

import email.utils
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.xattrs.segments import segments, stored_segments
from swiftimgfs.model.xattrs.subject import Attribute
from swiftimgfs.reading.block_cache import key_of
from swiftimgfs.store.records import CONTENT_TYPE, DELETE_AT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.model.xattrs.subject import Subject

NO_CONTENT_TYPE: Final = "application/octet-stream"  # what Swift says of what it cannot guess
LONGEST_CONTENT_TYPE: Final = 255


async def location(subject: Subject) -> str | None:
    """Return where Glance would say that it is."""
    path = subject.inode.path
    return None if path.is_root else subject.store.location(path.container, path.name)


async def _etag(subject: Subject) -> str | None:
    return subject.inode.info.etag if subject.inode.info else None


async def _manifest(subject: Subject) -> str | None:
    info = subject.inode.info
    return info.manifest.value if info and info.manifest else None


async def _last_modified(subject: Subject) -> str | None:
    """Return it as Swift's header has it: in whole seconds, rounded up."""
    info = subject.inode.info
    if info is None:
        return None
    return email.utils.formatdate(-(-info.last_modified_ns // 1_000_000_000), usegmt=True)


async def _transaction_id(subject: Subject) -> str | None:
    info = subject.inode.info
    return info.transaction_id or None if info else None


async def _content_type(subject: Subject) -> str | None:
    told = subject.headers.get(CONTENT_TYPE)
    path = subject.inode.path
    if told or subject.inode.info is None:
        return told
    return (await subject.store.head_image(path.container, path.name)).content_type


async def _set_content_type(subject: Subject, text: str) -> None:
    is_type = text.isascii() and text == text.strip() and "/" in text
    if not is_type or len(text) > LONGEST_CONTENT_TYPE:
        raise errors.InvalidRequestError(f"{text!r} is no content type")
    if text.split(";", maxsplit=1)[0] in {"application/directory", "text/directory"}:
        raise errors.InvalidRequestError("an image is no directory")
    await subject.change_headers({CONTENT_TYPE: text})


async def _reset_content_type(subject: Subject) -> None:
    await subject.change_headers({CONTENT_TYPE: NO_CONTENT_TYPE})


async def _delete_at(subject: Subject) -> str | None:
    return subject.headers.get(DELETE_AT)


async def _set_delete_at(subject: Subject, text: str) -> None:
    if not (text.isascii() and text.isdigit() and len(text) <= len("9999999999")):
        raise errors.InvalidRequestError(f"{text!r} is no Unix time")
    if int(text) <= time.time():
        raise errors.InvalidRequestError("the time to delete it at is over")
    await subject.change_headers({DELETE_AT: text})


async def _end_delete_at(subject: Subject) -> None:
    await subject.change_headers({DELETE_AT: None})


async def _md5(subject: Subject) -> str | None:
    """The MD5 of the whole image; a large one's etag is none."""
    info = subject.inode.info
    if info is None or info.manifest is None:
        return info.etag if info else None
    return subject.metadata.get("md5")


async def _os_hash_algo(subject: Subject) -> str | None:
    return subject.metadata.get("os-hash-algo")


async def _os_hash_value(subject: Subject) -> str | None:
    return subject.metadata.get("os-hash-value")


async def _verified(subject: Subject) -> str | None:
    """Say how much of the image was right, and since when all of that is known."""
    info = subject.inode.info
    if info is None or not subject.verified:
        return None
    if info.manifest is None:
        at = subject.verified.get((info.etag, info.size))
        return None if at is None else f"{_iso_time(at)} whole"
    keys = [key_of(source) for _, source in await stored_segments(subject)]
    times = [subject.verified[key] for key in keys if key in subject.verified]
    return f"{_iso_time(min(times))} segments {len(times)}/{len(keys)}" if times else None


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


IMAGES: Final[Mapping[str, Attribute]] = {
    "user.swift.location": Attribute(location),
    "user.swift.etag": Attribute(_etag),
    "user.swift.content_type": Attribute(
        _content_type, _set_content_type, _reset_content_type, default=NO_CONTENT_TYPE
    ),
    "user.swift.last_modified": Attribute(_last_modified),
    "user.swift.transaction_id": Attribute(_transaction_id),
    "user.swift.manifest": Attribute(_manifest),
    "user.swift.segments": Attribute(segments),
    "user.swift.md5": Attribute(_md5),
    "user.swift.os_hash_algo": Attribute(_os_hash_algo),
    "user.swift.os_hash_value": Attribute(_os_hash_value),
    "user.swift.verified": Attribute(_verified),
    "user.swift.delete_at": Attribute(_delete_at, _set_delete_at, _end_delete_at),
}
