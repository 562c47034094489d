"""What this mount did to the store lately, laid over listings that may not show it yet.

A container's listing is updated some time after its objects. Our own changes must show at
once, and until the listing shows them; what somebody else did after us must show too. So a
change stays here until a listing has the same version of the image, or a newer one, and
for `LONGEST_LAG` at most: a time told by Swift with a PUT is rounded to the second, so that
what somebody else did within that second cannot be told from what was before.
Nothing here awaits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swiftimgfs.model.paths import StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from swiftimgfs.store.records import ImageInfo, ObjectRow


# Seconds after which a listing is believed: updates that Swift puts off take less.
LONGEST_LAG: Final = 60.0


@dataclass(slots=True)
class _Changes:
    """Our changes in one directory, by component.

    `removed` has when the version that we removed had been stored, in Swift's own time, and
    `at` when we did what we did to an image, in ours; `directories_at` the same of directories.
    """

    at: dict[str, float] = field(default_factory=dict)
    images: dict[str, ImageInfo] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    directories: dict[str, bool] = field(default_factory=dict)
    directories_at: dict[str, float] = field(default_factory=dict)


class Overlay:
    """Our changes, directory by directory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Tell the time by `clock`, in seconds."""
        self._clock = clock
        self._changes: dict[StorePath, _Changes] = {}

    def stored(self, path: StorePath, info: ImageInfo) -> None:
        """Note that `path` is this image now."""
        changes = self._of(path.parent)
        changes.at[path.component] = self._clock()
        changes.images[path.component] = info
        changes.removed.pop(path.component, None)
        changes.directories.pop(path.component, None)

    def removed(self, path: StorePath, info: ImageInfo | None) -> None:
        """Note that there is no image `path` any more; None when Swift never had it."""
        changes = self._of(path.parent)
        changes.at[path.component] = self._clock()
        changes.images.pop(path.component, None)
        if info is not None:
            changes.removed[path.component] = info.last_modified_ns

    def doomed(self, path: StorePath, now_ns: int) -> None:
        """Note that what was stored there until now is to be deleted."""
        changes = self._of(path.parent)
        changes.at[path.component] = self._clock()
        changes.removed[path.component] = now_ns

    def is_removed(self, path: StorePath, last_modified_ns: int) -> bool:
        """Return whether this version of an image is one that we removed."""
        changes = self._recent(path.parent)
        removed = changes.removed.get(path.component) if changes else None
        return removed is not None and last_modified_ns <= removed

    def made_directory(self, path: StorePath) -> None:
        """Note that `path` is a directory, whatever is in it."""
        self._note_directory(path, exists=True)

    def removed_directory(self, path: StorePath) -> None:
        """Note that there is no directory `path` any more."""
        self._note_directory(path, exists=False)

    def _note_directory(self, path: StorePath, *, exists: bool) -> None:
        changes = self._of(path.parent)
        changes.directories[path.component] = exists
        changes.directories_at[path.component] = self._clock()

    def directory(self, path: StorePath) -> bool | None:
        """Return whether we made (True) or removed (False) the directory; None: neither.

        What we removed longer ago than a listing lags somebody may have made again.
        """
        changes = self._changes.get(path.parent)
        exists = changes.directories.get(path.component) if changes else None
        if changes is None or exists is not False:
            return exists
        is_recent = changes.directories_at[path.component] >= self._clock() - LONGEST_LAG
        return False if is_recent else None

    def settle(self, directory: StorePath, component: str, row: ObjectRow) -> bool:
        """Return whether a listing's row is to be believed; our change is then forgotten."""
        changes = self._changes.get(directory)
        if changes is None or not (component in changes.removed or component in changes.images):
            return True
        changes = self._recent(directory) or changes
        if (removed := changes.removed.get(component)) is not None:
            if row.last_modified_ns <= removed:
                return False
            del changes.removed[component]
        if (ours := changes.images.get(component)) is not None:
            is_same = ours.etag in {row.etag, row.slo_etag}
            if not is_same and row.last_modified_ns <= ours.last_modified_ns:
                return False
            del changes.images[component]
        return True

    def image(self, path: StorePath) -> ImageInfo | None:
        """Return what we stored lately under a name, if a listing may not show it yet."""
        changes = self._changes.get(path.parent)
        return changes.images.get(path.component) if changes else None

    def images_of(self, directory: StorePath) -> Iterator[tuple[str, ImageInfo]]:
        """Yield what we stored in a directory and no listing has shown yet."""
        changes = self._recent(directory)
        yield from list(changes.images.items()) if changes else ()

    def settle_directories(self, directory: StorePath, listed: Container[str]) -> None:
        """Leave directories that we made or removed a while ago to the listing.

        Somebody else may remove them, or make them again. One that we made and that is not
        listed is one that we emptied.
        """
        changes = self._changes.get(directory)
        if changes is None:
            return
        oldest = self._clock() - LONGEST_LAG
        for component, exists in list(changes.directories.items()):
            is_told = component in listed or not exists
            if is_told and changes.directories_at[component] < oldest:
                del changes.directories[component]

    def move_directories(self, source: StorePath, target: StorePath) -> None:
        """Have the directories below `target` that were made or removed below `source`."""
        for path in [p for p in self._changes if p.is_in(source)]:
            old = self._changes[path]
            new = self._of(
                StorePath(target.container, target.name + path.name[len(source.name) :])
            )
            new.directories |= old.directories
            new.directories_at |= old.directories_at
            old.directories, old.directories_at = {}, {}

    def images_below(self, directory: StorePath) -> Iterator[str]:
        """Yield the names of what we stored anywhere below and no listing has shown yet."""
        for path in list(self._changes):
            if path.is_in(directory):
                for component, _ in self.images_of(path):
                    yield path.prefix + component

    def directories_of(self, directory: StorePath) -> Iterator[tuple[str, bool]]:
        """Yield what we made (True) and removed (False) in a directory."""
        changes = self._changes.get(directory)
        yield from list(changes.directories.items()) if changes else ()

    def below(self, directory: StorePath) -> tuple[list[StorePath], list[StorePath]]:
        """Return what we stored, and which directories we made or removed, however deep."""
        images: list[StorePath] = []
        directories: list[StorePath] = []
        for path in [p for p in self._changes if p.is_in(directory)]:
            images += [path.child(component) for component, _ in self.images_of(path)]
            directories += [path.child(c) for c, _ in self.directories_of(path)]
        return images, directories

    def forget(self, path: StorePath) -> None:
        """Forget what we did to this name: Swift says otherwise."""
        self.forget_image(path)
        if (changes := self._changes.get(path.parent)) is not None:
            changes.directories.pop(path.component, None)

    def forget_image(self, path: StorePath) -> None:
        """Forget that we stored an image of this name: it is gone."""
        if (changes := self._changes.get(path.parent)) is not None:
            changes.images.pop(path.component, None)

    def _recent(self, directory: StorePath) -> _Changes | None:
        """Return the changes in a directory, rid of those that every listing shows by now."""
        changes = self._changes.get(directory)
        if changes is not None:
            oldest = self._clock() - LONGEST_LAG
            for component in [c for c, at in changes.at.items() if at < oldest]:
                del changes.at[component]
                changes.images.pop(component, None)
                changes.removed.pop(component, None)
        return changes

    def _of(self, directory: StorePath) -> _Changes:
        return self._changes.setdefault(directory, _Changes())
