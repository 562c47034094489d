"""Whether something can be mounted here, and what a dead mount leaves."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self

from swiftimgfs import errors
from swiftimgfs.control.mounts import mount_at, resolved, type_at

DEVICE: Final = Path("/dev/fuse")
AUTOMOUNT_TYPE: Final = "autofs"
STDERR: Final = 2
# By a word of fusermount3's.
HINTS: Final = {
    "user_allow_other": ": have root write that line there, or leave allow_other out",
    "no write access": ": give a directory that this user owns",
}
DEAD: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


def check_host() -> None:
    """Refuse to go on where FUSE is missing."""
    check_device()
    if shutil.which("fusermount3") is None:
        raise errors.MountError("no fusermount3 on PATH: install the package fuse3")


def check_device(device: Path = DEVICE) -> None:
    """Refuse to go on where FUSE's device is missing, or may not be used.

    A user who may not open it can still mount, if fusermount3 may, which is setuid root.

    Raises:
        MountError: It says what to do about it.
    """
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        reason = "is not there: load the module (modprobe fuse), or give it to this container"
    except PermissionError as exc:
        if os.geteuid():
            return
        reason = f"may not be opened ({exc.strerror}): allow it to this container or service"
    except OSError as exc:
        reason = f"does not work ({exc.strerror}): load the module (modprobe fuse)"
    else:
        return
    raise errors.MountError(f"{device} {reason}")


def check_mountpoint(mountpoint: Path) -> None:
    """Refuse a mount point that is missing, no directory, in use, dead or not empty.

    Raises:
        MountError: It is, and says which.
    """
    try:
        is_empty = not any(mountpoint.iterdir())
    except FileNotFoundError:
        raise errors.MountError(f"mount point {mountpoint} does not exist") from None
    except NotADirectoryError:
        raise errors.MountError(f"mount point {mountpoint} is not a directory") from None
    except OSError as exc:
        if exc.errno in DEAD:
            raise errors.MountError(
                f"mount point {mountpoint} is a dead mount: free it with"
                f" swiftimgfs umount {mountpoint}"
            ) from None
        raise errors.MountError(f"mount point {mountpoint}: {exc.strerror}") from None
    if os.path.ismount(mountpoint) and not is_automount(mountpoint):
        raise errors.MountError(
            f"mount point {mountpoint} is in use: something is mounted there"
        )
    if not is_empty:
        raise errors.MountError(f"mount point {mountpoint} is not empty")


class Overheard:
    """What is written to standard error while the context lasts, by C and other programs too.

    libfuse and fusermount3 say there, and nowhere else, why they do not mount; where a mount
    starts in the background nobody reads it. Without an exception it is passed on.
    """

    def __init__(self) -> None:
        self.text = ""

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._kept, self._heard = os.dup(STDERR), os.memfd_create("overheard")
        os.dup2(self._heard, STDERR)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End it; what was said is in `text`, one blank for each gap."""
        os.dup2(self._kept, STDERR)
        os.lseek(self._heard, 0, os.SEEK_SET)
        with open(self._heard, "rb") as heard:  # noqa: PTH123  # a descriptor
            said = heard.read()
        if kind is None:
            os.write(self._kept, said)
        os.close(self._kept)
        self.text = " ".join(said.decode(errors="replace").split())


def why_not_mounted(said: str, failure: str) -> str:
    """Return why libfuse did not mount, and what helps.

    Args:
        said: What it and fusermount3 wrote meanwhile.
        failure: What pyfuse3 makes of it, which is always the same.
    """
    if not said:
        return f"{failure} (may this user open {DEVICE}, and run fusermount3?)"
    reason = said.removeprefix("fusermount3: ")
    hint = next((hint for word, hint in HINTS.items() if word in reason), "")
    return f"{reason}{hint}"


def is_automount(mountpoint: Path) -> bool:
    """Return whether a place waits for us to mount there: systemd's .automount, or autofs.

    To the kernel that is a mount, too. Whoever looks into it waits until something is mounted
    there, but for the process group of who asked for it.
    Source: Documentation/filesystems/autofs.rst of Linux, "oz mode".
    """
    return type_at(resolved(mountpoint)) == AUTOMOUNT_TYPE


def free_dead_mount(mountpoint: Path) -> None:
    """Unmount what a mount of ours that died has left at a place; else do nothing.

    Raises:
        MountError: It cannot be unmounted.
    """
    try:
        mountpoint.stat()
    except OSError as exc:
        if exc.errno not in DEAD or mount_at(resolved(mountpoint)) is None:
            return
    else:
        return
    done = subprocess.run(
        ["fusermount3", "-uz", "--", str(mountpoint)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise errors.MountError(f"cannot free the dead mount at {mountpoint}: {reason}")
