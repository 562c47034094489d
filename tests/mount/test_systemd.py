"""The unit of contrib/systemd as it stands, started, stopped and killed under a real systemd."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.fault_control import Fault
from tests.support.service_host import UNITS, ServiceHost, service_host, why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.embedded_swift import FaultySwift

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(bool(why_not()), reason=f"a systemd of its own {why_not()}"),
]

UNIT = "swiftimgfs@images"
PLACE = "/mnt/images"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHost]:
    with service_host(tmp_path_factory.mktemp("host")) as running:
        service = (UNITS / "swiftimgfs@.service").read_text(encoding="utf-8")
        running.write("/etc/systemd/system/swiftimgfs@.service", service, 0o644)
        programs = Path(sys.executable).parent
        running.run("ln", "-s", programs / "swiftimgfs", "/usr/bin/")
        running.run("ln", "-s", programs / "mount.swiftimgfs", "/usr/sbin/")
        running.run("mkdir", PLACE)
        yield running


class Unit:
    """`swiftimgfs@images` of that host."""

    def __init__(self, host: ServiceHost) -> None:
        self.host = host

    def configure(
        self, source: str, options: str = "attr_timeout=0,timeout=20", **variables: str
    ) -> None:
        settings = {"SOURCE": source, "MOUNTPOINT": PLACE, "OPTIONS": options, **variables}
        lines = [f"{name}={text}\n" for name, text in settings.items()]
        self.host.write("/etc/swiftimgfs/images.env", "".join(lines))

    def shown(self, name: str) -> str:
        return self.host.shown(UNIT, name)

    def control(self, *arguments: str) -> str:
        return self.host.run("systemctl", *arguments, UNIT)

    def is_mounted(self) -> bool:
        return self.host.call("mountpoint", "-q", PLACE).returncode == 0

    def log(self) -> str:
        return self.host.call("journalctl", "--no-pager", "-n", "20", "-u", UNIT).stdout

    def wait_until(self, is_so: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)  # noqa: TID251  # no event loop


@pytest.fixture
def unit(host: ServiceHost, swift: FaultySwift, container: str) -> Iterator[Unit]:
    """The unit with a cloud whose password comes by LoadCredential=, and is nowhere else."""
    environ = swift.swift.environ()
    login = {
        "auth_url": environ["ST_AUTH"],
        "username": environ["ST_USER"],
        "password": environ["ST_KEY"],
    }
    clouds = {"clouds": {"mycloud": {"auth_type": "v1password", "auth": login}}}
    for path in ("/etc/swiftimgfs/images.clouds.yaml", "/etc/openstack/clouds.yaml"):
        host.write(path, yaml.safe_dump(clouds))
    made = Unit(host)
    made.configure(f"mycloud:{container}")
    yield made
    swift.control.clear()
    host.call("systemctl", "stop", UNIT)
    host.call("systemctl", "reset-failed", UNIT)
    host.run("rm", "-rf", f"/etc/systemd/system/{UNIT}.service.d")
    host.run("rm", "-f", "/etc/swiftimgfs/images.password")
    host.run("systemctl", "daemon-reload")


def test_it_is_active_once_it_serves_and_not_before(unit, swift, container):
    swift.control.inject(Fault(method="HEAD", target=f"/{container}$", delay=2))
    states: list[tuple[str, bool]] = []

    def is_active() -> bool:
        states.append((unit.shown("ActiveState"), unit.is_mounted()))
        return states[-1][0] == "active"

    unit.control("start", "--no-block")
    unit.wait_until(is_active)

    assert ("activating", False) in states
    assert states[-1] == ("active", True)
    assert unit.shown("StatusText") == f"mycloud:{container} at {PLACE}"
    assert "Ctrl-C" not in unit.log()
    assert unit.host.run("ls", PLACE) == ""


def test_the_sandbox_holds_and_no_secret_is_in_the_environment(unit, swift):
    unit.control("start")

    process = f"/proc/{unit.shown('MainPID')}"
    status = unit.host.run("cat", f"{process}/status").split()
    assert status[status.index("Seccomp:") + 1] == "2"
    assert status[status.index("NoNewPrivs:") + 1] == "1"
    assert int(status[status.index("CapBnd:") + 1], 16) == 1 << 21 | 1 << 2 | 1 << 1
    assert unit.shown("MemoryMax") == str(2 << 30)
    environ = unit.host.run("cat", f"{process}/environ")
    assert "CREDENTIALS_DIRECTORY=" in environ
    assert f"={swift.swift.key}\0" not in environ


@pytest.mark.parametrize("kind", ["env:", "mycloud"])
def test_a_password_in_a_file_of_its_own_completes_the_login(unit, swift, container, kind):
    environ = swift.swift.environ()
    unit.host.write("/etc/swiftimgfs/images.password", environ.pop("ST_KEY") + "\n")
    if kind == "env:":
        unit.configure(f"env:{container}", **environ)
    else:
        login = {"auth_url": environ["ST_AUTH"], "username": environ["ST_USER"]}
        clouds = {"clouds": {"mycloud": {"auth_type": "v1password", "auth": login}}}
        unit.host.write("/etc/swiftimgfs/images.clouds.yaml", yaml.safe_dump(clouds))

    unit.control("start")

    assert unit.host.run("ls", PLACE) == ""


def test_a_stop_waits_for_what_is_being_stored(unit, swift, container):
    unit.control("start")
    swift.control.inject(Fault(method="PUT", target=f"/{container}/image", delay=9))
    unit.host.run("sh", "-c", f"cp /bin/sh {PLACE}/image >/tmp/copied 2>&1 &")
    unit.wait_until(lambda: "storing 1 image" in unit.shown("StatusText"))

    unit.control("stop")

    assert unit.shown("Result") == "success"
    assert not unit.is_mounted()
    assert unit.host.run("cat", "/tmp/copied") == ""
    with contextlib.closing(swift.connect()) as client:
        size = int(client.head_object(container, "image")["content-length"])
    assert size == int(unit.host.run("stat", "-Lc", "%s", "/bin/sh"))


def test_one_that_was_killed_leaves_a_dead_mount_and_is_started_over_it(unit):
    unit.control("start")
    unit.control("kill", "--signal=KILL")
    unit.wait_until(lambda: unit.shown("ActiveState") != "active")

    assert "Transport endpoint is not connected" in unit.host.call("ls", PLACE).stdout

    unit.wait_until(lambda: unit.shown("ActiveState") == "active")
    assert unit.shown("NRestarts") == "1"
    assert unit.host.run("ls", PLACE) == ""
    assert unit.host.run("findmnt", "-rno", "SOURCE", PLACE).count("\n") == 1


def test_one_that_hangs_is_found_by_the_watchdog_and_started_again(unit):
    drop_in = "[Service]\nWatchdogSec=3\nRestartSec=0\nTimeoutAbortSec=1\n"
    unit.host.write(f"/etc/systemd/system/{UNIT}.service.d/edit.conf", drop_in, 0o644)
    unit.host.run("systemctl", "daemon-reload")
    unit.control("start")

    unit.host.run("kill", "-STOP", unit.shown("MainPID"))

    unit.wait_until(lambda: unit.shown("NRestarts") == "1")
    unit.wait_until(lambda: unit.shown("ActiveState") == "active")
    assert unit.host.run("ls", PLACE) == ""


def test_wrong_settings_are_not_tried_again(unit, container):
    unit.configure(f"mycloud:{container}", "no_such_option")

    unit.host.call("systemctl", "start", UNIT)

    unit.wait_until(lambda: unit.shown("ActiveState") == "failed")
    assert unit.shown("ExecMainStatus") == "2"
    assert unit.shown("NRestarts") == "0"


def test_a_name_that_no_settings_have_fails(host):
    done = host.call("systemctl", "start", "swiftimgfs@imgaes")

    assert done.returncode == 1
    assert "assertion" in done.stdout.lower()


def test_a_start_in_vain_is_tried_again_until_the_container_is_there(unit, swift, container):
    unit.configure(f"mycloud:{container}-later")
    unit.host.call("systemctl", "start", UNIT)
    assert unit.shown("ExecMainStatus") == "1"

    with contextlib.closing(swift.connect()) as client:
        client.put_container(f"{container}-later")

    unit.wait_until(lambda: unit.shown("ActiveState") == "active")
    assert unit.is_mounted()


@pytest.fixture
def automount(unit: Unit, container: str) -> Iterator[ServiceHost]:
    """The units of contrib/systemd/examples, with another source."""
    host = unit.host
    for name in ("mnt-images.automount", "mnt-images.mount"):
        text = (UNITS / "examples" / name).read_text(encoding="utf-8")
        text = text.replace("mycloud:glance", f"mycloud:{container}")
        host.write(f"/etc/systemd/system/{name}", text, 0o644)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "mnt-images.automount")
    yield host
    host.call("systemctl", "stop", "mnt-images.automount", "mnt-images.mount")
    host.run("sh", "-c", "rm /etc/systemd/system/mnt-images.*")
    host.run("systemctl", "daemon-reload")


@pytest.mark.skipif(not Path("/dev/autofs").exists(), reason="the kernel has no autofs")
def test_an_automount_mounts_when_somebody_looks_and_can_be_unmounted(
    automount, swift, container
):
    assert automount.shown("mnt-images.mount", "ActiveState") == "inactive"
    with contextlib.closing(swift.connect()) as client:
        client.put_object(container, "image", b"bytes")

    for _ in range(2):
        assert automount.run("cat", f"{PLACE}/image", seconds=30) == "bytes"
        assert automount.shown("mnt-images.mount", "ActiveState") == "active"
        assert "fuse.swiftimgfs" in automount.run("findmnt", "-no", "FSTYPE", PLACE)
        automount.run("systemctl", "stop", "mnt-images.mount")
        assert automount.run("findmnt", "-no", "FSTYPE", PLACE).strip() == "autofs"


@pytest.mark.skipif(not Path("/dev/autofs").exists(), reason="the kernel has no autofs")
def test_an_automount_that_nobody_uses_is_unmounted_in_time(automount, swift, container):
    with contextlib.closing(swift.connect()) as client:
        client.put_object(container, "image", b"bytes")
    unit = "/etc/systemd/system/mnt-images.automount"
    automount.run("sed", "-i", "s/^TimeoutIdleSec=.*/TimeoutIdleSec=2s/", unit)
    automount.run("systemctl", "daemon-reload")
    automount.run("systemctl", "restart", "mnt-images.automount")
    automount.run("cat", f"{PLACE}/image", seconds=30)

    deadline = time.monotonic() + 60
    while automount.shown("mnt-images.mount", "ActiveState") != "inactive":
        assert time.monotonic() < deadline
        time.sleep(0.5)  # noqa: TID251  # no event loop

    assert automount.shown("mnt-images.mount", "Result") == "success"
    assert automount.run("findmnt", "-no", "FSTYPE", PLACE).strip() == "autofs"
    assert automount.run("cat", f"{PLACE}/image", seconds=30) == "bytes"


@pytest.mark.skipif(not Path("/dev/autofs").exists(), reason="the kernel has no autofs")
def test_an_automount_of_a_cloud_that_says_no_fails_who_looks(automount):
    automount.run("rm", "/etc/openstack/clouds.yaml")

    assert "No such device" in automount.call("ls", PLACE, seconds=30).stdout

    log = automount.call("journalctl", "--no-pager", "-u", "mnt-images.mount").stdout
    assert "no cloud 'mycloud'" in log
