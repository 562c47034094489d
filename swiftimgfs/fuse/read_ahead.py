"""How far the kernel reads ahead in a mount: by default 128 KiB, which is a request each.

libfuse can only lower that; it is raised where the kernel keeps it, in sysfs, which only root
may. Requests of 1 MiB are the largest that FUSE has: with them a GiB takes 1,024 requests
instead of 8,192. (From a server on loopback, on two cores: 480 MB/s and 2.2 s of CPU a GiB
with 128 KiB, 610-970 MB/s and 1.1-1.6 s with 1 MiB, the same with 4 MiB.)

Who is not root is told nothing: the mount is as correct, and an administrator can have udev
do the same.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

READ_AHEAD_KIB: Final = 1024
MOUNTS: Final = Path("/proc/self/mountinfo")
DEVICES: Final = Path("/sys/class/bdi")


def raise_read_ahead(mountpoint: Path) -> None:
    """Have the kernel read ahead in `mountpoint` in its largest requests, where we may.

    What is set to more already, by udev or an administrator, stays. Asks the mount nothing:
    its own process would wait for itself.
    """
    try:
        device = device_of(mountpoint, MOUNTS.read_text(encoding="utf-8").splitlines())
        if device is None:
            return
        setting = DEVICES / device / "read_ahead_kb"
        if int(setting.read_text(encoding="ascii")) < READ_AHEAD_KIB:
            setting.write_text(f"{READ_AHEAD_KIB}\n", encoding="ascii")
    except (OSError, ValueError) as failure:
        log.debug("the kernel's read-ahead stays as it is reason=%s", failure)


def device_of(mountpoint: Path, mounts: Iterable[str]) -> str | None:
    """Return "major:minor" of what was mounted last at a directory.

    Args:
        mountpoint: Absolute, without symbolic links.
        mounts: Lines of a `mountinfo`, proc_pid_mountinfo(5): the third field is the device,
            the fifth the mount point, with blanks and the like in octal.
    """
    found = None
    for line in mounts:
        fields = line.split(" ")
        if _unescaped(fields[4]) == str(mountpoint):
            found = fields[2]
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
