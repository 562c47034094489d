"""What is stored with directories: the mode, owner and time that markers and containers keep.

A listing has of a directory its name alone, and of a container when it was made. So, as with
images (`details`, `samples`):

- who looks at one is told what it carries, at most `attr_timeout` seconds old, by a HEAD;
- who looks at many in a directory is answered for all of it: a few are asked, and all when
  one of those carries something. That is believed for `list_timeout` seconds.

A directory in a container that has no marker is there by what lies in it, and carries nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.model import samples
from swiftimgfs.model.details import side_by_side
from swiftimgfs.model.entries import Entry, file_entry
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore

# How many of the directories in a directory are asked, to know whether any carries something.
SAMPLE = 12


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What was found: nothing where there is no marker, or it is not for us to read."""

    entry: Entry | None
    at: float


class Markers:
    """The directories that were looked at, and what they carry."""

    def __init__(self, store: ImageStore, *, attr_timeout: float, list_timeout: float) -> None:
        self._store = store
        self._attr_timeout = attr_timeout
        self._list_timeout = list_timeout
        self._asked: dict[StorePath, _Asked] = {}
        # Of the directories in a directory: whether any carries something.
        self._verdicts: Verdicts[StorePath] = Verdicts(list_timeout)

    async def look_at(self, path: StorePath) -> None:
        """Ask for one directory, as it is now.

        Raises:
            NotFoundError: A container that is not there.
        """
        before, entry = self._asked.get(path), None
        # Who may list and not read sees what everybody sees of one that carries nothing.
        with contextlib.suppress(errors.ForbiddenError):
            entry = await self._container(path) if path.is_container else await self._of(path)
        if self._asked.get(path) is before:  # else this mount has changed it meanwhile
            self._asked[path] = _Asked(entry, trio.current_time())

    async def look_at_many(
        self, paths: Sequence[StorePath], all_of_them: Callable[[], Collection[StorePath]]
    ) -> None:
        """Ask for directories in a directory, where any of all carry something.

        Args:
            paths: Whom to ask for.
            all_of_them: Returns all in that directory.
        """
        if not (unknown := self._unknown(paths)):
            return
        parent = unknown[0].parent
        if self._verdicts.get(parent) is None:
            await self._judge(parent, list(all_of_them()))
        if self._verdicts.get(parent) is not False:
            await self._look_at_all(self._unknown(paths))

    def is_fresh(self, path: StorePath) -> bool:
        """Return whether a directory was asked for at most `attr_timeout` ago."""
        return self._is_younger(path, self._attr_timeout)

    def is_settled(self, path: StorePath) -> bool:
        """Return whether what is known of a directory is what a look at it would show."""
        is_known = self._is_younger(path, self._list_timeout)
        return is_known or self._verdicts.get(path.parent) is False

    def best(self, path: StorePath, bare: Entry) -> Entry:
        """Return a directory with what it carries, as far as it was asked for."""
        asked = self._asked.get(path)
        return bare if asked is None or asked.entry is None else asked.entry

    def note_bare(self, path: StorePath, bare: Entry) -> None:
        """Take note that a directory carries nothing, unless something is known of it."""
        if path not in self._asked:
            self._asked[path] = _Asked(bare, trio.current_time())

    def forget(self, path: StorePath) -> None:
        """Have a directory be asked for again: it was made, changed or removed."""
        self._asked.pop(path, None)

    def forget_in(self, directory: StorePath) -> None:
        """Have a directory, and all directories in it however deep, be asked for again."""
        for path in [path for path in self._asked if path.is_in(directory)]:
            del self._asked[path]
        self._verdicts.clear()

    # ── steps ──────────────────────────────────────────────────────────────────────────

    async def _of(self, path: StorePath) -> Entry | None:
        try:
            marker = await self._store.head_image(path.container, path.prefix)
        except errors.NotFoundError:
            return None
        return replace(file_entry(path.component, marker), kind=Kind.DIRECTORY)

    async def _container(self, path: StorePath) -> Entry:
        info = await self._store.head_container(path.container)
        return Entry(path.component, Kind.DIRECTORY, None, info.mtime_ns, info.metadata)

    async def _look_at_all(self, paths: Collection[StorePath]) -> None:
        await side_by_side((self._look_at_listed, path) for path in paths)

    async def _look_at_listed(self, path: StorePath) -> None:
        with contextlib.suppress(errors.NotFoundError):  # removed since it was listed
            await self.look_at(path)

    async def _judge(self, parent: StorePath, paths: Sequence[StorePath]) -> None:
        sample = paths[:: -(-len(paths) // SAMPLE) or 1]
        await self._look_at_all(self._unknown(sample))
        asked = [self._asked[path].entry for path in paths if path in self._asked]
        carries = any(e is not None and samples.carries_attributes(e.metadata) for e in asked)
        self._verdicts.note(parent, carries=carries)

    def _unknown(self, paths: Sequence[StorePath]) -> list[StorePath]:
        return [path for path in paths if not self._is_younger(path, self._list_timeout)]

    def _is_younger(self, path: StorePath, age: float) -> bool:
        asked = self._asked.get(path)
        return asked is not None and trio.current_time() - asked.at < age
