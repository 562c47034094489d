"""The containers of an account as directories: which are shown, what each is, how one goes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.model.details import side_by_side
from swiftimgfs.model.entries import Entry
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.paths import is_representable
from swiftimgfs.store import segment_containers
from swiftimgfs.store.records import SEGMENT_CONTAINER_SUFFIX

if TYPE_CHECKING:
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ContainerRow

# An emptied container's listing lags; a user who has just emptied it can wait this long.
REMOVAL_PATIENCE: Final = 3.0  # seconds
REMOVAL_STEP: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Whether a container holds segments, and how many objects it and its images' had then."""

    counts: tuple[int, int]
    holds_segments: bool


class Containers:
    """What is known of the account's containers."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._verdicts: dict[str, _Verdict] = {}

    async def listed(self, *, hides: bool) -> tuple[list[Entry], int]:
        """Return the containers, and how many have names that POSIX cannot hold.

        With `hides` those that hold segments are left out, and not counted.
        """
        rows = await self._store.list_containers()
        segments = await self._segment_containers(rows) if hides else set[str]()
        shown = [row for row in rows if row.name not in segments]
        entries = [
            Entry(row.name, Kind.DIRECTORY, mtime_ns=row.last_modified_ns)
            for row in shown
            if is_representable(row.name)
        ]
        return entries, len(shown) - len(entries)

    async def _segment_containers(self, rows: list[ContainerRow]) -> set[str]:
        """Return which containers hold the segments of the container they are named after.

        What was found is good until objects come or go.
        """
        counts = {row.name: row.object_count for row in rows}
        pairs = [
            (name.removesuffix(SEGMENT_CONTAINER_SUFFIX), name)
            for name in counts
            if name.endswith(SEGMENT_CONTAINER_SUFFIX)
            and name.removesuffix(SEGMENT_CONTAINER_SUFFIX) in counts
        ]
        await side_by_side(
            (self._judge, container, name, (counts[container], counts[name]))
            for container, name in pairs
        )
        return {name for _, name in pairs if self._verdicts[name].holds_segments}

    async def _judge(self, container: str, name: str, counts: tuple[int, int]) -> None:
        known = self._verdicts.get(name)
        # The account's counts lag: of an empty one there is more to know than its number.
        if known is None or known.counts != counts or 0 in counts:
            found = await segment_containers.holds_segments(self._store, container, name)
            self._verdicts[name] = _Verdict(counts, found)


async def remove_container(store: ImageStore, container: str) -> None:
    """Delete a container that was emptied, and the one that we made for its segments.

    Raises:
        DirectoryNotEmptyError: There are objects in it.
    """
    deadline = trio.current_time() + REMOVAL_PATIENCE
    while True:
        try:
            await store.delete_container(container)
            break
        except errors.DirectoryNotEmptyError:
            if trio.current_time() > deadline:
                raise
        await trio.sleep(REMOVAL_STEP)
    segments = container + SEGMENT_CONTAINER_SUFFIX
    with contextlib.suppress(errors.NotFoundError, errors.DirectoryNotEmptyError):
        if (await store.head_container(segments)).is_our_segment_container:
            await store.delete_container(segments)
