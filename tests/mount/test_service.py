"""A mount as a service: what its manager hears, its credentials, and a start after a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from swiftimgfs import errors
from swiftimgfs.credentials import take_up_credentials
from swiftimgfs.mountpoint import check_mountpoint, free_dead_mount
from swiftimgfs.notify import ServiceManager
from tests.support.child import clean_environ
from tests.support.commands import PROGRAM
from tests.support.fault_control import Fault
from tests.support.service_manager import Listener, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


class Service:
    """`swiftimgfs mount --foreground` as a unit starts it, and how it is heard."""

    def __init__(self, directory: Path, swift: FaultySwift, manager: Listener) -> None:
        self.mountpoint = directory / "mnt"
        self.mountpoint.mkdir()
        self.manager = manager
        self._directory = directory
        self._environ = {**swift.swift.environ(), "XDG_STATE_HOME": str(directory / "state")}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, source: str = "env:", **variables: str) -> None:
        environ = {**self._environ, "NOTIFY_SOCKET": str(self._directory / "notify")}
        environ |= variables
        command = [*PROGRAM, "mount", source, str(self.mountpoint)]
        self.process = subprocess.Popen(
            [*command, "--foreground", "-o", "attr_timeout=0,timeout=20", *flags],
            env={**clean_environ(), **environ},
            stdout=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        subprocess.run(["fusermount3", "-uzq", str(self.mountpoint)], check=False)


@pytest.fixture
def service(swift: FaultySwift, tmp_path: Path) -> Iterator[Service]:
    with listening(tmp_path / "notify") as manager:
        made = Service(tmp_path, swift, manager)
        yield made
        made.stop()


def test_it_is_ready_when_it_serves_and_feeds_the_watchdog(service, container):
    service.start(source=f"env:{container}", WATCHDOG_USEC="400000")

    service.manager.wait_for("READY=1")

    assert os.path.ismount(service.mountpoint)
    assert service.manager.lines[1] == f"STATUS=env:{container} at {service.mountpoint}"
    begun = time.monotonic()
    for _ in range(3):
        service.manager.wait_for("WATCHDOG=1")
    assert time.monotonic() - begun < 5, "a turn is half of the watchdog's time"


def test_what_is_being_written_is_told(service, container):
    service.start(source=f"env:{container}", WATCHDOG_USEC="400000")
    service.manager.wait_for("READY=1")
    name = f"STATUS=env:{container} at {service.mountpoint}"

    with (service.mountpoint / "image").open("wb", buffering=0) as image:
        image.write(b"x")
        assert service.manager.wait_for(f"{name}, ") == f"{name}, 1 image being written"

    service.manager.lines.clear()
    assert service.manager.wait_for(name) == name


def test_a_stop_waits_for_what_is_stored_and_asks_for_the_time(service, swift, container):
    service.start(source=f"env:{container}", WATCHDOG_USEC="400000")
    service.manager.wait_for("READY=1")
    swift.control.inject(Fault(method="PUT", target=f"/{container}/image", delay=4))
    writer = subprocess.Popen(
        ["cp", "/bin/sh", str(service.mountpoint / "image")], stderr=subprocess.DEVNULL
    )
    assert "storing 1 image:" in service.manager.wait_for(
        f"STATUS=env:{container} at {service.mountpoint}, storing"
    )

    service.process.send_signal(signal.SIGTERM)

    service.manager.wait_for("STOPPING=1")
    assert service.manager.wait_for("EXTEND_TIMEOUT_USEC=") == "EXTEND_TIMEOUT_USEC=60000000"
    assert any(line.startswith("STATUS=unmounting") for line in service.manager.lines)
    assert writer.wait(60) == 0
    assert service.process.wait(60) == 0
    with contextlib.closing(swift.connect()) as client:
        assert int(client.head_object(container, "image")["content-length"]) > 0


def test_a_stop_cuts_off_who_is_still_writing_and_the_image_stays(service, swift, container):
    with contextlib.closing(swift.connect()) as client:
        client.put_object(container, "image", b"old")
    service.start(source=f"env:{container}")
    service.manager.wait_for("READY=1")
    code = (
        "import sys; f = open(sys.argv[1], 'wb', 0); print(f.write(b'x'), flush=True); input()\n"
        "try: f.write(b'y')\n"
        "except OSError as failure: print(failure.errno)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(service.mountpoint / "image")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "1\n"

        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(60) == 0
        told, _ = writer.communicate("\n", timeout=60)
    assert int(told) in {
        errno.ECONNABORTED,
        errno.ENOTCONN,
    }  # of the call of then, or a later one
    with contextlib.closing(swift.connect()) as client:
        assert client.get_object(container, "image")[1] == b"old"


def test_a_start_after_a_crash_frees_the_dead_mount_point(service, container):
    service.start(source=f"env:{container}")
    service.manager.wait_for("READY=1")
    service.process.kill()
    service.process.wait()
    with pytest.raises(errors.MountError, match="dead mount"):
        check_mountpoint(service.mountpoint)

    service.start("--replace-dead", source=f"env:{container}")

    service.manager.wait_for("READY=1")
    assert os.listdir(service.mountpoint) == []


def test_a_mount_that_lives_is_not_freed(mount):
    free_dead_mount(mount.path)

    assert os.path.ismount(mount.path)


def test_secrets_come_from_credentials_and_are_not_in_the_environment(
    service, swift, container, tmp_path
):
    environ = swift.swift.environ()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ST_KEY").write_text(environ["ST_KEY"] + "\n")

    service.start(
        source=f"env:{container}", ST_KEY="wrong", CREDENTIALS_DIRECTORY=str(credentials)
    )

    service.manager.wait_for("READY=1")
    with open(f"/proc/{service.process.pid}/environ", "rb") as file:
        assert b"ST_KEY=wrong" in file.read().split(b"\0")


def test_credentials_are_variables_and_a_clouds_yaml(tmp_path):
    (tmp_path / "OS_PASSWORD").write_text("a secret\n")
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    (tmp_path / "ST_KEY").write_text("")
    (tmp_path / "LD_PRELOAD").write_text("not ours\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "OS_PASSWORD": "older"}

    take_up_credentials(environ)

    assert environ.pop("CREDENTIALS_DIRECTORY") == str(tmp_path)
    assert environ == {
        "OS_PASSWORD": "a secret",
        "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml"),
    }


@pytest.mark.parametrize("content", [b"\xff", None], ids=["not text", "a directory"])
def test_credentials_that_cannot_be_read_are_a_refusal(tmp_path, content):
    path = tmp_path / "OS_PASSWORD"
    path.mkdir() if content is None else path.write_bytes(content)

    with pytest.raises(errors.ConfigError, match="credentials in"):
        take_up_credentials({"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_an_abstract_socket_is_spoken_to(tmp_path):
    name = f"swiftimgfs-{os.getpid()}-{time.monotonic_ns()}"
    with listening(f"\0{name}") as manager:
        ServiceManager.of_environment({"NOTIFY_SOCKET": f"@{name}"}).tell_stopping()

        assert manager.wait_for("STATUS=") == "STATUS=unmounting"


def test_nobody_listening_does_no_harm(tmp_path, caplog):
    ServiceManager(str(tmp_path / "missing")).tell_stopping()

    assert "does not listen" in caplog.text


def test_the_watchdog_of_another_process_is_not_ours():
    manager = ServiceManager.of_environment(
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1", "NOTIFY_SOCKET": "/nowhere"}
    )

    assert manager.turn_seconds == 5
