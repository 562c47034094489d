"""Directories that nobody else may change (journal, spool, disk cache), and files open to all.

Who can write in a directory above can put another one in its place. So those are looked at
too, as sshd does with `StrictModes`; a sticky one, such as /tmp, lets nobody do that.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def check_private(path: Path, option: str, descriptor: int | None = None) -> None:
    """Refuse a directory that others can change or replace.

    Args:
        path: Where it is.
        option: What names it, for who reads the refusal.
        descriptor: Of the directory, where it is open already.

    Raises:
        ConfigError: It is somebody else's, or others can write in it or in one above it.
        OSError: It cannot be looked at.
    """
    status = os.stat(path if descriptor is None else descriptor)  # noqa: PTH116  # of either
    if status.st_uid != os.geteuid():
        raise errors.ConfigError(f"{option} {path}: belongs to somebody else")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise errors.ConfigError(f"{option} {path}: others can write in it (chmod go-w)")
    for above in _above(path):
        if _lets_others_replace(above.stat()):
            raise errors.ConfigError(
                f"{option} {path}: others can write in {above}, and so put another directory"
                f" in its place (chmod go-w {above})"
            )


def is_open_to_all(path: Path) -> bool:
    """Return whether everybody on this host can read a file.

    Raises:
        OSError: It cannot be looked at.
    """
    lets_through = all(above.stat().st_mode & stat.S_IXOTH for above in _above(path))
    return lets_through and bool(path.stat().st_mode & stat.S_IROTH)


def _above(path: Path) -> Iterator[Path]:
    """Yield the directories above, on the way that was given and on the one that it leads to."""
    yield from dict.fromkeys([*path.absolute().parents, *path.resolve().parents])


def _lets_others_replace(status: os.stat_result) -> bool:
    if status.st_uid not in _trusted():
        return True
    if status.st_mode & stat.S_ISVTX:
        return False
    is_groups = status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)
    return bool(status.st_mode & stat.S_IWOTH or is_groups)


def _trusted() -> set[int]:
    """Return who may own a directory above: us, root, and who owns all that there is.

    In a container's user namespace / may belong to a root who is not in it.
    """
    return {os.geteuid(), 0, os.stat("/").st_uid}  # noqa: PTH116  # no Path for one look


def _is_own_group(gid: int) -> bool:
    """Return whether a group is this user's alone, as many distributions give each one."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    is_first = gid == user.pw_gid and group.gr_name == user.pw_name
    return is_first and set(group.gr_mem) <= {user.pw_name}
