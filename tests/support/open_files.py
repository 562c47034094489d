"""Files that everybody can read, and how often one is: what pytest makes is its user's alone."""

from __future__ import annotations

import contextlib
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_opened: list[str] | None = None


def let_everybody_in(directory: Path) -> None:
    """Have whoever is on this host reach what is in a directory."""
    for above in [directory, *directory.parents]:
        mode = stat.S_IMODE(above.stat().st_mode)
        if not mode & stat.S_IXOTH:
            above.chmod(mode | stat.S_IXOTH)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)  # there is no way to take it away again


@contextlib.contextmanager
def opens() -> Iterator[list[str]]:
    """Give the names of the files that this process opens inside, one for each time."""
    global _opened  # noqa: PLW0603  # the hook knows nothing else
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None
