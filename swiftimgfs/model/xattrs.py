"""The table of extended attributes: which there are, where a value comes from and goes.

Only names that start with `user.` are ours: any other gets EOPNOTSUPP, after which
coreutils stop asking for the whole mount (130 µs a file otherwise, for two questions that
`ls -l` asks about each).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.model.inodes import Kind
from swiftimgfs.store import container_acls
from swiftimgfs.store.acls import PUBLIC, AclHeader, parse_tenants

if TYPE_CHECKING:
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.store.acls import Acls
    from swiftimgfs.store.image_store import ImageStore

NAMESPACE = "user."


@dataclass(slots=True)
class Subject:
    """What attributes are asked of or set on; for one request, so that it asks Swift once.

    Attributes:
        inode: The file or directory.
        store: Where it is.
        admin_tenants: Who may write into every container whose tenants are set.
    """

    inode: Inode
    store: ImageStore
    admin_tenants: tuple[str, ...] = ()
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
    info = subject.inode.info
    if info is None or info.manifest is None:
        return None
    stored = await subject.store.resolve(info)
    return json.dumps(
        [
            {
                "name": f"{extent.source.container}/{extent.source.object}",
                "offset": extent.offset,
                "size": extent.size,
                "etag": extent.source.etag,
            }
            for extent in stored.layout.extents
            if isinstance(extent.source, Stored)
        ]
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
    return "1" if (await subject.acls()).read == PUBLIC else "0"


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
    attribute = _table(subject.inode).get(name)
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
    """Remove an attribute; one that has no value already is fine.

    Raises:
        ForeignAttributeError: It is none that can be removed.
        NotPermittedError: Swift does not take it from us.
    """
    attribute = _table(subject.inode).get(name)
    if attribute is None or attribute.remover is None:
        raise errors.ForeignAttributeError(f"{name}: is told, and not removed")
    await attribute.remover(subject)


def _text_of(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise errors.InvalidRequestError(f"{name}: the value is not UTF-8") from None
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise errors.InvalidRequestError(f"{name}: the value has control characters")
    return text
