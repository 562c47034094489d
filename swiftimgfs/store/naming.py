"""Glance's names for containers and images. Pure.

Source: glance_store's Swift driver: an image is an object named by its id, a UUID, in the
container `glance`, or in `glance_<part of the id>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors

if TYPE_CHECKING:
    from swiftimgfs.store.records import ImageInfo

GLANCE_CONTAINER: Final = "glance"
# The hexadecimal digits of a UUID.
MAX_SEED: Final = 32
UUID_LENGTH: Final = 36
_UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_IMAGE_ID = re.compile(_UUID, re.IGNORECASE)
# What any seed takes of an id, and the whole of it, as a store for many tenants has it.
_ID_PART = re.compile(r"[0-9a-f-]{1,36}", re.IGNORECASE)
_SEGMENT_OF = re.compile(rf"({_UUID})-.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Naming:
    """How Glance's options name containers.

    Attributes:
        container: swift_store_container: of all images, or what such names begin with.
        seed: swift_store_multiple_containers_seed: how many digits of an image's id
            its container is named by; 0 for one container.
        is_multi_tenant: swift_store_multi_tenant: each image has a container, and the
            seed is ignored.

    Raises:
        ConfigError: Glance's driver could not name a container either.
    """

    container: str = GLANCE_CONTAINER
    seed: int = 0
    is_multi_tenant: bool = False

    def __post_init__(self) -> None:
        if not self.container:
            raise errors.ConfigError("swift_store_container: a container needs a name")
        if self.seed not in range(MAX_SEED + 1):
            raise errors.ConfigError(
                f"swift_store_multiple_containers_seed={self.seed}:"
                f" a number from 0 to {MAX_SEED} is needed"
            )

    def container_of(self, image_id: str) -> str:
        """Return the container where Glance stores an image."""
        if self.is_multi_tenant:
            return f"{self.container}_{image_id}"
        if not self.seed:
            return self.container
        lowered = image_id.lower()
        # The dashes among the first `seed` characters do not count, but those that move up
        # in their place do: 10 of fdae39a1-ba56-… are fdae39a1-ba, 13 are fdae39a1-ba56-.
        length = self.seed + lowered.count("-", 0, self.seed)
        return f"{self.container}_{lowered[:length]}"

    def is_store_container(self, container: str) -> bool:
        """Return whether Glance may have stored images there, with whatever seed.

        Seeds change and the containers stay, so neither seed nor mode matters here. The
        swift CLI's `glance_segments` is none of them.
        """
        prefix = f"{self.container}_"
        return container == self.container or (
            container.startswith(prefix)
            and _ID_PART.fullmatch(container, len(prefix)) is not None
        )

    def is_of_one_image(self, container: str) -> bool:
        """Return whether an image has this container to itself, as in a multi-tenant store."""
        is_own = container != self.container and self.is_store_container(container)
        return self.is_multi_tenant and is_own

    def is_glance_image(self, info: ImageInfo) -> bool:
        """Return whether Glance wrote an image, so that it must stay as it is.

        Its name is a UUID, its container is one that Glance's options name, and it carries
        none of the metadata that the swift CLI and we store with an image. In doubt it is
        Glance's: in whatever container is named after Glance's.
        """
        is_named_so = info.container == self.container or info.container.startswith(
            f"{self.container}_"
        )
        return is_named_so and is_image_id(info.name) and "mtime" not in info.metadata


def is_image_id(name: str) -> bool:
    """Return whether Glance may have given a name: it is a UUID."""
    return len(name) == UUID_LENGTH and _IMAGE_ID.fullmatch(name) is not None


def glance_image_claiming(name: str) -> str | None:
    """Return the image whose segments a name would be among, if Glance stored it in segments.

    They are whatever starts with `<image id>-`.
    """
    match = _SEGMENT_OF.match(name)
    return match[1] if match else None
