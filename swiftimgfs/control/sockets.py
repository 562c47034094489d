"""Where the control sockets of mounts are: in one directory of each user, by the mount's device.

That is `control` in his state directory, wherever a mount of his has its spool (`spool_dir`):
who asks knows nothing of a mount's options. A socket is for its owner and root: its directory
is 0700, it is 0600, and who connects is asked of the kernel too. The kernel gives no two
mounts of a host the same device, so that a socket of that name which is there already is a
dead mount's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.private_directory import check_private
from swiftimgfs.writing.state_directory import PRIVATE, SYSTEM_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIRECTORY: Final = "control"
LONGEST_PATH: Final = 107  # of sockaddr_un, without its zero
_CREDENTIALS: Final = struct.Struct("3i")  # ucred: pid, uid, gid


def meeting_place(uid: int) -> Path | None:
    """Return the state directory in which a user's mounts listen; None when he has no home.

    It is that of the passwd database: of a HOME that was set for a mount nobody else knows.
    """
    if uid == os.geteuid() and (base := os.environ.get("XDG_STATE_HOME")):
        return Path(base) / "swiftimgfs"
    if uid == 0:
        return SYSTEM_DIRECTORY
    try:
        home = Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return None
    return home / ".local" / "state" / "swiftimgfs"


def socket_path(state_directory: Path, device: str) -> Path:
    """Return where the mount with this device, `major:minor`, listens."""
    return state_directory / DIRECTORY / device.replace(":", "-")


def listen_at_first(paths: Sequence[Path]) -> tuple[socket.socket, Path]:
    """Return a socket that listens at the first of some places where one can, and that place.

    Raises:
        ConfigError: The directory of the last one is not ours alone.
        OSError: It cannot be made there.
    """
    for path in paths[:-1]:
        with contextlib.suppress(OSError, errors.ConfigError):
            return listen_at(path), path
    return listen_at(paths[-1]), paths[-1]


def listen_at(path: Path) -> socket.socket:
    """Return a socket that listens there, for its owner alone.

    Raises:
        ConfigError: The directory is not ours alone.
        OSError: It cannot be made.
    """
    for directory in (path.parent.parent, path.parent):
        directory.mkdir(PRIVATE, parents=True, exist_ok=True)
    check_private(path.parent, "spool_dir")
    listener = _new_socket()
    try:
        os.fchmod(listener.fileno(), 0o600)  # Linux makes the file with it
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with _short(path) as name:
            listener.bind(name)
        path.chmod(0o600)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def connect_to(path: Path, seconds: float) -> socket.socket:
    """Return a connection to the mount that listens there.

    Raises:
        OSError: Nobody does: FileNotFoundError, ConnectionRefusedError; or not in time.
    """
    connection = _new_socket()
    try:
        connection.settimeout(seconds)
        with _short(path) as name:
            connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the pid and the uid of who is at the other end, as the kernel knows them."""
    text = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(text)
    return pid, uid


def may_ask(uid: int) -> bool:
    """Return whether a user may look at this process's mount."""
    return uid in {0, os.geteuid()}


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a path that an address can hold: a long one from within its directory."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    if len(os.fsencode(path.name)) > LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
    with contextlib.chdir(path.parent):
        yield path.name
