"""How full the store is, from memory: statfs must never wait for a network.

A mount of the account is as full as the account. One that is rooted in a container is as
full as that container with the segments of its images (`<container>_segments`), and what
may still be stored is what the narrowest of their quotas and the account's leaves. Swift
has no usage of a part of a container: a mount rooted deeper tells the container's.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.store.records import SEGMENT_CONTAINER_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import AccountInfo, ContainerInfo

log = logging.getLogger(__name__)

MAX_AGE: Final = 10.0  # seconds; Swift itself adds containers up only now and then
# What `df` shows as free when no quota says otherwise: more than anybody's images need.
UNLIMITED: Final = 1 << 50
UNLIMITED_OBJECTS: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Usage:
    """How much is stored, and how much more may be.

    Attributes:
        used: Bytes.
        free: Bytes.
        objects: How many there are.
        free_objects: How many more there may be.
    """

    used: int
    free: int
    objects: int
    free_objects: int


class StoreUsage:
    """The last known usage of what is mounted, renewed behind the back of who asks."""

    def __init__(
        self, store: ImageStore, nursery: trio.Nursery, account: AccountInfo, root: StorePath
    ) -> None:
        self._store = store
        self._nursery = nursery
        self._account = account
        self._root = root
        self._containers: list[ContainerInfo] = []
        self._asked_at = trio.current_time()
        self._is_asking = False

    def now(self) -> Usage:
        """Return what is known; when that is old, also have it asked for."""
        if not self._is_asking and trio.current_time() - self._asked_at > MAX_AGE:
            self._is_asking = True
            self._nursery.start_soon(self._ask)
        return usage_of(self._account, self._containers)

    async def learn_containers(self) -> None:
        """Ask for the containers that a mount below the account is about.

        Raises:
            SwiftImgFsError: Swift does not say.
        """
        if self._root.is_root:
            return
        found = [await self._store.head_container(self._root.container)]
        segments = self._root.container + SEGMENT_CONTAINER_SUFFIX
        # There is none yet, or it is not ours to see: then it is not ours to fill either.
        with contextlib.suppress(errors.NotFoundError, errors.ForbiddenError):
            found.append(await self._store.head_container(segments))
        self._containers = found

    async def _ask(self) -> None:
        try:
            with contextlib.suppress(errors.ForbiddenError):  # let in by a container's ACL
                self._account = await self._store.account()
            await self.learn_containers()
        except errors.SwiftImgFsError as failure:
            log.warning("usage not known reason=%s", failure)
        finally:
            self._asked_at = trio.current_time()
            self._is_asking = False


def usage_of(account: AccountInfo, containers: list[ContainerInfo]) -> Usage:
    """Return how full a mount of the account is, or one of the first of these containers.

    Args:
        account: What it says; nothing, for who is let in by a container's ACL.
        containers: Empty, or the container that is mounted and the one of its segments.
    """
    everything: list[AccountInfo | ContainerInfo] = [account, *containers]
    mounted: Sequence[AccountInfo | ContainerInfo] = containers or [account]
    return Usage(
        used=sum(one.bytes_used for one in mounted),
        free=_least((one.quota, one.bytes_used) for one in everything),
        objects=mounted[0].object_count,
        free_objects=_least(
            ((one.object_quota, one.object_count) for one in everything), UNLIMITED_OBJECTS
        ),
    )


def _least(limits: Iterable[tuple[int | None, int]], unlimited: int = UNLIMITED) -> int:
    """Return what the narrowest quota leaves; `limits` are quotas and what is used of each."""
    left = [max(0, quota - used) for quota, used in limits if quota is not None]
    return min(left, default=unlimited)
