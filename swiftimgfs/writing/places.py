"""Where the segments of a container's images go: beside it, or among them.

Beside it is `<container>_segments`, as the swift CLI has it, which is made when it is first
needed and opened to the same people. Among the images, as Glance's driver has them, they go
where that container is not ours to fill:

- In a multi-tenant store an image has its container to itself, and Glance sets that
  container's ACLs and deletes it: what is beside it would neither be shared nor go.
- Somebody's own container may have that name.
- Who may write into a container of another project cannot make one beside it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.store import segment_containers
from swiftimgfs.store.acls import AclHeader
from swiftimgfs.store.records import SEGMENT_CONTAINER_MARK, SEGMENT_CONTAINER_SUFFIX

if TYPE_CHECKING:
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.naming import Naming
    from swiftimgfs.store.records import ContainerInfo

log = logging.getLogger(__name__)


async def segment_container(store: ImageStore, naming: Naming, container: str) -> str:
    """Return the container for the segments of a new image, made and opened if need be.

    Asked once for each large image: a container may get other ACLs, or go, in between.
    """
    candidate = container + SEGMENT_CONTAINER_SUFFIX
    is_too_long = len(candidate.encode()) > store.limits.longest_container_name
    if is_too_long or naming.is_of_one_image(container):
        return container
    try:
        info = await store.head_container(container)
        return candidate if await _is_ours_to_fill(store, info, candidate) else container
    except errors.ForbiddenError as failure:
        log.info("segments go among the images container=%s reason=%s", container, failure)
        return container


async def _is_ours_to_fill(store: ImageStore, info: ContainerInfo, candidate: str) -> bool:
    acls = {
        AclHeader.READ.value: info.read_acl or "",
        AclHeader.WRITE.value: info.write_acl or "",
    }
    try:
        beside = await store.head_container(candidate)
    except errors.NotFoundError:
        given = {name: acl for name, acl in acls.items() if acl}
        await store.put_container(candidate, {**given, SEGMENT_CONTAINER_MARK: "segments"})
        return True
    if (
        not beside.is_our_segment_container
        and await segment_containers.segment_container_of(store, info.name) != candidate
    ):
        log.info("segments go among the images, since there is a container=%s", candidate)
        return False
    present = {
        AclHeader.READ.value: beside.read_acl or "",
        AclHeader.WRITE.value: beside.write_acl or "",
    }
    if present != acls and (info.read_acl or info.write_acl):
        await store.post_container(candidate, acls)
    return True
