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
    from collections.abc import Callable, Iterable, Mapping, Sequence

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


def sample_of(
    images: Sequence[ImageInfo], is_known: Callable[[ImageInfo], bool]
) -> list[ImageInfo]:
    """Return whom to ask: the newest, and as many that are spread evenly, less who is known.

    Args:
        images: Those that are alike.
        is_known: Whether one was asked already, which is as good.
    """
    newest = heapq.nlargest(NEWEST, images, key=lambda info: info.last_modified_ns)
    known = sum(map(is_known, images)) - sum(map(is_known, newest))
    count = max(0, SPREAD - known)
    step = max(1, len(images) // max(1, count))
    chosen = {info.name: info for info in [*newest, *images[step // 2 :: step][:count]]}
    return [info for info in chosen.values() if not is_known(info)]


def carries_attributes(metadata: Mapping[str, str]) -> bool:
    """Return whether metadata changes what `stat` shows."""
    return not SHOWN.isdisjoint(metadata)
