"""Trees of files that tools look at and copy."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from tests.support.mounts import run_all

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = "segment_size=64K,large_object_size=256K,timeout=10"
SMALL = b"a line\nanother line\n"
LARGE = os.urandom(300_000)
YEAR_2001 = 1_000_000_000


def quietly(*arguments: object) -> None:
    """Run a tool that must have nothing to say."""
    assert run_all(*arguments) == ""


def files_in(tree: Path) -> dict[str, bytes]:
    """Return the files in a tree by their path in it."""
    found = sorted(path for path in tree.rglob("*") if path.is_file())
    return {str(path.relative_to(tree)): path.read_bytes() for path in found}


def facts_of(tree: Path) -> dict[str, tuple[int, int, int]]:
    """Return size, mode and mtime (whole seconds) of the files in a tree."""
    return {
        name: (status.st_size, stat.S_IMODE(status.st_mode), int(status.st_mtime))
        for name in files_in(tree)
        for status in [(tree / name).stat()]
    }
