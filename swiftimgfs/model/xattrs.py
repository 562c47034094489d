"""The table of extended attributes: which there are, and where each value comes from.

Only names that start with `user.` are ours: any other gets EOPNOTSUPP, after which
coreutils stop asking for the whole mount (130 µs a file otherwise, for two questions that
`ls -l` asks about each).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.model.inodes import Kind

if TYPE_CHECKING:
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.store.image_store import ImageStore

NAMESPACE = "user."


@dataclass(frozen=True, slots=True)
class Subject:
    """What an attribute is asked of."""

    inode: Inode
    store: ImageStore


# A value, or None when this image or container has none.
Getter = Callable[[Subject], Awaitable[str | None]]


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


async def _read_acl(subject: Subject) -> str | None:
    return (await subject.store.head_container(subject.inode.path.container)).read_acl


async def _write_acl(subject: Subject) -> str | None:
    return (await subject.store.head_container(subject.inode.path.container)).write_acl


_OF_FILES: dict[str, Getter] = {
    "user.swift.location": _location,
    "user.swift.etag": _etag,
    "user.swift.manifest": _manifest,
    "user.swift.segments": _segments,
}
_OF_DIRECTORIES: dict[str, Getter] = {"user.swift.location": _location}
_OF_CONTAINERS: dict[str, Getter] = {
    "user.swift.location": _location,
    "user.swift.acl.read": _read_acl,
    "user.swift.acl.write": _write_acl,
}


def _table(inode: Inode) -> dict[str, Getter]:
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
    getter = _table(subject.inode).get(name)
    value = await getter(subject) if getter else None
    if value is None:
        raise errors.NoSuchAttributeError(f"{subject.inode.path}: no {name}")
    return value


async def names_of(subject: Subject) -> list[str]:
    """Return the attributes that have a value here."""
    names = []
    for name, getter in _table(subject.inode).items():
        if await getter(subject) is not None:
            names.append(name)
    return names


def refuse_to_set(name: str) -> NoReturn:
    """Refuse to set or remove an attribute.

    EOPNOTSUPP is what `cp -a` and `mv` take for "this filesystem does not keep them": with
    EPERM they complain about every `user.swift.*` that they copied.

    Raises:
        ForeignAttributeError: Always.
    """
    raise errors.ForeignAttributeError(f"{name}: attributes are told, and not set")
