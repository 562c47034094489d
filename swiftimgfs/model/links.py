"""Symbolic links: what is written in one, and what a symlink of Swift's leads to. Pure.

Swift keeps a container and an object, and knows no relative text. So a link shows the text
that it was made with (kept in metadata) as long as that leads to the same object from where
the link is now, and else the shortest relative one. What does not lie in the mount shows
by Swift's own path (`/v1/AUTH_…/container/object`), which leads nowhere on this host: a
relative text could leave the mount, and would lead to whatever this host has there.
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Metadata that keeps a link's text, quoted. Swift's values have 256 bytes at most.
TEXT_KEY = "symlink"
LONGEST_VALUE = 256

Names = tuple[str, ...]  # from the mount's root


def names_at(directory: Names, text: str, mountpoints: Sequence[str]) -> Names | None:
    """Return which names a link's text stands for; None for those outside the mount.

    Args:
        directory: Where the link is.
        text: What is written in it.
        mountpoints: Absolute paths of the mount's root.
    """
    names = list(directory)
    if text.startswith("/"):
        inside = (m for m in mountpoints if text.startswith(f"{m}/"))
        mountpoint = next(inside, None)
        if mountpoint is None:
            return None
        names, text = [], text.removeprefix(mountpoint)
    for part in text.split("/"):
        if part == ".." and not names:
            return None
        if part == "..":
            names.pop()
        elif part not in {"", "."}:
            names.append(part)
    return tuple(names)


def text_to(directory: Names, target: Names) -> str:
    """Return the shortest relative text that leads from a directory to `target`."""
    return os.path.relpath("/" + "/".join(target), "/" + "/".join(directory))


def kept_text(text: bytes) -> dict[str, str]:
    """Return the metadata that keeps a link's text, where Swift can hold it."""
    value = quote(text)
    return {TEXT_KEY: value} if len(value) <= LONGEST_VALUE else {}


def shown_text(
    directory: Names,
    target: Names,
    metadata: Mapping[str, str],
    mountpoints: Sequence[str],
) -> str:
    """Return what a link in `directory` shows that leads to `target`."""
    kept = unquote(metadata.get(TEXT_KEY, ""))
    if kept and names_at(directory, kept, mountpoints) == target:
        return kept
    return text_to(directory, target)
