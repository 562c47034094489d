"""Whether somebody looks at a whole directory, or at one name of it. Nothing here awaits.

`ls -l`, `du` and `rsync` ask for the attributes of one name after the other, as who looks at a
single image does. What tells them apart is that many names of one directory are asked for
within a second: those are then answered together.

Who walks from directory to directory in the order of their names (`find`, `cp -r`) will want
the next ones too: they are loaded ahead.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs.model.inodes import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from swiftimgfs.model.entries import Listing
    from swiftimgfs.model.paths import StorePath

# How many names are answered by themselves, and within how many seconds; fewer while the
# directory is open, as `ls -l` has it: each is a request behind those for the listing's pages.
FEW = 8
FEW_WHILE_OPEN = 2
WINDOW = 1.0
# How many directories are loaded ahead of who walks through them.
AHEAD = 6


@dataclass(slots=True)
class _Burst:
    started: float
    count: int = 0


class Bursts:
    """How often names of each directory were asked for lately."""

    def __init__(self, memory: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember for `memory` seconds that a directory was looked at as a whole."""
        self._memory = memory
        self._clock = clock
        self._bursts: dict[StorePath, _Burst] = {}
        self._walked: dict[StorePath, float] = {}
        self._open: Counter[StorePath] = Counter()

    def opened(self, directory: StorePath) -> None:
        """Say that somebody has opened a directory to read it."""
        self._open[directory] += 1

    def closed(self, directory: StorePath) -> None:
        """Say that one of those is done with it."""
        self._open[directory] -= 1
        if not self._open[directory]:
            del self._open[directory]

    def few(self, directory: StorePath) -> int:
        """Return how many names of it may be asked for before that is a walk."""
        return FEW_WHILE_OPEN if directory in self._open else FEW

    def count(self, directory: StorePath) -> int:
        """Count a name that is asked for; return how many were, within the window."""
        now, few = self._clock(), self.few(directory)
        burst = self._bursts.get(directory)
        if burst is None or now - burst.started > WINDOW:
            goes_on = (
                burst is not None and burst.count > few and now - burst.started < 2 * WINDOW
            )
            burst = self._bursts[directory] = _Burst(now, few if goes_on else 0)
        burst.count += 1
        if burst.count > few:
            self._walked[directory] = now
        return burst.count

    def is_walked(self, directory: StorePath) -> bool:
        """Return whether many of its names were asked for lately."""
        since = self._walked.get(directory)
        return since is not None and self._clock() - since < self._memory


@dataclass(slots=True)
class _Order:
    """The directories in a listing, in order, and which of them was opened last."""

    listing: Listing
    names: list[str]
    places: dict[str, int]
    last: int = -1
    ahead: int = 0


class WalkAhead:
    """Which directories somebody will open next."""

    def __init__(self) -> None:
        self._orders: dict[StorePath, _Order] = {}

    def next_after(self, opened: StorePath, siblings: Listing) -> list[StorePath]:
        """Return what to load, now that a directory is opened that `siblings` lists too."""
        parent = opened.parent
        order = self._orders.get(parent)
        if order is None or order.listing is not siblings:
            names = [e.component for e in siblings.entries.values() if e.kind is Kind.DIRECTORY]
            places = {name: place for place, name in enumerate(names)}
            order = self._orders[parent] = _Order(siblings, names, places)
        place = order.places.get(opened.component, -1)
        is_next = place == order.last + 1 and place > 0
        order.last = place
        if not is_next:
            order.ahead = place + 1
            return []
        first, order.ahead = max(order.ahead, place + 1), place + 1 + AHEAD
        return [parent.child(name) for name in order.names[first : order.ahead]]
