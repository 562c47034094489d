"""Every command of README.md, docs/operations.md and docs/glance.md, as it stands there.

They are run in order, by root of a host with a real systemd. Each starts from where a reader
would: what mounts finds nothing mounted, what looks at the mount finds one. A block `fstab` is
a line of that host's. Who adds a command adds a test, or a reason to `NOT_RUN`.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from swiftimgfs.control.protocol import format_request
from tests.support.cloud import Cloud, cloud
from tests.support.service_host import CHECKOUT, ServiceHost, service_host, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

# In this order: the first one installs.
PAGES = ("docs/operations.md", "README.md", "docs/glance.md")
CHANGES_HOST = "needs a package index, and would change this host"
NOT_RUN = {
    "contrib/demo [DIR]": "installs by apt; what it starts is in tests/commands/test_demo.py",
    "contrib/test": "is what runs this",
    "apt-get install build-essential debhelper libfuse3-dev pkg-config python3-dev python3-pip python3-venv": (
        CHANGES_HOST
    ),
    "contrib/debian/build": "needs a package index",
    "apt-get install ./dist/swiftimgfs_*.deb": CHANGES_HOST,
    "apt-get remove swiftimgfs": CHANGES_HOST,
    "python3 -m venv /opt/swiftimgfs": "needs a package index: here it is the tests' own .venv",
    "/opt/swiftimgfs/bin/pip install .": "needs a package index: it is installed there",
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"\n\n {4,}\S")
COMMENT = re.compile(r"\s+# .*")
MOUNTS = re.compile(r"swiftimgfs mount |mount /|systemctl enable --now ")
LOOKS = re.compile(r"swiftimgfs status|.*/mnt/images")
ENDLESS = re.compile(r".* (--watch|-w)\b")
PORT = "9475"
ID = "0ddba11a-0000-4000-8000-00000000cafe"


def blocks(page: str) -> Iterator[tuple[str, str]]:
    yield from BLOCK.findall((CHECKOUT / page).read_text(encoding="utf-8"))


def commands(block: str) -> list[str]:
    return [COMMENT.sub("", line) for line in block.splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_block_that_no_test_knows_of(page: str) -> None:
    languages = {language for language, _ in blocks(page)}

    assert languages <= {"sh", "fstab", "json"}
    assert not INDENTED.findall((CHECKOUT / page).read_text(encoding="utf-8"))


def test_what_is_not_run_is_there_and_has_a_reason() -> None:
    there = {
        command for page in PAGES for kind, block in blocks(page) if kind == "sh"
        for command in commands(block)
    }  # fmt: skip

    assert NOT_RUN.keys() - there == set()
    assert all(NOT_RUN.values())


def test_what_asks_a_mount_is_what_is_sent_to_it() -> None:
    asked = [block for page in PAGES for kind, block in blocks(page) if kind == "json"]

    assert [json.loads(block) for block in asked] == [json.loads(format_request())]


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with an image that Glance's driver wrote, and a container of somebody's."""
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        with running.glance() as glance:
            glance.add(ID, b"an image" * 1000)
        session = running.session(user="glance", project="service")
        session.put(f"{running.storage_url('service')}/golden")
        yield running


@pytest.fixture(scope="module")
def host(openstack: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHost]:
    with service_host(tmp_path_factory.mktemp("host")) as running:
        variables = openstack.environ(user="glance", project="service")
        auth = {
            name.removeprefix("OS_").lower(): text
            for name, text in variables.items()
            if re.search("AUTH_URL|USERNAME|PASSWORD|PROJECT|DOMAIN", name)
        }
        mine = {"auth": auth, "region_name": variables["OS_REGION_NAME"]}
        running.write(
            "/etc/openstack/clouds.yaml", yaml.safe_dump({"clouds": {"mycloud": mine}})
        )
        running.write("/etc/glance/glance-api.conf", GLANCE.format(auth["auth_url"]))
        running.run("ln", "-s", sys.prefix, "/opt/swiftimgfs")
        running.run("mkdir", "/mnt/fast", "/var/lib/node_exporter")
        yield running


GLANCE = """
[DEFAULT]
enabled_backends = fast:swift
[glance_store]
default_backend = fast
[fast]
swift_store_auth_version = 3
swift_store_auth_address = {}
swift_store_user = service:glance
swift_store_key = glance
"""


class Reader:
    """Somebody who types what he reads."""

    def __init__(self, host: ServiceHost, variables: dict[str, str]) -> None:
        self._host = host
        self._variables = variables
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self._port = str(taken.getsockname()[1])  # free, as good as certainly

    def type(self, command: str) -> None:
        if MOUNTS.match(command):
            self._unmount()
        elif LOOKS.match(command) and not command.startswith("mkdir") and not self._mounts():
            self._run("swiftimgfs mount mycloud /mnt/images")
        if ENDLESS.match(command):
            self._run(f"timeout --preserve-status -s INT 3 {command}", {0, 130})
        else:
            self._run(command)
        if MOUNTS.match(command):
            assert self._mounts(), command

    def _mounts(self) -> list[str]:
        done = self._host.call("findmnt", "-rn", "-t", "fuse.swiftimgfs", "-o", "TARGET")
        return done.stdout.split()

    def _unmount(self) -> None:
        for mountpoint in self._mounts():
            self._run(f"swiftimgfs umount {mountpoint}")

    def _run(self, command: str, statuses: frozenset[int] | set[int] = frozenset({0})) -> None:
        script = f"cd {CHECKOUT} && {command.replace(PORT, self._port)}"
        done = self._host.call("bash", "-c", script, seconds=60, **self._variables)
        assert done.returncode in statuses, f"$ {command}\n{done.returncode}\n{done.stdout}"


@pytest.mark.mount
@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(why_not()), reason=f"a host with a systemd {why_not()}")
def test_the_commands_of_the_pages_work_one_after_the_other(
    host: ServiceHost, openstack: Cloud
) -> None:
    reader = Reader(host, openstack.environ(user="glance", project="service"))
    for page in PAGES:
        for language, block in blocks(page):
            if language == "fstab":
                host.write("/etc/fstab", block, 0o644)
            for command in commands(block) if language == "sh" else []:
                if command not in NOT_RUN:
                    reader.type(command)
