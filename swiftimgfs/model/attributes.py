"""Attributes that are stored with an image, and changes to them. Pure.

`X-Object-Meta-Mtime` in float seconds is what the swift CLI and rclone write; `Mode`, `Uid`
and `Gid` are ours, in octal and decimal. A container and a directory marker keep them the
same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs.store.records import format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

PERMISSIONS = 0o7777


@dataclass(frozen=True, slots=True)
class AttributeChanges:
    """What somebody wants changed; None leaves a thing as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    size: int | None = None

    def metadata(self) -> dict[str, str]:
        """Return the changes as metadata; the size is no metadata."""
        changes: dict[str, str] = {}
        if self.mode is not None:
            changes["mode"] = f"{self.mode & PERMISSIONS:04o}"
        if self.uid is not None:
            changes["uid"] = str(self.uid)
        if self.gid is not None:
            changes["gid"] = str(self.gid)
        if self.mtime_ns is not None:
            changes["mtime"] = format_seconds(self.mtime_ns)
        return changes


@dataclass(frozen=True, slots=True)
class StoredAttributes:
    """What is stored with an image; None where nothing, or nothing sensible, is stored."""

    mode: int | None
    uid: int | None
    gid: int | None


NOTHING_STORED = StoredAttributes(None, None, None)


def stored_attributes(metadata: Mapping[str, str]) -> StoredAttributes:
    """Return the attributes in metadata, which anybody may have written."""
    if not metadata:
        return NOTHING_STORED
    return StoredAttributes(
        mode=_number(metadata.get("mode", ""), base=8, largest=PERMISSIONS),
        uid=_number(metadata.get("uid", ""), base=10, largest=2**32 - 2),
        gid=_number(metadata.get("gid", ""), base=10, largest=2**32 - 2),
    )


def _number(text: str, *, base: int, largest: int) -> int | None:
    try:
        number = int(text, base)
    except ValueError:
        return None
    return number if 0 <= number <= largest else None


def allocated_bytes(metadata: Mapping[str, str], size: int) -> int:
    """Return how many bytes of a sparse image are stored; all `size` of any other."""
    if "allocated" not in metadata:
        return size
    try:
        return max(0, int(metadata["allocated"]))
    except ValueError:
        return size
