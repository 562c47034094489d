"""What Swift says of a container and a directory; ACLs, and Glance's view of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.xattrs.images import location
from swiftimgfs.model.xattrs.subject import Attribute
from swiftimgfs.store import container_acls
from swiftimgfs.store.acls import AclHeader, parse_tenants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.model.xattrs.subject import Subject


async def _storage_policy(subject: Subject) -> str | None:
    return subject.container.storage_policy or None if subject.container else None


async def _bytes_used(subject: Subject) -> str | None:
    return str(subject.container.bytes_used) if subject.container else None


async def _object_count(subject: Subject) -> str | None:
    return str(subject.container.object_count) if subject.container else None


async def _hidden(subject: Subject) -> str | None:
    return str(await subject.hidden()) if subject.hidden else None


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


DIRECTORIES: Final[Mapping[str, Attribute]] = {
    "user.swift.location": Attribute(location),
    "user.swift.hidden": Attribute(_hidden),
}
CONTAINERS: Final[Mapping[str, Attribute]] = {
    **DIRECTORIES,
    "user.swift.storage_policy": Attribute(_storage_policy),
    "user.swift.bytes_used": Attribute(_bytes_used),
    "user.swift.object_count": Attribute(_object_count),
    "user.swift.acl.read": Attribute(_read_acl, _set_read_acl, _clear_read_acl),
    "user.swift.acl.write": Attribute(_write_acl, _set_write_acl, _clear_write_acl),
    "user.swift.acl.public": Attribute(_public, _set_public, _end_public, default="0"),
    "user.swift.acl.read_tenants": Attribute(_read_tenants, _set_read_tenants, _clear_read_acl),
    "user.swift.acl.write_tenants": Attribute(
        _write_tenants, _set_write_tenants, _remove_write_tenants
    ),
}
