"""`swiftimgfs status`: what the journal says, whoever is at work on it, and what is damaged."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from swiftimgfs.cli import main
from swiftimgfs.commands.source import format_age
from swiftimgfs.commands.status import _exit_status
from swiftimgfs.commands.status_view import Seen
from swiftimgfs.commands.uploads import upload_table
from swiftimgfs.control.client import Asked
from swiftimgfs.control.mounts import MountEntry, our_mounts
from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.state_directory import StateDirectory, write_waiting
from tests.support.journals import compute, die, session_in

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "swiftimgfs"


@pytest.fixture
def session(state: Path):
    return session_in(state)


@pytest.fixture
def journal(session):
    return Journal(session, compute)


@pytest.fixture
def status(capsys):
    def run(expected: int = 0) -> list[dict[str, object]]:
        assert main(["status", "--json"]) == expected
        rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)["uploads"]
        return rows

    return run


def test_nothing(state, capsys) -> None:
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("nothing waits for Swift\n")
    assert ("nothing is mounted by swiftimgfs\n" in said) == (not our_mounts())
    assert not state.exists()  # who only looks makes nothing


async def test_states(session, journal, status) -> None:
    uploading = await journal.begin("c", "a", None)
    await uploading.place("s", "p/")
    await uploading.uploading("s", "p/1")
    uploading.sent(100)
    committing = await journal.begin("c", "b", None)
    await committing.committing("etag", [], [])
    await journal.removing("c", "d", [("s", "x")])

    rows = {row["image"]: row for row in status()}

    assert {name: row["state"] for name, row in rows.items()} == {
        "c/a": "uploading",
        "c/b": "committing",
        "c/d": "deleting",
    }
    assert rows["c/a"]["sent"] == 100
    assert rows["c/a"]["mountpoint"] == "/mnt"
    die(session)
    assert {row["state"] for row in status()} == {"left behind"}


async def test_what_was_given_up_is_cleaning_up_and_not_uploading(
    session, journal, status, capsys
) -> None:
    entry = await journal.begin("c", "a", None)
    await entry.given_up()

    (row,) = status()
    assert row["state"] == "cleaning up"
    assert "what Swift has of it is deleted" in str(row["reason"])
    assert main(["retry"]) == 0
    assert "1 being cleaned up by a mount" in capsys.readouterr().out
    die(session)
    assert [row["state"] for row in status()] == ["left behind"]
    assert main(["retry"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("nothing has failed; 1 left behind by a mount that died: the next")


async def test_who_recovers_says_what_he_waits_for(state, session, journal, status) -> None:
    entry = await journal.begin("c", "a", None)
    die(session)
    (taken,) = StateDirectory(state).take_over(session.owner.account)

    write_waiting(taken.path / entry.token, "waits until 12:00:00 for a test")

    (row,) = status()
    assert (row["state"], row["reason"]) == ("recovering", "waits until 12:00:00 for a test")
    die(taken)
    assert status()[0]["reason"] == ""


async def test_what_another_mount_takes_over_is_recovering_until_that_dies_too(
    state, session, journal, status
) -> None:
    await journal.begin("c", "a", None)
    await journal.removing("c", "d", [("s", "x")])
    interrupted = await journal.begin("c", "i", None)
    await interrupted.keep({"size": 5}, None, "stopped", is_told=False)
    die(session)

    (taken,) = StateDirectory(state).take_over(session.owner.account)

    rows = {row["image"]: row["state"] for row in status()}
    assert rows == {"c/a": "recovering", "c/d": "deleting", "c/i": "recovering"}
    die(taken)
    assert {row["image"]: row["state"] for row in status()} == {
        "c/a": "left behind",
        "c/d": "left behind",
        "c/i": "interrupted",
    }
    (again,) = StateDirectory(state).take_over(session.owner.account)
    assert {row["state"] for row in status()} == {"recovering", "deleting"}
    again.close()
    assert "recovering" not in {row["state"] for row in status()}


async def test_failures_and_damage_are_told_by_the_exit_status(
    session, journal, status, capsys
) -> None:
    failed = await journal.begin("c", "failed", "etag")
    await failed.keep({"size": 5}, None, "no room\x1b[31m", "ENOSPC")
    assert [row["state"] for row in status(1)] == ["failed"]
    damaged = await journal.begin("c", "damaged", None)
    (session.path / damaged.token / "journal").write_bytes(b"\0")

    assert sorted(str(row["state"]) for row in status(1)) == ["damaged", "failed"]
    assert main(["status"]) == 1
    shown = capsys.readouterr().out
    assert "c/failed" in shown
    assert "ENOSPC: no room\\x1b[31m" in shown
    assert damaged.token in shown


@pytest.mark.parametrize("width", [60, 80, 250])
async def test_a_reason_is_read_by_the_word_however_narrow_the_terminal(
    session, journal, state, width
) -> None:
    reason = "507 Insufficient Storage: no room on the disks of the cluster"
    failed = await journal.begin("c", "failed", "etag")
    await failed.keep({"size": 5}, None, f"PUT c/failed: {reason}", "ENOSPC")
    out = io.StringIO()

    uploads = list(StateDirectory(state).all_uploads())
    Console(file=out, width=width).print(upload_table(uploads))

    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    row = lines[1:]
    assert (len(row) == 1) == (width == 250)
    assert any(line.endswith(failed.token) for line in map(str.rstrip, row)) or width == 250
    words = " ".join(" ".join(row).split())
    assert f"{failed.token} ENOSPC: PUT: {reason}" in words  # the image has a column


def test_ages() -> None:
    ages = [format_age(seconds) for seconds in (-5, 0, 59.9, 61, 3600, 90_061, 864_000)]

    assert ages == ["0s", "0s", "59s", "1m1s", "1h0m", "1d1h", "10d0h"]


def test_a_mount_that_was_named_has_to_answer(tmp_path) -> None:
    entry = MountEntry("0:99", tmp_path, "env:", os.geteuid(), is_read_only=False)
    seen = Seen([Asked(entry, problem="listens where nobody looked")], [], {})

    assert [_exit_status(seen, is_named=named) for named in (False, True)] == [0, 1]
