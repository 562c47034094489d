"""The table of extended attributes: which there are, where a value comes from and goes.

Only names that start with `user.` are ours: any other gets EOPNOTSUPP, after which
coreutils stop asking for the whole mount (130 µs a file otherwise, for two questions that
`ls -l` asks about each).
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.model.inodes import Kind
from swiftimgfs.reading.block_cache import ObjectKey, key_of
from swiftimgfs.store import container_acls
from swiftimgfs.store.acls import AclHeader, parse_tenants
from swiftimgfs.writing import signatures

if TYPE_CHECKING:
    from swiftimgfs.layout import Extent
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.store.acls import Acls
    from swiftimgfs.store.image_store import ImageStore

NAMESPACE = "user."
REFRESH = b"user.swift.refresh"  # not kept: a request to see what Swift has now
LARGEST_VALUE = 65_000  # Linux's XATTR_SIZE_MAX is 65,536
# For `swiftimgfs verify`, and not listed: the segments in pages, because those of hundreds are
# more than a value can hold, and whether segment number N is a manifest itself.
_OF_SEGMENTS = re.compile(r"user\.swift\.segments\.(\d{1,6})(\.manifest)?", re.ASCII)


# Metadata by lower-cased name, None to remove it.
ChangeMetadata = Callable[[Mapping[str, str | None]], Awaitable[None]]


@dataclass(slots=True)
class Subject:
    """What attributes are asked of or set on; for one request, so that it asks Swift once.

    Attributes:
        inode: The file or directory.
        store: Where it is.
        admin_tenants: Who may write into every container whose tenants are set.
        verified: When objects were right that this mount compared with their MD5, in seconds.
        change_metadata: Stores metadata of a file, or removes it (None).
    """

    inode: Inode
    store: ImageStore
    admin_tenants: tuple[str, ...] = ()
    verified: Mapping[ObjectKey, float] = field(default_factory=dict)
    change_metadata: ChangeMetadata | None = None
    _acls: Acls | None = field(default=None, init=False)

    async def acls(self) -> Acls:
        """Return the ACLs of a container."""
        if self._acls is None:
            container = self.inode.path.container
            self._acls = await container_acls.read_acls(self.store, container)
        return self._acls

    async def change_acls(self, changes: container_acls.Changes) -> None:
        """Change the ACLs of a container, and of its segments'."""
        await container_acls.change_acls(self.store, self.inode.path.container, changes)


