"""Mounts by somebody who is not root: through fusermount3, and why it would not."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.mountpoint import DEVICE, why_not_mounted
from tests.support.commands import done_by
from tests.support.nobody import AS_NOBODY, NOBODY, needs_setpriv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

ALLOWS_OTHER = any(
    line.strip() == "user_allow_other"
    for line in Path("/etc/fuse.conf").read_text().splitlines()
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of root's, where others come to: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="swiftimgfs-test-") as directory:
        os.chmod(directory, 0o755)
        made = Path(directory) / "mnt"
        made.mkdir()
        yield made


@pytest.fixture
def everybodys_device() -> Iterator[None]:
    """Let everybody open /dev/fuse, as udev does: where there is none, it is root's alone."""
    mode = stat.S_IMODE(DEVICE.stat().st_mode)
    DEVICE.chmod(0o666)
    yield
    DEVICE.chmod(mode)


@pytest.fixture
def mount(swift: FaultySwift, place: Path, everybodys_device: None) -> Callable[..., str]:
    """Mount as nobody, who can read this checkout but is otherwise like anybody."""
    home = place.parent / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)

    def run(*options: str, status: int) -> str:
        command = ("mount", "env:", place, *options)
        environ = swift.swift.environ() | {"XDG_STATE_HOME": str(home)}
        return done_by(*command, environ=environ, status=status, through=AS_NOBODY).stderr

    return run


@needs_setpriv
@pytest.mark.parametrize("how", ["background", "foreground"])
def test_a_mount_point_of_somebody_else_is_told(mount, place, how) -> None:
    said = mount(*(["--foreground"] if how == "foreground" else []), status=1)

    assert said == (
        f"swiftimgfs: cannot mount at {place}: user has no write access to mountpoint {place}:"
        " give a directory that this user owns\n"
    )


@needs_setpriv
@pytest.mark.skipif(ALLOWS_OTHER, reason="user_allow_other is in /etc/fuse.conf")
def test_allow_other_without_user_allow_other_is_told(mount, place) -> None:
    os.chown(place, NOBODY, NOBODY)

    said = mount("-o", "allow_other", status=1)

    assert "user_allow_other" in said
    assert "leave allow_other out" in said
    assert len(said.splitlines()) == 1


@needs_setpriv
def test_a_mount_point_of_one_s_own_will_do(mount, place) -> None:
    os.chown(place, NOBODY, NOBODY)

    assert mount(status=0) == ""

    subprocess.run(["umount", str(place)], check=True)


def test_where_nothing_was_said_the_usual_reasons_are() -> None:
    assert why_not_mounted("", "it failed") == (
        "it failed (may this user open /dev/fuse, and run fusermount3?)"
    )
