"""Whether the images of a directory carry attributes of their own, found by asking a few. Pure.

A listing does not say which images have a modification time, a mode or an owner in their
metadata. Glance stores none; the swift CLI, rclone and this mount store them with every
image. So of each kind of names in a directory (ids of Glance's, and others) a few are asked:
the newest, and some from anywhere. When none of them carries anything, the rest is taken as
the listing says it, until somebody looks at an image by itself.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from swiftimgfs.store.naming import is_image_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from swiftimgfs.store.records import ImageInfo

Stratum = tuple[str, str, bool]  # container, prefix, whether the names are ids of Glance's
# Metadata that changes what `stat` shows.
SHOWN = frozenset({"mtime", "mode", "uid", "gid", "allocated"})
NEWEST = 6
SPREAD = 6


def stratum_of(info: ImageInfo) -> Stratum:
    """Return which images this one is like."""
    prefix, _, component = info.name.rpartition("/")
    return info.container, prefix, is_image_id(component)


def by_stratum(images: Iterable[ImageInfo]) -> dict[Stratum, list[ImageInfo]]:
    """Return images by what they are like."""
    found: dict[Stratum, list[ImageInfo]] = {}
    for info in images:
        found.setdefault(stratum_of(info), []).append(info)
    return found


def sample_of(images: Sequence[ImageInfo]) -> Collection[ImageInfo]:
    """Return whom to ask: the newest, and as many that are spread evenly."""
    newest = heapq.nlargest(NEWEST, images, key=lambda info: info.last_modified_ns)
    step = max(1, len(images) // SPREAD)
    chosen = [*newest, *images[::step][:SPREAD]]
    return {info.name: info for info in chosen}.values()


def carries_attributes(metadata: Mapping[str, str]) -> bool:
    """Return whether metadata changes what `stat` shows."""
    return not SHOWN.isdisjoint(metadata)
