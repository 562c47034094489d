"""A mount in a process of its own: started in the background, waited for until it serves.

The child is this program again with `--foreground`; it says over a pipe that it serves, or
why it does not. A fork would copy threads and an event loop; starting anew copies nothing,
and secrets stay in the environment, out of the argument list.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.mountpoint import is_automount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

PR_SET_DUMPABLE: Final = 4
READY = "ready"
READY_FD_VARIABLE = "SWIFTIMGFS_READY_FD"


class NobodyWaitsError(errors.MountError):
    """Who started this mount has ended before it served, and so wants it no more."""


@dataclass(frozen=True, slots=True)
class MountProcess:
    """What became of the child: it serves when `message` is empty.

    Attributes:
        warning: What somebody should know about a mount that serves; mostly empty.
        said_nothing: Whether it ended without a word: then only its log may know why.
    """

    process: subprocess.Popen[bytes]
    message: str
    warning: str = ""
    said_nothing: bool = False

    @property
    def is_serving(self) -> bool:
        """Whether the mount is there."""
        return not self.message


def start_mount(
    arguments: Sequence[str], environ: Mapping[str, str], *, is_detached: bool
) -> MountProcess:
    """Start `swiftimgfs mount ARGUMENTS` and return when it serves or has given up.

    Args:
        arguments: As on the command line, source and mount point first.
        environ: The child's environment.
        is_detached: Whether it shall outlive this process and its terminal.
    """
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            # -P: a directory that somebody mounts from must not give us its modules.
            [sys.executable, "-P", "-m", "swiftimgfs", "mount", *arguments, "--foreground"],
            env={**environ, READY_FD_VARIABLE: str(writer)},
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if is_detached else None,
            # A Ctrl-C is for who started us: we decide when it ends. At an automount the
            # kernel lets nobody through but the process group that was told to mount.
            start_new_session=not is_automount(Path(arguments[1])),
        )
    finally:
        os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as pipe:
        said = pipe.readline().strip()
    ready, _, warning = said.partition(" ")
    if ready == READY:
        return MountProcess(process, "", warning)
    process.wait()
    message = said or f"the mount ended with status {process.returncode}"
    return MountProcess(process, message, said_nothing=not said)


def forbid_core_dumps() -> None:
    """Have no crash leave a password or a token on a disk, and nobody but root look at us.

    The limit holds for files, and not for a core_pattern that is a program; for that the
    process must not be dumpable, which also makes its /proc/<pid>/environ and mem root's.
    Source: core(5), prctl(2).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):  # as a sandbox may say
        log.warning("core dumps stay possible reason=%s", os.strerror(ctypes.get_errno()))


def leave_process_group() -> None:
    """Be in a session of our own from now on, as `start_mount` could not have it."""
    if os.getpgrp() != os.getpid():
        os.setsid()


def tell_parent(message: str) -> bool:
    """Tell who started us that we serve, or why not; return whether somebody listens.

    Raises:
        NobodyWaitsError: Who started us did, and has ended: as by a SIGTERM.
    """
    number = os.environ.pop(READY_FD_VARIABLE, "")
    if not number.isdigit():
        return False
    try:
        with os.fdopen(int(number), "w", encoding="utf-8") as pipe:
            pipe.write(message + "\n")
    except BrokenPipeError as exc:
        raise NobodyWaitsError("the command that asked for the mount has ended") from exc
    return True
