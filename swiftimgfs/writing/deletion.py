"""Deleting stored objects that nothing names any more.

As Glance's driver deletes, completed: it lists a DLO's segments and deletes them one after
the other, forgetting what fails; of an SLO it sends `multipart-manifest=delete`, whose real
status is in the body. Here every segment is a request of its own, whatever the manifest
was: the requests go side by side, each has its own answer, and one that fails is known by
name. Nor can a manifest that somebody stored a moment ago be the one that is followed.

The objects are whatever a manifest was seen to name when it was laid out: nested manifests
too, and all pages of a DLO's listing.

A segment belongs to one manifest. Who copied a manifest alone (`COPY ?multipart-manifest=get`)
shares its segments, and deleting one image then breaks the other, here as with every other
tool: to know, all manifests of the account would have to be read. `swiftimgfs gc` reads them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from swiftimgfs.store.image_store import ImageStore

log = logging.getLogger(__name__)

ObjectName = tuple[str, str]  # container, object

# Clean-up must end even when Swift does not answer: what is left then is in the log.
CLEAN_UP_SECONDS: Final = 30.0
# The connections of the pool are what limits; more tasks than that only wait for one.
WORKERS: Final = 16


@dataclass(frozen=True, slots=True)
class Undeleted:
    """An object that could not be deleted, and why."""

    container: str
    name: str
    failure: errors.SwiftImgFsError

    @property
    def is_worth_another_try(self) -> bool:
        """Whether it may go later, by the same request: a login may be good again."""
        if isinstance(self.failure, errors.AccessDeniedError):
            return not isinstance(self.failure, errors.ForbiddenError)
        return self.failure.is_transient


async def delete_objects(
    store: ImageStore,
    objects: Iterable[ObjectName],
    told: Callable[[ObjectName], None] | None = None,
) -> list[Undeleted]:
    """Delete objects side by side; one that is gone already is none to delete.

    However many there are, few are on their way at once. One that cannot be deleted does
    not stop the others: it stays in Swift as a segment that no manifest names, is in the
    log, and is found by `swiftimgfs gc`.

    Args:
        store: Where they are.
        objects: What to delete.
        told: Called with each that is gone.

    Returns:
        What could not be deleted.
    """
    waiting = iter(objects)
    undeleted: list[Undeleted] = []
    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(_work, store, waiting, undeleted, told or _ignore)
    if undeleted:
        first = undeleted[0]
        log.error(
            "segments left behind count=%d first=%s/%s reason=%s",
            len(undeleted),
            first.container,
            first.name,
            first.failure,
        )
    return undeleted


async def _work(
    store: ImageStore,
    waiting: Iterator[ObjectName],
    undeleted: list[Undeleted],
    told: Callable[[ObjectName], None],
) -> None:
    for container, name in waiting:  # shared by all workers, which take without awaiting
        try:
            await store.delete_object(container, name)
        except errors.NotFoundError:
            pass
        except errors.SwiftImgFsError as failure:
            undeleted.append(Undeleted(container, name, failure))
            continue
        told((container, name))


def _ignore(name: ObjectName) -> None:
    """Tell nobody."""
