"""How much memory there is for us: the host's, or less where a cgroup says so.

Source: cgroups(7), the kernel's cgroup-v2.rst (`memory.max`) and v1's `memory.rst`. Every
directory on the way from the root to a process's own cgroup may have a limit; the least holds.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB: Final = 1024**2
MOST: Final = 512 * MIB
SHARE: Final = 4  # of what there is, a quarter
CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUPS: Final = Path("/proc/self/cgroup")


def default_memory_limit() -> int:
    """Return how many bytes a mount takes where nobody said: 512 MiB, or a quarter of all."""
    return min(MOST, memory_available() // SHARE)


def memory_available() -> int:
    """Return the bytes that this process may have, its cgroups considered."""
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([host, *_cgroup_limits()])


def _cgroup_limits() -> Iterator[int]:
    """Yield the limits above us; none where there are no cgroups, or none that can be read."""
    lines = []
    with contextlib.suppress(OSError):
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _limits_between(CGROUPS, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_between(CGROUPS / "memory", path, "memory.limit_in_bytes")


def _limits_between(root: Path, path: str, name: str) -> Iterator[int]:
    own = root / path.lstrip("/")
    for directory in (own, *own.parents):
        if not directory.is_relative_to(root):
            return
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            yield int((directory / name).read_text(encoding="ascii"))
