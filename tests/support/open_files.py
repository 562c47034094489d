"""Files that everybody can read: what pytest makes for a test is its user's alone."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def let_everybody_in(directory: Path) -> None:
    """Have whoever is on this host reach what is in a directory."""
    for above in [directory, *directory.parents]:
        mode = stat.S_IMODE(above.stat().st_mode)
        if not mode & stat.S_IXOTH:
            above.chmod(mode | stat.S_IXOTH)
