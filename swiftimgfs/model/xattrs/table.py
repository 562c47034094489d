"""The table of extended attributes: by name, how each is got, set, removed and listed.

Only names that start with `user.` are ours: any other gets EOPNOTSUPP, after which
coreutils stop asking for the whole mount (130 µs a file otherwise, for two questions that
`ls -l` asks about each), and which `cp -a` takes for "this filesystem does not keep them".

`user.swift.…` is what Swift says, `user.swift.meta.KEY` its metadata, and any other
`user.NAME` is the application's own, kept in metadata as bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.xattrs import metadata
from swiftimgfs.model.xattrs.containers import CONTAINERS, DIRECTORIES
from swiftimgfs.model.xattrs.images import IMAGES
from swiftimgfs.model.xattrs.segments import page_attribute
from swiftimgfs.model.xattrs.subject import text_of
from swiftimgfs.store import kept_attributes
from swiftimgfs.store.metadata import changes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.xattrs.subject import Attribute, Subject

NAMESPACE: Final = "user."
OURS: Final = "user.swift."
REFRESH: Final = b"user.swift.refresh"  # not kept: a request to see what Swift has now


def check_namespace(name: str) -> None:
    """Refuse attributes that are not ours.

    Raises:
        ForeignAttributeError: The name does not start with `user.`.
    """
    if not name.startswith(NAMESPACE):
        raise errors.ForeignAttributeError(f"{name}: only user.* attributes exist here")


async def value_of(subject: Subject, name: str) -> bytes:
    """Return the value of an attribute.

    Raises:
        NoSuchAttributeError: This image or container has none of that name.
        ForeignAttributeError: The name is not in our namespace.
        AttributeTooLargeError: It is more than Linux passes on.
    """
    check_namespace(name)
    if _is_kept(name):
        kept = kept_attributes.value_of(subject.metadata, _kept_name(name))
    else:
        attribute = _attribute(subject.inode, name)
        text = await attribute.getter(subject) if attribute else None
        kept = None if text is None else text.encode()
    if kept is None:
        raise errors.NoSuchAttributeError(f"{subject.inode.path}: no {name}")
    return kept


async def names_of(subject: Subject) -> list[str]:
    """Return the attributes that can be set and have a value: see `Attribute`."""
    names = []
    for name, attribute in _table(subject.inode).items():
        if attribute.setter is None:
            continue
        if await attribute.getter(subject) not in {None, attribute.default}:
            names.append(name)
    own = kept_attributes.names_in(subject.metadata)
    names += metadata.names_in(subject.metadata)
    return names + [NAMESPACE + name.decode(errors="surrogateescape") for name in own]


async def set_value(subject: Subject, name: str, value: bytes) -> None:
    """Set an attribute.

    EOPNOTSUPP for what cannot be set is what `cp -a` and `mv` take for "this filesystem does
    not keep them": with EPERM they complain about every `user.swift.*` that they copied.

    Raises:
        ForeignAttributeError: It is none that can be set.
        InvalidRequestError: The value is no text, or not one that the attribute can have.
        AttributeTooLargeError: Swift never holds such a value.
        AttributesFullError: Swift holds no more with this one.
        NotPermittedError: Swift does not take it from us.
    """
    check_namespace(name)
    if _is_kept(name):
        await _keep(subject, name, value)
        return
    attribute = _attribute(subject.inode, name)
    if attribute is None or attribute.setter is None:
        raise errors.ForeignAttributeError(f"{name}: is told, and not set")
    await attribute.setter(subject, text_of(name, value))


async def remove(subject: Subject, name: str) -> None:
    """Remove an attribute.

    Raises:
        NoSuchAttributeError: It has no value: what it would stand for is said otherwise.
        ForeignAttributeError: It is none that can be removed.
        NotPermittedError: Swift does not take it from us.
    """
    check_namespace(name)
    if _is_kept(name):
        await value_of(subject, name)
        await _keep(subject, name, None)
        return
    attribute = _attribute(subject.inode, name)
    if attribute is None or attribute.remover is None:
        raise errors.ForeignAttributeError(f"{name}: is told, and not removed")
    if await attribute.getter(subject) is None:
        raise errors.NoSuchAttributeError(f"{subject.inode.path}: no {name}")
    await attribute.remover(subject)


def _table(inode: Inode) -> Mapping[str, Attribute]:
    if inode.kind is Kind.FILE:
        return IMAGES
    return CONTAINERS if inode.path.is_container else DIRECTORIES


def _attribute(inode: Inode, name: str) -> Attribute | None:
    found = _table(inode).get(name)
    if found is None and inode.kind is Kind.FILE:
        found = page_attribute(name)
    has_metadata = inode.kind is Kind.FILE or not inode.path.is_root
    return metadata.attribute(name) if found is None and has_metadata else found


def _is_kept(name: str) -> bool:
    """Return whether an attribute is the application's own."""
    return name.startswith(NAMESPACE) and not name.startswith(OURS) and name != NAMESPACE


def _kept_name(name: str) -> bytes:
    return name.removeprefix(NAMESPACE).encode(errors="surrogateescape")


async def _keep(subject: Subject, name: str, value: bytes | None) -> None:
    longest = subject.store.limits.longest_meta_value
    changes = kept_attributes.changes_for(subject.metadata, _kept_name(name), value, longest)
    await subject.change_headers(changes_of(changes))
