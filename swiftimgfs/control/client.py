"""Asking mounts of this host for their reports. Blocks; every wait has an end."""

from __future__ import annotations

import os
import pwd
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swiftimgfs.control.mounts import our_mounts
from swiftimgfs.control.protocol import LONGEST_ANSWER, format_request, parse_answer
from swiftimgfs.control.report import BadAnswerError
from swiftimgfs.control.sockets import connect_to, meeting_place, peer_of, socket_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from socket import socket

    from swiftimgfs.control.mounts import MountEntry
    from swiftimgfs.control.report import Report

ANSWER_SECONDS: Final = 3.0
MOST_AT_ONCE: Final = 16
CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A mount, and what it said of itself.

    Attributes:
        report: None when it did not answer.
        problem: Why it did not.
        pid: Of who serves it, as the kernel knows it; 0 when nobody listens.
        uid: His, from the same source.
        is_dead: Its process is gone: every access fails with ENOTCONN.
    """

    entry: MountEntry
    report: Report | None = None
    problem: str = ""
    pid: int = 0
    uid: int = -1
    is_dead: bool = False

    @property
    def state_directory(self) -> Path | None:
        """Where it has its journal and spool, as it says; None of who is not to be believed.

        What is looked at there is looked at as who asks: who is root follows nobody's word.
        """
        if self.report is None or self.uid != os.geteuid():
            return None
        return Path(self.report.mount.state_directory)


def ask_all(state_directories: Sequence[Path], place: Path | None = None) -> list[Asked]:
    """Return the mounts of this host that we see, side by side asked for their reports.

    Args:
        state_directories: Where they may listen.
        place: Only the mount there.
    """
    entries = our_mounts()
    if place is not None:
        entries = [entry for entry in entries if entry.mountpoint == place][-1:]
    if not entries:
        return []
    with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
        return list(threads.map(lambda entry: ask(entry, state_directories), entries))


def ask(entry: MountEntry, state_directories: Iterable[Path]) -> Asked:
    """Return a mount with its report, from the first of the directories where it listens."""
    is_refused = False
    for directory in state_directories:
        path = socket_path(directory, entry.device)
        try:
            connection = connect_to(path, ANSWER_SECONDS)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except ConnectionRefusedError:
            # A dead mount's: this one's, or that of one that had the device before.
            is_refused = True
            continue
        except OSError as exc:
            return Asked(entry, problem=f"cannot be asked: {exc.strerror or exc}")
        with connection:
            return _answered(entry, connection)
    if is_refused:
        problem = f"its process is gone; swiftimgfs umount {entry.mountpoint} frees it"
        return Asked(entry, problem=problem, is_dead=True)
    return _unheard(entry)


def _answered(entry: MountEntry, connection: socket) -> Asked:
    pid, uid = peer_of(connection)
    try:
        connection.sendall(format_request())
        return Asked(entry, parse_answer(_received(connection)), pid=pid, uid=uid)
    except OSError as exc:
        return Asked(entry, problem=f"does not answer: {exc.strerror or exc}", pid=pid)
    except BadAnswerError as exc:
        return Asked(entry, problem=f"its answer cannot be understood: {exc}", pid=pid)


def _received(connection: socket) -> bytes:
    """Return all that comes until the other end hangs up, if that is soon and not too much."""
    deadline = time.monotonic() + ANSWER_SECONDS
    received = bytearray()
    while some := connection.recv(CHUNK):
        received += some
        if len(received) > LONGEST_ANSWER or time.monotonic() > deadline:
            raise BadAnswerError("too long")
    return bytes(received)


def _unheard(entry: MountEntry) -> Asked:
    """Return a mount that listens nowhere that we looked."""
    if entry.uid != os.geteuid():
        return Asked(entry, problem=f"belongs to {user_name(entry.uid)}")
    return Asked(entry, problem="listens where nobody looked: under another XDG_STATE_HOME?")


def state_directories(own: Path) -> list[Path]:
    """Return where mounts that we may ask may listen: root may ask everybody's."""
    users = [os.geteuid()]
    if os.geteuid() == 0:
        users += sorted({entry.uid for entry in our_mounts()} - {0})
    known = [place for uid in users if (place := meeting_place(uid)) is not None]
    return list(dict.fromkeys([own, *known]))


def user_name(uid: int) -> str:
    """Return what a user is called here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
