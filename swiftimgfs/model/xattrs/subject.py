"""What an attribute is asked of, and how one is got and set."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.store import container_acls
from swiftimgfs.store.metadata import metadata_of

if TYPE_CHECKING:
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.reading.block_cache import ObjectKey
    from swiftimgfs.store.acls import Acls
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.metadata import HeaderChanges
    from swiftimgfs.store.records import ContainerInfo


@dataclass(slots=True)
class Subject:
    """What attributes are asked of or set on; for one request, so that it asks Swift once.

    Attributes:
        inode: The file or directory.
        store: Where it is.
        admin_tenants: Who may write into every container whose tenants are set.
        headers: What it carries, by lower-cased name, with changes that are not in Swift yet.
        container: What HEAD says of it, when it is a container.
        verified: When objects were right that this mount compared with their MD5, in seconds.
        change: Changes headers of it, or removes them (None).
        hidden: Counts the names in a directory that are not shown.
    """

    inode: Inode
    store: ImageStore
    admin_tenants: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    container: ContainerInfo | None = None
    verified: Mapping[ObjectKey, float] = field(default_factory=dict)
    change: Callable[[HeaderChanges], Awaitable[None]] | None = None
    hidden: Callable[[], Awaitable[int]] | None = None
    _acls: Acls | None = field(default=None, init=False)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Metadata by lower-cased key."""
        return metadata_of(self.headers)

    async def change_headers(self, changes: HeaderChanges) -> None:
        """Change headers, or remove them (None).

        Raises:
            ForeignAttributeError: The account's root has none.
        """
        if self.change is None:
            raise errors.ForeignAttributeError(f"{self.inode.path}: keeps no attributes")
        await self.change(changes)

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

    Only what can be set is listed. What is listed `cp -a` and `rsync -X` set on the copy, and
    rsync removes from the target what the source lacks: a fact, which can be neither, would
    make each of them fail on each file.

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


def text_of(name: str, value: bytes) -> str:
    """Return a value as text.

    Raises:
        InvalidRequestError: It is none, or has control characters.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise errors.InvalidRequestError(f"{name}: the value is not UTF-8") from None
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise errors.InvalidRequestError(f"{name}: the value has control characters")
    return text
