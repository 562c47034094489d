"""The mounts of this host that are ours, as the kernel lists them.

Source: proc(5), `/proc/<pid>/mountinfo`; blanks and their like are octal escapes there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNTS: Final = Path("/proc/self/mountinfo")
FILESYSTEM_TYPE: Final = "fuse.swiftimgfs"
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")
_USER: Final = re.compile(r"(?:^|,)user_id=(\d+)(?:,|$)")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One mount.

    Attributes:
        device: `major:minor`, which no other mount of this host has.
        source: As it was mounted, without credentials.
        uid: Of who mounted it.
    """

    device: str
    mountpoint: Path
    source: str
    uid: int
    is_read_only: bool


def our_mounts() -> list[MountEntry]:
    """Return the mounts of swiftimgfs that this process sees; the latest of one place last."""
    return list(parse_mounts(MOUNTS.read_bytes()))


def mount_at(mountpoint: Path) -> MountEntry | None:
    """Return the mount of ours that is uppermost at a place, None when there is none."""
    found = [entry for entry in our_mounts() if entry.mountpoint == mountpoint]
    return found[-1] if found else None


def type_at(mountpoint: Path) -> str:
    """Return the type of what is uppermost at a place; empty when nothing is mounted there."""
    found = ""
    for fields, kind, _, _ in _rows(MOUNTS.read_bytes()):
        if _unescaped(fields[4]) == str(mountpoint):
            found = kind.decode()
    return found


def resolved(mountpoint: Path) -> Path:
    """Return a mount point as the kernel lists it, without asking the mount itself."""
    path = Path(os.path.abspath(mountpoint))  # noqa: PTH100  # a dead mount cannot be resolved
    return path.parent.resolve() / path.name


def parse_mounts(text: bytes) -> Iterator[MountEntry]:
    """Yield the mounts of ours in a mountinfo file."""
    for fields, kind, source, options in _rows(text):
        if kind.decode() == FILESYSTEM_TYPE:
            user = _USER.search(options.decode(errors="replace"))
            yield MountEntry(
                device=fields[2].decode(),
                mountpoint=Path(_unescaped(fields[4])),
                source=_unescaped(source),
                uid=int(user[1]) if user else 0,
                is_read_only=b"ro" in fields[5].split(b","),
            )


def _rows(text: bytes) -> Iterator[tuple[list[bytes], bytes, bytes, bytes]]:
    """Yield the first fields, the type, the source and the options of each mount."""
    for line in text.splitlines():
        fields = line.split(b" ")
        # After six fields come some that may be there, and a dash that ends them.
        kind, source, options = fields[fields.index(b"-", 6) + 1 :][:3]
        yield fields, kind, source, options


def _unescaped(field: bytes) -> str:
    text = _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)
    return text.decode(errors="surrogateescape")
