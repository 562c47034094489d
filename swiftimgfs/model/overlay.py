"""What this mount did to the store lately, laid over listings that may not show it yet.

A container's listing is updated some time after its objects. Our own changes must show at
once, and until the listing shows them; what somebody else did after us must show too. So a
change stays here until a listing has the same version of the image, or a newer one.
Nothing here awaits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.records import ImageInfo, ObjectRow

# Last-Modified of a PUT's answer is rounded up to the next second; a listing is exact.
ROUNDING_NS = 1_000_000_000


@dataclass(slots=True)
class _Changes:
    """Our changes in one directory, by component: None means gone."""

    images: dict[str, ImageInfo | None] = field(default_factory=dict)
    removed_ns: dict[str, int] = field(default_factory=dict)
    directories: dict[str, bool] = field(default_factory=dict)


class Overlay:
    """Our changes, directory by directory."""

    def __init__(self) -> None:
        self._changes: dict[StorePath, _Changes] = {}

    def stored(self, path: StorePath, info: ImageInfo) -> None:
        """Note that `path` is this image now."""
        changes = self._of(path.parent)
        changes.images[path.component] = info
        changes.directories.pop(path.component, None)

    def removed(self, path: StorePath, now_ns: int) -> None:
        """Note that there is no image `path` any more."""
        changes = self._of(path.parent)
        changes.images[path.component] = None
        changes.removed_ns[path.component] = now_ns

    def made_directory(self, path: StorePath) -> None:
        """Note that `path` is a directory, whatever is in it."""
        self._of(path.parent).directories[path.component] = True

    def removed_directory(self, path: StorePath) -> None:
        """Note that there is no directory `path` any more."""
        self._of(path.parent).directories[path.component] = False

    def image(self, path: StorePath) -> ImageInfo | None:
        """Return the image that we stored at `path`, while listings may not show it."""
        changes = self._changes.get(path.parent)
        return changes.images.get(path.component) if changes else None

    def directory(self, path: StorePath) -> bool | None:
        """Return whether we made (True) or removed (False) the directory; None: neither."""
        changes = self._changes.get(path.parent)
        return changes.directories.get(path.component) if changes else None

    def settle(self, directory: StorePath, component: str, row: ObjectRow) -> bool:
        """Return whether a listing's row is to be believed; our change is then forgotten."""
        changes = self._changes.get(directory)
        if changes is None or component not in changes.images:
            return True
        ours = changes.images[component]
        if ours is None:
            is_row_newer = row.last_modified_ns > changes.removed_ns[component]
        else:
            is_row_newer = (
                ours.etag in {row.etag, row.slo_etag}
                or row.last_modified_ns > ours.last_modified_ns
            )
        if is_row_newer:
            del changes.images[component]
        return is_row_newer

    def images_of(self, directory: StorePath) -> Iterator[tuple[str, ImageInfo]]:
        """Yield what we stored in a directory and no listing has shown yet."""
        changes = self._changes.get(directory)
        for component, info in list(changes.images.items()) if changes else ():
            if info is not None:
                yield component, info

    def directories_of(self, directory: StorePath) -> Iterator[tuple[str, bool]]:
        """Yield what we made (True) and removed (False) in a directory."""
        changes = self._changes.get(directory)
        yield from list(changes.directories.items()) if changes else ()

    def _of(self, directory: StorePath) -> _Changes:
        return self._changes.setdefault(directory, _Changes())
