"""`swiftimgfs umount`: of what is idle, in use, dead, or being stored."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.control.mounts import mount_at
from tests.support.commands import PROGRAM, done_by, environ_with
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted
from tests.support.nobody import AS_NOBODY, needs_setpriv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@pytest.fixture
def served(swift: FaultySwift, tmp_path: Path) -> Iterator[Mounted]:
    options = "attr_timeout=0,list_timeout=0,timeout=10,retries=1"
    with mounted(tmp_path, swift.swift.environ(), options) as running:
        yield running


def start(mount: Mounted, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, "umount", *map(str, arguments)],
        env=environ_with({"XDG_STATE_HOME": str(mount.path.parent / "state")}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def umount(mount: Mounted, *arguments: object, status: int = 0) -> str:
    process = start(mount, *arguments)
    shown, _ = process.communicate(timeout=100)
    assert process.returncode == status, shown
    assert "Traceback" not in shown
    return shown


@contextlib.contextmanager
def opened(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process read an image for as long as it is wanted."""
    code = "import sys; f = open(sys.argv[1], 'rb'); print(len(f.read()), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"100\n"
        yield reader
        assert reader.stdin is not None
        reader.stdin.close()


@contextlib.contextmanager
def slow_upload(
    swift: FaultySwift, mount: Mounted, container: str, fault: Fault
) -> Iterator[None]:
    """Have another process wait in close(2) for an image that Swift does not acknowledge."""
    image = mount.path / container / "slow"
    swift.control.inject(replace(fault, method="PUT", target=f"{container}/slow"))
    with subprocess.Popen(["sh", "-c", f"echo bytes > '{image}'"], stderr=-3) as writer:
        deadline = time.monotonic() + 20
        while not any(
            r.method == "PUT" and container in r.path for r in swift.control.journal()
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)  # noqa: TID251
        yield
        swift.control.clear()
        writer.wait(30)


def test_what_nobody_uses_is_unmounted_and_has_ended(served: Mounted) -> None:
    assert umount(served, served.path) == ""
    assert served.process.wait(0.1) == 0
    assert mount_at(served.path) is None
    assert "is no mount of swiftimgfs" in umount(served, served.path, status=1)


def test_what_is_in_use_stays_or_goes_lazily(served, swift, container) -> None:
    swift.connect().put_object(container, "image", b"x" * 100)
    with opened(served.path / container / "image"):
        shown = umount(served, served.path, status=1)
        assert "is in use" in shown
        assert f"{container}/image" in shown
        assert mount_at(served.path) is not None

        assert umount(served, "--lazy", served.path) == ""
        assert mount_at(served.path) is None
        assert served.process.poll() is None
    assert served.process.wait(30) == 0


def test_what_is_dead_is_freed_and_called_dead(served: Mounted) -> None:
    served.process.kill()
    served.process.wait()

    assert "was dead" in umount(served, served.path)
    assert mount_at(served.path) is None


def test_a_dead_one_without_its_socket_too(served: Mounted) -> None:
    served.process.kill()
    served.process.wait()
    for path in (served.path.parent / "state" / "swiftimgfs" / "control").iterdir():
        path.unlink()

    assert "was dead" in umount(served, served.path)


def test_what_is_being_stored_is_waited_for_and_shown(served, swift, container) -> None:
    with slow_upload(swift, served, container, Fault(delay=8)):
        leaving = start(served, served.path)
        assert leaving.stdout is not None
        line = leaving.stdout.readline()
        assert f"storing {container}/slow" in line, line + leaving.stdout.read()
        assert leaving.poll() is None
        rest, _ = leaving.communicate(timeout=60)
    assert leaving.returncode == 0, rest
    assert swift.connect().get_object(container, "slow")[1] == b"bytes\n"
    assert mount_at(served.path) is None
    assert served.process.poll() == 0


def test_force_leaves_and_says_what_is_kept(served, swift, container) -> None:
    with slow_upload(swift, served, container, Fault(hold="before")):
        shown = umount(served, "--force", served.path, status=1)

        assert f"not in Swift, kept here: {container}/slow" in shown
        assert served.process.poll() is not None
        assert mount_at(served.path) is None


def test_what_is_kept_is_named_wherever_the_spool_is(swift, container, tmp_path) -> None:
    options = f"spool_dir={tmp_path}/spool,timeout=10,retries=1"
    with (
        mounted(tmp_path, swift.swift.environ(), options) as served,
        slow_upload(swift, served, container, Fault(hold="before")),
    ):
        shown = umount(served, "--force", served.path, status=1)

    assert f"not in Swift, kept here: {container}/slow" in shown


def test_what_failed_before_is_told_of_and_is_no_failure_of_the_unmount(
    served, swift, container
) -> None:
    swift.control.inject(
        Fault(method="PUT", target=container, status=413, body="Upload exceeds quota.", count=2)
    )
    for name in ("one", "two"):
        with pytest.raises(OSError, match="quota"):
            (served.path / container / name).write_bytes(b"bytes")

    assert umount(served, served.path) == (
        "2 uploads that failed before are not in Swift, and kept here: swiftimgfs retry\n"
    )
    assert mount_at(served.path) is None


def test_what_fails_once_more_is_named_again(served, swift, container) -> None:
    swift.control.inject(
        Fault(method="PUT", target=container, status=413, body="Upload exceeds quota.")
    )
    with pytest.raises(OSError, match="quota"):
        (served.path / container / "slow").write_bytes(b"bytes")

    with slow_upload(swift, served, container, Fault(hold="before")):
        shown = umount(served, "--force", served.path, status=1)

    assert f"not in Swift, kept here: {container}/slow" in shown
    assert "1 upload that failed before is not in Swift, and kept here" in shown


@contextlib.contextmanager
def half_written(path: Path) -> Iterator[None]:
    """Have another process write an image, and neither close nor sync it."""
    code = (
        "import sys; f = open(sys.argv[1], 'wb', 0); print(f.write(b'x'), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"1\n"
        yield
        writer.kill()


def test_force_names_what_is_still_being_written(served, swift, container) -> None:
    directory = served.path / container
    with half_written(directory / "half"), half_written(directory / "removed"):
        (directory / "removed").unlink()

        shown = umount(served, "--force", served.path, status=1)

    assert shown.splitlines() == [
        f"not in Swift, given up while it was being written: {container}/half"
    ]
    assert mount_at(served.path) is None
    assert swift.connect().get_container(container)[1] == []


@needs_setpriv
def test_another_user_is_told_whose_it_is(served: Mounted) -> None:
    environ = {"HOME": "/nonexistent"}

    done = done_by("umount", served.path, environ=environ, status=1, through=AS_NOBODY)

    assert done.stderr == (
        f"swiftimgfs: {served.path} is a mount of root, and not for you to unmount\n"
    )
    assert mount_at(served.path) is not None
