"""Where a password or a token must not be: everything that others, or a log, can see of a mount."""

from __future__ import annotations

import ctypes
import os
import re
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import swiftclient

from swiftimgfs.control.client import ask_all
from swiftimgfs.control.protocol import format_request
from swiftimgfs.control.sockets import connect_to
from swiftimgfs.demo.options import SwiftUser
from tests.support.attributes import FACTS, attribute
from tests.support.embedded_swift import FaultySwift, faulty_swift
from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mount

KEY = "correct-horse-battery-staple"


@dataclass(frozen=True, slots=True)
class Seen:
    """A mount that did a bit of everything, and all that can be seen of it."""

    mount: Mounted
    texts: dict[str, str]
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySwift]:
    """A Swift whose key looks like nothing else: the user's name is no secret."""
    users = (SwiftUser("demo", "demo", KEY, (".admin",)),)
    with faulty_swift(tmp_path_factory.mktemp("swift"), users=users) as running:
        yield running


@pytest.fixture(scope="module")
def seen(guarded: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    directory, swift = tmp_path_factory.mktemp("secrets"), guarded
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = f"metrics={port},cache_dir={directory}/cache,timeout=10"
    with mounted(directory, swift.swift.environ(), options) as mount:
        container = mount.path / "secrets"
        container.mkdir()
        (container / "image").write_bytes(b"x" * 1000)
        swift.control.forget_tokens()
        assert (container / "image").read_bytes() == b"x" * 1000
        with pytest.raises(OSError, match="Operation not supported"):
            os.setxattr(container, "user.swift.delete_at", b"x")
        # tempauth gives everybody the token that it gave the user before
        _, token = swiftclient.client.get_auth(
            swift.swift.auth_url, swift.swift.user, swift.swift.key
        )
        texts = _texts(mount, port, directory)
        yield Seen(mount, texts, {"key": swift.swift.key, "token": token})
        for image in container.iterdir():
            image.unlink()
        container.rmdir()


def _texts(mount: Mounted, port: int, directory: Path) -> dict[str, str]:
    (asked,) = ask_all([directory / "state" / "swiftimgfs"], mount.path)
    device = asked.entry.device.replace(":", "-")
    with connect_to(directory / "state" / "swiftimgfs" / "control" / device, 10) as connection:
        connection.sendall(format_request())
        report = connection.makefile("rb").read().decode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    attributes = [
        (name, attribute(path, name))
        for path in (mount.path / "secrets", mount.path / "secrets" / "image")
        for name in (*os.listxattr(path), *(f"user.swift.{fact}" for fact in FACTS))
    ]
    kept = [p for p in (directory / "state").rglob("*") if p.is_file()]
    return {
        "command lines": " ".join(
            path.read_bytes().decode(errors="replace")
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if path.parent.name == str(mount.process.pid)
        ),
        "mounts": Path("/proc/mounts").read_text(errors="replace"),
        "log": mount.log.read_text(),
        "report": report,
        "metrics": metrics,
        "attributes": str(attributes),
        "state": " ".join(p.read_bytes().decode(errors="replace") for p in kept),
    }


@pytest.mark.parametrize(
    "where",
    ["command lines", "mounts", "log", "report", "metrics", "attributes", "state"],
)
def test_neither_password_nor_token_is_in(seen: Seen, where: str) -> None:
    text = seen.texts[where]

    assert text
    for name, secret in seen.secrets.items():
        assert len(secret) > 10, name
        assert secret not in text, name


def test_what_is_looked_at_is_what_it_seems(seen: Seen) -> None:
    assert str(seen.mount.path) in seen.texts["command lines"]
    assert str(seen.mount.path) in seen.texts["mounts"]
    assert "token refused" in seen.texts["log"]
    assert "secrets/image" in seen.texts["report"] + seen.texts["log"]
    assert "swiftimgfs_requests_total" in seen.texts["metrics"]
    assert "user.swift.etag" in seen.texts["attributes"]


def test_a_mount_leaves_no_core_and_is_not_to_be_looked_into(seen: Seen) -> None:
    limits = Path(f"/proc/{seen.mount.process.pid}/limits").read_text()

    assert re.search(r"Max core file size\s+0\s+0\s", limits)
    code = (
        "import ctypes\n"
        "from swiftimgfs.mount_process import forbid_core_dumps\n"
        "forbid_core_dumps()\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"  # PR_GET_DUMPABLE
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
    assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 1  # and it was not so before


def test_what_a_mount_keeps_here_is_its_owners_alone(seen: Seen) -> None:
    directory = seen.mount.path.parent
    for path in (
        directory / "cache",
        directory / "state" / "swiftimgfs",
        directory / "state" / "swiftimgfs" / "control",
        directory / "state" / "swiftimgfs" / "mounts",
        directory / "state" / "swiftimgfs" / "kept",
    ):
        assert path.stat().st_mode & 0o077 == 0, path
