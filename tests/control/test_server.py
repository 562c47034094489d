"""The control socket: who may ask, what garbage and slow clients do to it, what is left."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swiftimgfs import errors
from swiftimgfs.control import server
from swiftimgfs.control.client import Asked, ask
from swiftimgfs.control.mounts import MountEntry
from swiftimgfs.control.protocol import format_request, parse_answer
from swiftimgfs.control.sockets import (
    connect_to,
    listen_at,
    listen_at_first,
    meeting_place,
    socket_path,
)
from tests.support.control import control_served
from tests.support.reports import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
ENTRY = MountEntry("0:53", Path("/mnt/images"), "env:", os.geteuid(), is_read_only=False)


@pytest.fixture
def path(tmp_path) -> Iterator[Path]:
    place = socket_path(tmp_path / ("long" * 30), ENTRY.device)  # longer than an address
    with control_served(place, lambda: REPORT):
        yield place


def asked(path: Path) -> Asked:
    return ask(ENTRY, [path.parent.parent])


def talk(path: Path, *pieces: bytes) -> bytes:
    with connect_to(path, 5) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def test_a_mount_answers_its_owner(path: Path) -> None:
    answer = asked(path)

    assert answer.report == REPORT
    assert answer.pid == os.getpid()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("garbage", [b"", b"\n", b"\xff\0\n", b"{}\n", b"x" * 100_000])
def test_garbage_is_answered_or_hung_up_on_and_does_no_harm(path, garbage) -> None:
    try:
        answer = talk(path, garbage)
    except OSError:  # it had hung up before all was sent
        answer = b""

    assert answer == b"" or answer.startswith(b'{"version": 1, "error"')
    assert asked(path).report == REPORT


def test_a_socket_that_a_dead_mount_left_elsewhere_is_passed_over(path, tmp_path) -> None:
    stale = socket_path(tmp_path / "older", ENTRY.device)
    listen_at(stale).close()
    directories = [stale.parent.parent, path.parent.parent]

    assert ask(ENTRY, directories).report == REPORT
    assert ask(ENTRY, directories[:1]).is_dead


def test_where_one_cannot_listen_the_next_place_is_taken(tmp_path) -> None:
    (tmp_path / "file").touch()
    places = [socket_path(tmp_path / name, ENTRY.device) for name in ("file", "other")]

    listener, taken = listen_at_first(places)

    listener.close()
    assert taken == places[1]


def test_mounts_meet_in_the_home_of_passwd_whatever_home_says(monkeypatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/elsewhere")

    assert meeting_place(0) == Path("/var/lib/swiftimgfs")
    home = Path(pwd.getpwuid(NOBODY).pw_dir)
    assert meeting_place(NOBODY) == home / ".local" / "state" / "swiftimgfs"


def test_only_our_own_mounts_are_believed_where_their_uploads_are() -> None:
    told = Path(REPORT.mount.state_directory)

    assert Asked(ENTRY, REPORT, pid=1, uid=os.geteuid()).state_directory == told
    assert Asked(ENTRY, REPORT, pid=1, uid=os.geteuid() + 1).state_directory is None


def test_a_request_may_come_in_pieces(path: Path) -> None:
    request = format_request()

    assert parse_answer(talk(path, request[:5], request[5:])) == REPORT


def test_who_is_slow_keeps_others_waiting_for_a_moment_only(path, monkeypatch) -> None:
    monkeypatch.setattr(server, "CONVERSATION_SECONDS", 0.3)
    idle = [connect_to(path, 5) for _ in range(server.MOST_CONVERSATIONS)]
    deadline = time.monotonic() + 5
    while asked(path).report is None:  # all are taken, until they are hung up on
        assert time.monotonic() < deadline
    for connection in idle:
        assert connection.recv(1) == b""
        connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_else_is_refused_by_the_kernel_and_by_us() -> None:
    code = (
        "import os, socket, sys\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "connection = socket.socket(socket.AF_UNIX)\n"
        "connection.connect(sys.argv[1])\n"
        "print(connection.makefile('rb').read())\n"
    )

    def as_nobody(path: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-c", code, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    directory = Path("/tmp") / f"swiftimgfs-test-{os.getpid()}"
    directory.mkdir(0o755)
    try:
        path = socket_path(directory, ENTRY.device)
        with control_served(path, lambda: REPORT):
            assert "PermissionError" in as_nobody(path).stderr
            path.parent.chmod(0o755)
            assert "PermissionError" in as_nobody(path).stderr
            path.chmod(0o666)  # opened by mistake: who connects is looked at all the same
            assert as_nobody(path).stdout == "b''\n"
            assert asked(path).report == REPORT
    finally:
        (directory / "control").rmdir()
        directory.rmdir()


def test_a_report_that_fails_ends_one_conversation_alone(tmp_path) -> None:
    reports = iter([ZeroDivisionError(), REPORT])

    def report():
        if isinstance(value := next(reports), Exception):
            raise value
        return value

    place = socket_path(tmp_path, ENTRY.device)
    with control_served(place, report):
        assert asked(place).problem
        assert asked(place).report == REPORT


def test_a_dead_socket_is_told_and_replaced(tmp_path: Path) -> None:
    place = socket_path(tmp_path, ENTRY.device)
    listen_at(place).close()

    assert asked(place).is_dead
    with control_served(place, lambda: REPORT):
        assert asked(place).report == REPORT
    assert not place.exists()
    assert "listens where nobody looked" in asked(place).problem


def test_an_answer_of_somebody_hostile_is_a_problem_and_no_more(tmp_path: Path) -> None:
    place = socket_path(tmp_path, ENTRY.device)
    with listen_at(place) as listener:

        def lie() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b'{"version": 1, "error": "\\u001b[2J"}\n')

        liar = threading.Thread(target=lie)
        liar.start()
        answer = asked(place)
        liar.join()

    assert answer.report is None
    assert "cannot be understood" in answer.problem


def test_a_directory_that_others_can_write_has_no_socket(tmp_path, caplog) -> None:
    place = socket_path(tmp_path, ENTRY.device)
    place.parent.mkdir()
    place.parent.chmod(0o777)

    with pytest.raises(errors.ConfigError):
        listen_at(place)
    with control_served(place, lambda: REPORT):
        assert not place.exists()
    assert "no control socket" in caplog.text
