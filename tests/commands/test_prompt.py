"""A password that is asked for at a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import at_a_terminal, done_by
from tests.support.mounts import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift


def source_of(swift: FaultySwift) -> str:
    address = swift.swift.auth_url.removeprefix("http://")
    return f"swift+http://{swift.swift.user.replace(':', '%3A')}:@{address}"


def test_the_password_of_a_location_is_asked_for_and_not_shown(swift: FaultySwift) -> None:
    status, screen = at_a_terminal("check", source_of(swift), typed=swift.swift.key)

    assert status == 0, screen
    assert f"Password of {swift.swift.user} at http://" in screen
    assert "may list containers" in screen


@pytest.mark.mount
def test_a_mount_in_the_background_gets_the_password(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    mountpoint, log = tmp_path / "mnt", tmp_path / "log"
    mountpoint.mkdir()
    arguments = ["mount", source_of(swift), mountpoint, "-o", f"log_file={log}"]
    try:
        status, screen = at_a_terminal(*arguments, typed=swift.swift.key)

        assert status == 0, screen
        assert container in os.listdir(mountpoint)
    finally:
        run("fusermount3", "-u", mountpoint)


@pytest.mark.parametrize(
    ("typed", "status", "word"), [("wrong", 1, "401"), ("", 2, "no password")]
)
def test_a_wrong_or_no_password_is_one_line(
    swift: FaultySwift, typed: str, status: int, word: str
) -> None:
    got, screen = at_a_terminal("check", source_of(swift), typed=typed)

    assert got == status
    assert word in screen.splitlines()[-1]
    assert "Traceback" not in screen


def test_without_a_terminal_nothing_is_asked(swift: FaultySwift) -> None:
    done = done_by("check", source_of(swift), status=2)

    assert "SWIFTIMGFS_KEY" in done.stderr