# A value, or None when this image or container has none.
Getter = Callable[[Subject], Awaitable[str | None]]
Setter = Callable[[Subject, str], Awaitable[None]]
Remover = Callable[[Subject], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Attribute:
    """How an attribute is got and, when it can be, set and removed.

    Attributes:
        getter: Returns the value.
        setter: None when it cannot be set.
        remover: None when it cannot be removed.
        default: The value with which it is not listed, and so not copied.
    """

    getter: Getter
    setter: Setter | None = None
    remover: Remover | None = None
    default: str | None = None


async def _location(subject: Subject) -> str | None:
    path = subject.inode.path
    return None if path.is_root else subject.store.location(path.container, path.name)


async def _etag(subject: Subject) -> str | None:
    return subject.inode.info.etag if subject.inode.info else None


async def _manifest(subject: Subject) -> str | None:
    info = subject.inode.info
    return info.manifest.value if info and info.manifest else None


async def _segments(subject: Subject) -> str | None:
    """All of them, unless they are more than an attribute can hold."""
    pages = await _segment_pages(subject)
    return pages[0] if len(pages) == 1 else None


async def _segments_page(subject: Subject, number: int) -> str | None:
    pages = await _segment_pages(subject)
    return pages[number] if number < len(pages) else None


async def _segment_manifest(subject: Subject, number: int) -> str | None:
    """What kind of manifest a segment is: an SLO's row may name a DLO, whose etag is no MD5."""
    segments = await _stored_segments(subject)
    if number >= len(segments):
        return None
    source = segments[number][1]
    info = await subject.store.head_image(source.container, source.object)
    return info.manifest.value if info.manifest else None


async def _segment_pages(subject: Subject) -> list[str]:
    """Return the segments of a large image, cut into lists that fit into an attribute each."""
    info = subject.inode.info
    if info is None or info.manifest is None:
        return []
    pages: list[list[str]] = [[]]
    room = LARGEST_VALUE
    for extent, source in await _stored_segments(subject):
        row = _segment_row(extent, source)
        size = len(row.encode()) + len(", ")
        if size > room:
            pages.append([])
            room = LARGEST_VALUE
        room -= size
        pages[-1].append(row)
    return [f"[{', '.join(page)}]" for page in pages]


async def _stored_segments(subject: Subject) -> list[tuple[Extent, Stored]]:
    info = subject.inode.info
    if info is None or info.manifest is None:
        return []
    extents = (await subject.store.resolve(info)).layout.extents
    return [(extent, extent.source) for extent in extents if isinstance(extent.source, Stored)]


def _segment_row(extent: Extent, source: Stored) -> str:
    return json.dumps(
        {
            "name": f"{source.container}/{source.object}",
            "offset": extent.offset,
            "size": extent.size,
            "etag": source.etag,
            # The etag is that of the whole object, of which this may be a part.
            "start": source.start,
            "object_size": source.object_size,
        },
        ensure_ascii=False,
    )


async def _md5(subject: Subject) -> str | None:
    """The MD5 of the whole image; a large one's etag is none."""
    info = subject.inode.info
    if info is None or info.manifest is None:
        return info.etag if info else None
    return info.metadata.get("md5")


async def _os_hash_algo(subject: Subject) -> str | None:
    return subject.inode.info.metadata.get("os-hash-algo") if subject.inode.info else None


async def _os_hash_value(subject: Subject) -> str | None:
    return subject.inode.info.metadata.get("os-hash-value") if subject.inode.info else None


async def _verified(subject: Subject) -> str | None:
    """Say how much of the image was right, and since when all of that is known."""
    info = subject.inode.info
    if info is None or not subject.verified:
        return None
    if info.manifest is None:
        at = subject.verified.get((info.etag, info.size))
        return None if at is None else f"{_iso_time(at)} whole"
    keys = [key_of(source) for _, source in await _stored_segments(subject)]
    times = [subject.verified[key] for key in keys if key in subject.verified]
    return f"{_iso_time(min(times))} segments {len(times)}/{len(keys)}" if times else None


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ── what Glance's four properties say of a signature ───────────────────────────────────


async def _signature(subject: Subject) -> str | None:
    return signatures.joined(subject.inode.metadata) or None


async def _set_signature(subject: Subject, text: str) -> None:
    await _change(subject, dict.fromkeys(signatures.part_keys()) | signatures.parts_of(text))


async def _remove_signature(subject: Subject) -> None:
    await _change(subject, dict.fromkeys([signatures.SIGNATURE, *signatures.part_keys()]))


async def _property(subject: Subject, key: str) -> str | None:
    return subject.inode.metadata.get(key) or None


async def _set_property(subject: Subject, text: str, key: str) -> None:
    await _change(subject, {key: text})


async def _remove_property(subject: Subject, key: str) -> None:
    await _change(subject, {key: None})


async def _change(subject: Subject, changes: Mapping[str, str | None]) -> None:
    if subject.change_metadata is None or "" in changes.values():
        raise errors.InvalidRequestError("a property of a signature has a value")
    await subject.change_metadata(changes)


def _property_attribute(key: str) -> Attribute:
    return Attribute(
        functools.partial(_property, key=key),
        functools.partial(_set_property, key=key),
        functools.partial(_remove_property, key=key),
    )


# ── ACLs: the two that Swift keeps, and Glance's view of them ──────────────────────────


async def _read_acl(subject: Subject) -> str | None:
    return (await subject.acls()).read or None


async def _set_read_acl(subject: Subject, text: str) -> None:
    await subject.change_acls({AclHeader.READ: text})


async def _clear_read_acl(subject: Subject) -> None:
    await subject.change_acls({AclHeader.READ: ""})


async def _write_acl(subject: Subject) -> str | None:
    return (await subject.acls()).write or None


async def _set_write_acl(subject: Subject, text: str) -> None:
    await subject.change_acls({AclHeader.WRITE: text})


async def _clear_write_acl(subject: Subject) -> None:
    await subject.change_acls({AclHeader.WRITE: ""})


async def _public(subject: Subject) -> str | None:
    return "1" if container_acls.lets_everybody_read(await subject.acls()) else "0"


async def _set_public(subject: Subject, text: str) -> None:
    if text not in {"0", "1"}:
        raise errors.InvalidRequestError(f"public is 0 or 1, not {text!r}")
    changes = container_acls.public_changes(
        await subject.acls(), subject.admin_tenants, is_public=text == "1"
    )
    await subject.change_acls(changes)


async def _end_public(subject: Subject) -> None:
    changes = container_acls.public_changes(await subject.acls(), (), is_public=False)
    await subject.change_acls(changes)


async def _read_tenants(subject: Subject) -> str | None:
    return ",".join(container_acls.readers_of(await subject.acls())) or None


async def _set_read_tenants(subject: Subject, text: str) -> None:
    tenants = parse_tenants(text)
    present = await subject.acls()
    changes = container_acls.reader_changes(present, subject.admin_tenants, tenants)
    await subject.change_acls(changes)


async def _write_tenants(subject: Subject) -> str | None:
    tenants = container_acls.writers_of(await subject.acls(), subject.admin_tenants)
    return ",".join(tenants) or None


async def _set_write_tenants(subject: Subject, text: str) -> None:
    tenants = parse_tenants(text)
    await subject.change_acls(container_acls.writer_changes(subject.admin_tenants, tenants))


async def _remove_write_tenants(subject: Subject) -> None:
    await _set_write_tenants(subject, "")


# ── the table ──────────────────────────────────────────────────────────────────────────

_LOCATION = Attribute(_location)
_OF_FILES = {
    "user.swift.location": _LOCATION,
    "user.swift.etag": Attribute(_etag),
    "user.swift.manifest": Attribute(_manifest),
    "user.swift.segments": Attribute(_segments),
    "user.swift.md5": Attribute(_md5),
    "user.swift.os_hash_algo": Attribute(_os_hash_algo),
    "user.swift.os_hash_value": Attribute(_os_hash_value),
    "user.swift.verified": Attribute(_verified),
    "user.swift.meta.img_signature": Attribute(_signature, _set_signature, _remove_signature),
    **{
        f"user.swift.meta.{key.replace('-', '_')}": _property_attribute(key)
        for key in signatures.PROPERTIES
        if key != signatures.SIGNATURE
    },
}
_OF_DIRECTORIES = {"user.swift.location": _LOCATION}
_OF_CONTAINERS = {
    "user.swift.location": _LOCATION,
    "user.swift.acl.read": Attribute(_read_acl, _set_read_acl, _clear_read_acl),
    "user.swift.acl.write": Attribute(_write_acl, _set_write_acl, _clear_write_acl),
    "user.swift.acl.public": Attribute(_public, _set_public, _end_public, default="0"),
    "user.swift.acl.read_tenants": Attribute(_read_tenants, _set_read_tenants, _clear_read_acl),
    "user.swift.acl.write_tenants": Attribute(
        _write_tenants, _set_write_tenants, _remove_write_tenants
    ),
}


def _table(inode: Inode) -> dict[str, Attribute]:
    if inode.kind is Kind.FILE:
        return _OF_FILES
    return _OF_CONTAINERS if inode.path.is_container else _OF_DIRECTORIES


def _readable(inode: Inode, name: str) -> Attribute | None:
    match = _OF_SEGMENTS.fullmatch(name)
    if match and inode.kind is Kind.FILE:
        getter = _segment_manifest if match[2] else _segments_page
        return Attribute(functools.partial(getter, number=int(match[1])))
    return _table(inode).get(name)


def check_namespace(name: str) -> None:
    """Refuse attributes that are not ours.

    Raises:
        ForeignAttributeError: The name does not start with `user.`.
    """
    if not name.startswith(NAMESPACE):
        raise errors.ForeignAttributeError(f"{name}: only user.* attributes exist here")


async def value_of(subject: Subject, name: str) -> str:
    """Return the value of an attribute.

    Raises:
        NoSuchAttributeError: This image or container has none of that name.
        ForeignAttributeError: The name is not in our namespace.
    """
    check_namespace(name)
    attribute = _readable(subject.inode, name)
    value = await attribute.getter(subject) if attribute else None
    if value is None:
        raise errors.NoSuchAttributeError(f"{subject.inode.path}: no {name}")
    return value


async def names_of(subject: Subject) -> list[str]:
    """Return the attributes that have a value here, of which something is to be said."""
    names = []
    for name, attribute in _table(subject.inode).items():
        if await attribute.getter(subject) not in {None, attribute.default}:
            names.append(name)
    return names


async def set_value(subject: Subject, name: str, value: bytes) -> None:
    """Set an attribute.

    EOPNOTSUPP for the others is what `cp -a` and `mv` take for "this filesystem does not
    keep them": with EPERM they complain about every `user.swift.*` that they copied.

    Raises:
        ForeignAttributeError: It is none that can be set.
        InvalidRequestError: The value is no text, or not one that the attribute can have.
        NotPermittedError: Swift does not take it from us.
    """
    attribute = _table(subject.inode).get(name)
    if attribute is None or attribute.setter is None:
        raise errors.ForeignAttributeError(f"{name}: is told, and not set")
    await attribute.setter(subject, _text_of(name, value))


async def remove(subject: Subject, name: str) -> None:
    """Remove an attribute.

    Raises:
        NoSuchAttributeError: It has no value: what it would stand for is said otherwise.
        ForeignAttributeError: It is none that can be removed.
        NotPermittedError: Swift does not take it from us.
    """
    attribute = _table(subject.inode).get(name)
    if attribute is None or attribute.remover is None:
        raise errors.ForeignAttributeError(f"{name}: is told, and not removed")
    if await attribute.getter(subject) is None:
        raise errors.NoSuchAttributeError(f"{subject.inode.path}: no {name}")
    await attribute.remover(subject)


def _text_of(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise errors.InvalidRequestError(f"{name}: the value is not UTF-8") from None
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise errors.InvalidRequestError(f"{name}: the value has control characters")
    return text
