"""Which names of a listing's pages may be shown already, while more pages come. Pure.

A name is held back as long as what is still to come may say otherwise:

- a file, until Swift is past what would be a directory of the same name, which then shadows
  it: between `a` and `a/b` only names that begin with `a` are listed;
- an object that may be a manifest of Glance's, with all after it, while its segments are
  being listed: see `glance_rows`;
- names that begin with a dot, to the end: they come first, and the tools that keep segments
  among images call them so (ours `.segments-…`, rclone's `.file-segments/`), before the
  manifests that name them. All others (Glance's, the swift CLI's) begin with their
  manifest's name, which is listed before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swiftimgfs.model.glance_rows import first_unfinished
from swiftimgfs.model.paths import is_representable
from swiftimgfs.store.naming import glance_image_claiming

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swiftimgfs.store.containers import Page
    from swiftimgfs.store.records import ObjectRow


@dataclass(slots=True)
class Arrived:
    """What may be shown now.

    Attributes:
        rows: Objects whose last component POSIX can hold, in Swift's order.
        directories: Components.
        hidden: How many names besides are never shown.
    """

    rows: list[ObjectRow] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    hidden: int = 0


class Arrivals:
    """The pages of one directory's listing, whose names begin with `prefix`.

    Attributes:
        directories: Components of the directories so far.
        spoilt: Images of Glance's that have something besides their segments under their
            prefix, in a directory.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._held: list[ObjectRow] = []
        self._dotted: list[ObjectRow] = []
        self._dotted_directories: list[str] = []
        self.directories: set[str] = set()
        self.spoilt: set[str] = set()

    def take(self, page: Page) -> Arrived:
        """Return what can be shown with this page, and all the rest with the last."""
        is_last = page.next_marker is None
        arrived = Arrived()
        rows = self._sorted_in(page, arrived)
        rows = [*self._held, *rows]
        end = len(rows) if is_last else first_unfinished(rows)
        free, self._held = rows[:end], rows[end:]
        if is_last:
            free = [*self._dotted, *free]
            arrived.directories += self._dotted_directories
        for row in free:
            self._release(row, "" if is_last else page.next_marker or "", arrived)
        self._held.sort(key=lambda row: row.name.encode())
        return arrived

    def component(self, name: str) -> str:
        """Return the part of a name that this directory lists."""
        return name[len(self._prefix) :]

    def _sorted_in(self, page: Page, arrived: Arrived) -> list[ObjectRow]:
        """Take note of a page's directories; return its objects, dotted ones put aside."""
        directories = list(page.subdirs)
        rows: list[ObjectRow] = []
        for row in page.rows:
            arrived.hidden += row.name == self._prefix and row.size > 0  # a marker with bytes
            if row.is_directory_marker or row.name == self._prefix:
                directories.append(row.name)
            elif row.name.startswith(".", len(self._prefix)):
                self._dotted.append(row)
            else:
                rows.append(row)
        self._add_directories(directories, arrived)
        return rows

    def _add_directories(self, names: Iterable[str], arrived: Arrived) -> None:
        for name in names:
            component = self.component(name).removesuffix("/")
            if name == self._prefix or component in self.directories:
                continue
            if (claiming := glance_image_claiming(component)) is not None:
                self.spoilt.add(claiming)
            if is_representable(component):
                self.directories.add(component)
                is_dotted = component.startswith(".")
                (self._dotted_directories if is_dotted else arrived.directories).append(
                    component
                )
            else:
                arrived.hidden += 1

    def _release(self, row: ObjectRow, last: str, arrived: Arrived) -> None:
        """Show a row, count it as hidden, or hold it back: `last` is the last name listed."""
        component = self.component(row.name)
        if component in self.directories or not is_representable(component):
            arrived.hidden += 1
        elif last and last.startswith(row.name) and last < f"{row.name}/":
            self._held.append(row)
        else:
            arrived.rows.append(row)
