"""Mounting and unmounting by the command line, and every way in which it cannot be done."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.mount_process import start_mount
from tests.support.attributes import FACTS, attribute
from tests.support.commands import PROGRAM, done_by, environ_with
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

UNREACHABLE = "http://127.0.0.1:9/auth/v1.0"


def refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """Insist on an exit status and on one clear line."""
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mnt"
    path.mkdir()
    return path


@pytest.mark.parametrize("is_foreground", [True, False], ids=["foreground", "background"])
class TestRefusals:
    """What cannot be mounted: nothing is left mounted, and one line says why."""

    def mount(self, is_foreground: bool, *arguments: object, **variables: str):
        flags = ["--foreground"] if is_foreground else ["-o", "log_file=/dev/null"]
        return done_by("mount", *arguments, *flags, environ=variables, status=None)

    def test_wrong_password(
        self, swift: FaultySwift, mountpoint: Path, is_foreground: bool
    ) -> None:
        done = self.mount(
            is_foreground,
            "env:",
            mountpoint,
            **{**swift.swift.environ(), "ST_KEY": "wrong-secret"},
        )

        refused(done, 1, "401")
        assert "wrong-secret" not in done.stderr
        assert not os.path.ismount(mountpoint)

    def test_nothing_answers(self, mountpoint: Path, is_foreground: bool) -> None:
        variables = {"ST_AUTH": UNREACHABLE, "ST_USER": "a:b", "ST_KEY": "c"}

        done = self.mount(is_foreground, "env:", mountpoint, "-o", "retries=1", **variables)

        refused(
            done, 1, f"authentication of a:b: cannot reach {UNREACHABLE}: connection refused"
        )

    def test_unknown_host(self, mountpoint: Path, is_foreground: bool) -> None:
        variables = {"ST_AUTH": "http://no.such.host.invalid/", "ST_USER": "a:b", "ST_KEY": "c"}

        done = self.mount(is_foreground, "env:", mountpoint, "-o", "retries=1", **variables)

        refused(done, 1, "cannot reach http://no.such.host.invalid/: no such host")

    def test_missing_container(
        self, swift: FaultySwift, mountpoint: Path, is_foreground: bool
    ) -> None:
        done = self.mount(
            is_foreground, "env:no-such-container", mountpoint, **swift.swift.environ()
        )

        refused(done, 1, "no container 'no-such-container'")
        assert not os.path.ismount(mountpoint)

    def test_no_credentials(self, mountpoint: Path, is_foreground: bool) -> None:
        refused(self.mount(is_foreground, "env:", mountpoint), 2, "ST_AUTH", "OS_AUTH_URL")

    def test_half_keystone_credentials(self, mountpoint: Path, is_foreground: bool) -> None:
        done = self.mount(
            is_foreground, "env:", mountpoint, OS_AUTH_URL="http://127.0.0.1:9/v3"
        )

        refused(done, 2, "password")

    def test_no_http_address(self, mountpoint: Path, is_foreground: bool) -> None:
        variables = {"ST_AUTH": "ftp://host/", "ST_USER": "a:b", "ST_KEY": "c"}

        refused(
            self.mount(is_foreground, "env:", mountpoint, **variables),
            2,
            "ST_AUTH is not a URL",
        )

    def test_an_image_as_the_root(
        self, swift: FaultySwift, mountpoint: Path, container: str, is_foreground: bool
    ) -> None:
        with contextlib.closing(swift.connect()) as client:
            client.put_object(container, "image", b"x")

        done = self.mount(
            is_foreground, f"env:{container}/image", mountpoint, **swift.swift.environ()
        )

        refused(done, 1, "no directory 'image'")

    def test_half_credentials(self, mountpoint: Path, is_foreground: bool) -> None:
        done = self.mount(is_foreground, "env:", mountpoint, ST_AUTH=UNREACHABLE)

        refused(done, 2, "ST_USER and ST_KEY")

    def test_unknown_cloud(self, mountpoint: Path, is_foreground: bool) -> None:
        refused(self.mount(is_foreground, "nocloud", mountpoint), 2, "nocloud", "clouds.yaml")

    @pytest.mark.parametrize(
        ("option", "word"),
        [
            ("nonsense=1", "nonsense"),
            ("segment_size=1K", "at least 4K"),
            ("segment_size=big", "not a size"),
            ("segment_size", "needs a value"),
            ("timeout=0", "more than 0"),
            ("umask=99", "octal"),
            ("ro=perhaps", "boolean value"),
        ],
    )
    def test_bad_option(
        self, mountpoint: Path, is_foreground: bool, option: str, word: str
    ) -> None:
        refused(self.mount(is_foreground, "env:", mountpoint, "-o", option), 2, word)

    def test_mount_point_missing(
        self, swift: FaultySwift, tmp_path: Path, is_foreground: bool
    ) -> None:
        done = self.mount(is_foreground, "env:", tmp_path / "missing", **swift.swift.environ())

        refused(done, 1, "does not exist")

    def test_mount_point_not_empty(
        self, swift: FaultySwift, mountpoint: Path, is_foreground: bool
    ) -> None:
        (mountpoint / "file").touch()

        refused(
            self.mount(is_foreground, "env:", mountpoint, **swift.swift.environ()),
            1,
            "not empty",
        )

    def test_mount_point_is_a_file(
        self, swift: FaultySwift, tmp_path: Path, is_foreground: bool
    ) -> None:
        file = tmp_path / "file"
        file.touch()

        done = self.mount(is_foreground, "env:", file, **swift.swift.environ())

        refused(done, 1, "not a directory")

    def test_mount_point_in_use(
        self, swift: FaultySwift, mount: Mounted, is_foreground: bool
    ) -> None:
        done = self.mount(is_foreground, "env:", mount.path, **swift.swift.environ())

        refused(done, 1, "in use")

    def test_mount_point_of_a_dead_mount(
        self, swift: FaultySwift, tmp_path: Path, is_foreground: bool
    ) -> None:
        with mounted(tmp_path, swift.swift.environ()) as dead:
            dead.process.kill()
            dead.process.wait()

            done = self.mount(is_foreground, "env:", dead.path, **swift.swift.environ())

        refused(done, 1, "dead mount", "swiftimgfs umount")


def test_the_command_returns_when_the_mount_serves_and_the_mount_stays(
    swift: FaultySwift, mountpoint: Path, container: str
) -> None:
    log = mountpoint.parent / "log"
    arguments = ("mount", "env:", mountpoint, "-o", f"log_file={log}")
    done = done_by(*arguments, environ=swift.swift.environ(), status=None)
    try:
        assert done.returncode == 0, done.stderr
        assert container in os.listdir(mountpoint)
    finally:
        subprocess.run(["fusermount3", "-u", str(mountpoint)], check=True)
    assert not os.path.ismount(mountpoint)
    assert "mounted" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unmounts_cleanly(
    swift: FaultySwift, mountpoint: Path, number: signal.Signals
) -> None:
    started = start_mount(
        ["env:", str(mountpoint), "-o", f"log_file={mountpoint.parent / 'log'}"],
        {**os.environ, **swift.swift.environ()},
        is_detached=True,
    )
    assert started.is_serving, started.message

    started.process.send_signal(number)
    status = started.process.wait(20)

    assert status == 0
    assert not os.path.ismount(mountpoint)


@pytest.mark.parametrize("status", [None, 403], ids=["would serve", "refused"])
def test_a_command_that_is_ended_while_it_mounts_leaves_no_mount(
    swift: FaultySwift, mountpoint: Path, container: str, status: int | None
) -> None:
    log = mountpoint.parent / "log"
    arguments = ["mount", f"env:{container}", str(mountpoint), "-o", f"log_file={log}"]
    swift.control.inject(Fault(method="HEAD", target=f"/{container}$", delay=2, status=status))
    environ = environ_with(swift.swift.environ())
    with subprocess.Popen([*PROGRAM, *arguments], env=environ) as command:
        wait_for(
            lambda: any(
                r.method == "HEAD" and container in r.path for r in swift.control.journal()
            )
        )
        command.terminate()

    told = "reason=HEAD" if status else "reason=the command that asked for the mount has ended"
    wait_for(lambda: told in log.read_text())
    assert not os.path.ismount(mountpoint)
    assert "Traceback" not in log.read_text()
    assert "defect" not in log.read_text()


def test_a_signal_in_the_middle_of_a_copy_stores_no_part_of_it(
    swift: FaultySwift, tmp_path: Path, container: str
) -> None:
    with mounted(tmp_path, swift.swift.environ(), "segment_size=64K,timeout=5") as running:
        file = (running.path / container / "x").open("wb", buffering=0)
        file.write(b"x" * 300_000)
        running.process.terminate()
        running.process.wait(30)
        with pytest.raises(OSError):
            file.close()

    client = swift.connect()
    names = [row["name"] for row in client.get_container(container)[1]]
    segments = client.get_container(f"{container}_segments")[1]
    client.close()
    assert names == segments == []


def test_a_read_only_mount_refuses_every_change(
    swift: FaultySwift, tmp_path: Path, container: str
) -> None:
    client = swift.connect()
    client.put_object(container, "x", b"x")
    client.close()

    with mounted(tmp_path, swift.swift.environ(), "ro") as running:
        directory = running.path / container
        assert (directory / "x").read_bytes() == b"x"
        for change in (
            (directory / "x").unlink,
            lambda: (directory / "y").write_bytes(b"y"),
            lambda: (directory / "x").rename(directory / "y"),
            (directory / "d").mkdir,
            (running.path / "newcontainer").mkdir,
            lambda: os.utime(directory / "x"),
        ):
            with pytest.raises(OSError, match="Read-only file system"):
                change()


def test_a_mount_can_be_rooted_in_a_container_and_a_prefix(
    swift: FaultySwift, tmp_path: Path, container: str
) -> None:
    client = swift.connect()
    client.put_object(container, "a/b/x", b"x")
    client.close()

    source = f"env:{container}/a"
    with mounted(tmp_path, swift.swift.environ(), source=source) as running:
        assert (running.path / "b" / "x").read_bytes() == b"x"
        (running.path / "y").write_bytes(b"y")
        assert sorted(os.listdir(running.path)) == ["b", "y"]


def test_no_secret_is_visible(swift: FaultySwift, tmp_path: Path, container: str) -> None:
    key = swift.swift.key
    with contextlib.closing(swift.connect()) as connection:
        token = connection.get_auth()[1]
    with mounted(tmp_path, swift.swift.environ()) as running:
        (running.path / container / "x").write_bytes(b"x" * 100)
        with open(f"/proc/{running.process.pid}/cmdline", "rb") as file:
            seen = file.read().decode()
        with open("/proc/mounts") as file:
            seen += "".join(line for line in file if str(running.path) in line)
        for path in (running.path / container, running.path / container / "x"):
            names = [*os.listxattr(path), *(f"user.swift.{name}" for name in FACTS)]
            seen += "".join(attribute(path, name) or "" for name in names)
        seen += running.log.read_text()

    assert "committed" in seen
    assert f"={key}" not in seen
    assert f":{key}@" not in seen
    assert token not in seen


def test_without_fusermount3_the_package_is_named(mountpoint: Path) -> None:
    environ = {"PATH": "/nonexistent"}

    done = done_by("mount", "env:", mountpoint, environ=environ, status=None)

    refused(done, 1, "fusermount3", "fuse3")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a device")
def test_without_dev_fuse_the_module_is_named(mountpoint: Path) -> None:
    hide = "mkdir $0/dev && touch $0/dev/null && mount --bind /dev/null $0/dev/null"
    script = f'{hide} && mount --rbind $0/dev /dev && exec "$@"'
    through = ["unshare", "--mount", "sh", "-c", script, str(mountpoint.parent)]

    done = done_by("mount", "env:", mountpoint, through=through, status=None)

    refused(done, 1, "/dev/fuse is not there", "modprobe fuse")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount over a device")
@pytest.mark.parametrize(
    ("numbers", "flag", "words"),
    [
        # What a container's or a service's list of devices says, too.
        ("10 229", "nodev", "/dev/fuse may not be opened (Permission denied): allow it"),
        # The node is there, and in the kernel nobody: as without the module.
        ("10 254", "dev", "/dev/fuse does not work (No such device): load the module"),
    ],
)
def test_a_dev_fuse_that_cannot_be_opened_is_told_from_one_that_is_missing(
    mountpoint: Path, numbers: str, flag: str, words: str
) -> None:
    node = f"mkdir $0/node && mount -t tmpfs -o {flag} none $0/node && cd $0/node"
    replace = f"mknod fuse c {numbers} && mount --bind fuse /dev/fuse && cd /"
    script = f'{node} && {replace} && exec "$@"'
    through = ["unshare", "--mount", "sh", "-c", script, str(mountpoint.parent)]

    done = done_by("mount", "env:", mountpoint, through=through, status=None)

    refused(done, 1, words)
