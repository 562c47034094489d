"""Where something is in the store: a container and a name in it. Pure.

The root of an account is no container and no name; a container's root is no name; a
directory in a container is the name without its last slash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs import errors

if TYPE_CHECKING:
    from swiftimgfs.store.cluster import Limits

LONGEST_COMPONENT = 255  # bytes: NAME_MAX of Linux


@dataclass(frozen=True, slots=True)
class StorePath:
    """A container, and a name in it without a slash at its end.

    As text, in the log and for people, it is `container/name`, and the account `/`.
    """

    container: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.container}/{self.name}".rstrip("/") or "/"

    @property
    def is_root(self) -> bool:
        """Whether this is the account."""
        return not self.container

    @property
    def is_container(self) -> bool:
        """Whether this is a container itself."""
        return bool(self.container) and not self.name

    @property
    def prefix(self) -> str:
        """What the names of everything inside start with."""
        return f"{self.name}/" if self.name else ""

    @property
    def parent(self) -> StorePath:
        """The directory that this is in."""
        if not self.name:
            return StorePath()
        return StorePath(self.container, self.name.rpartition("/")[0])

    @property
    def component(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2] if self.name else self.container

    def is_in(self, directory: StorePath) -> bool:
        """Whether this is a directory, or anything in it, however deep."""
        if directory.is_root or self == directory:
            return True
        return self.container == directory.container and self.name.startswith(directory.prefix)

    def child(self, component: str) -> StorePath:
        """Return the path of `component` in this directory."""
        if self.is_root:
            return StorePath(component)
        return StorePath(self.container, self.prefix + component)


def component_of(name: bytes) -> str:
    """Return the name of something new as Swift's text.

    Raises:
        InvalidRequestError: It is not UTF-8, which Swift's names are. (EINVAL is what ext4
            with a strict encoding and vfat say; ZFS with `utf8only` says EILSEQ.)
        NameTooLongError: It is longer than Linux allows.
    """
    if len(name) > LONGEST_COMPONENT:
        raise errors.NameTooLongError(f"{name[:32]!r}…: longer than {LONGEST_COMPONENT} bytes")
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise errors.InvalidRequestError(f"{name!r}: Swift's names are UTF-8") from None


def existing_component_of(name: bytes) -> str:
    """Return the name of something that is looked for as Swift's text.

    Raises:
        NotFoundError: It is not UTF-8, so that there is nothing of this name.
        NameTooLongError: It is longer than Linux allows.
    """
    try:
        return component_of(name)
    except errors.InvalidRequestError as failure:
        raise errors.NotFoundError(str(failure)) from failure


def check_storable(path: StorePath, limits: Limits) -> None:
    """Refuse a path that Swift cannot hold, before anything is sent.

    Raises:
        NameTooLongError: More bytes than the cluster allows.
    """
    if len(path.container.encode()) > limits.longest_container_name:
        raise errors.NameTooLongError(f"{path}: container name too long for Swift")
    if len(path.prefix.encode()) > limits.longest_name:
        raise errors.NameTooLongError(f"{path}: name too long for Swift")


def is_representable(component: str) -> bool:
    """Return whether POSIX can hold this part of an object's name.

    An empty part comes from `a//b` or a leading slash; `.` and `..` mean something else.
    """
    if component in {"", ".", ".."} or "\0" in component or "/" in component:
        return False
    try:
        return len(component.encode()) <= LONGEST_COMPONENT
    except UnicodeEncodeError:  # lone surrogates, from names that are not UTF-8
        return False
