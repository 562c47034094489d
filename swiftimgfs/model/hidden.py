"""Names that a mount cannot show: POSIX has none like them, or a directory is in the way. Pure.

`user.swift.hidden` counts them and `swiftimgfs check` lists them, so that nobody looks in
vain for an image that Swift has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swiftimgfs.model.paths import is_representable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from swiftimgfs.store.records import ObjectRow


class HiddenNames:
    """Finds them in the pages of one container's whole listing, in Swift's order."""

    def __init__(self) -> None:
        # Files whose name the present one begins with. Between `a` and `a/b` Swift lists only
        # names that begin with `a`, so there is no need to remember any other.
        self._beginnings: list[str] = []

    def among(self, rows: Iterable[ObjectRow]) -> Iterator[str]:
        """Yield the names of the next page that are not shown.

        A file that a directory shadows is found when something in that directory comes by.
        """
        for row in rows:
            while self._beginnings and not row.name.startswith(self._beginnings[-1]):
                self._beginnings.pop()
            for name in [n for n in self._beginnings if row.name.startswith(f"{n}/")]:
                self._beginnings.remove(name)
                yield name
            if not _is_shown(row):
                yield row.name
            elif not row.is_directory_marker:
                self._beginnings.append(row.name)


def _is_shown(row: ObjectRow) -> bool:
    *directories, last = row.name.split("/")
    if last == "" and directories:
        return row.size == 0 and all(map(is_representable, directories))  # says `directory/`
    return all(map(is_representable, [*directories, last]))
