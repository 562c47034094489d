"""Glance's names for containers and images. Pure.

Source: glance_store's Swift driver: an image is an object named by its id, a UUID, in the
container `glance`, or in `glance_<part of the id>`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swiftimgfs.store.records import ImageInfo

GLANCE_CONTAINER = "glance"
_UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_IMAGE_ID = re.compile(_UUID, re.IGNORECASE)
_SEGMENT_OF = re.compile(rf"({_UUID})-.", re.IGNORECASE)


def is_glance_image(info: ImageInfo) -> bool:
    """Return whether Glance wrote an image, so that it must stay as it is.

    Its name is a UUID, its container is one that Glance uses, and it carries none of the
    metadata that the swift CLI and we store with an image.
    """
    container = info.container
    is_glance_container = container == GLANCE_CONTAINER or container.startswith(
        f"{GLANCE_CONTAINER}_"
    )
    return bool(
        is_glance_container and _IMAGE_ID.fullmatch(info.name) and "mtime" not in info.metadata
    )


def glance_image_claiming(name: str) -> str | None:
    """Return the image whose segments a name would be among, if Glance stored it in segments.

    They are whatever starts with `<image id>-`.
    """
    match = _SEGMENT_OF.match(name)
    return match[1] if match else None
