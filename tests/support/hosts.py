"""A host whose mounts come after one another, and who stores images there meanwhile."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from typing import TYPE_CHECKING

import swiftclient

from swiftimgfs.writing.state_directory import StateDirectory
from tests.support.commands import PROGRAM, done_by, environ_with, said_by
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

SEGMENT = 64 * 1024
OPTIONS = "segment_size=64K,attr_timeout=0,list_timeout=0,timeout=1,retries=1"
PATIENT = OPTIONS.replace("timeout=1,retries", "timeout=60,retries")
OLD = b"old" * 50_000  # three segments
NEW = b"new!" * 50_000  # four


class Host:
    """One host: its mounts share a state directory."""

    def __init__(self, swift: FaultySwift, directory: Path) -> None:
        self._directory = directory
        self._swift = swift
        self.state = directory / "state"
        self._environ = swift.swift.environ() | {"XDG_STATE_HOME": str(self.state)}
        self._mounts = 0

    def mounted(self, options: str = OPTIONS) -> contextlib.AbstractContextManager[Mounted]:
        self._mounts += 1
        directory = self._directory / f"m{self._mounts}"
        directory.mkdir()
        return mounted(directory, self._environ, options)

    def command(self, *arguments: object, status: int = 0) -> str:
        return said_by(*arguments, environ=self._environ, status=status)

    def started(self, *arguments: object) -> subprocess.Popen[bytes]:
        environ = environ_with(self._environ)
        return subprocess.Popen([*PROGRAM, *map(str, arguments)], env=environ)

    def status(self) -> list[dict[str, object]]:
        done = done_by("status", "--json", environ=self._environ, status=None)
        told = json.loads(done.stdout)
        uploads: list[dict[str, object]] = told["uploads"]
        is_bad = any(upload["state"] in {"failed", "damaged"} for upload in uploads)
        # Another test beside this one may have killed a mount, which is told here too.
        if all(mount["state"] == "serving" for mount in told["mounts"]):
            assert done.returncode == int(is_bad), done
        assert done.returncode == 1 or not is_bad, done
        return uploads

    def wait_until_nothing_waits(self) -> None:
        directory = StateDirectory(self.state / "swiftimgfs")
        wait_for(lambda: not list(directory.all_uploads()), seconds=40)

    def wait_until_one_is_kept(self) -> None:
        directory = StateDirectory(self.state / "swiftimgfs")
        wait_for(lambda: list(directory.kept_uploads()))


def names_in(client: swiftclient.Connection, container: str) -> list[str]:
    try:
        rows = client.get_container(container, full_listing=True)[1]
    except swiftclient.ClientException as failure:
        if failure.http_status != 404:
            raise
        return []
    return [row["name"] for row in rows]


def body_of(client: swiftclient.Connection, container: str, name: str = "x") -> bytes:
    data: bytes = client.get_object(container, name)[1]
    return data


class Copying(threading.Thread):
    """Somebody who stores an image, in the background; `told` is what he was told."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(daemon=True)
        self._path, self._data = path, data
        self.told: int | None = None
        self.start()

    def run(self) -> None:
        try:
            with open(self._path, "wb", buffering=0) as file:
                file.write(self._data)
        except OSError as exc:
            self.told = exc.errno


@contextlib.contextmanager
def held(swift: FaultySwift, fault: Fault) -> Iterator[Callable[[], None]]:
    """Hold requests; yield what waits until one is. Nothing is held afterwards."""
    swift.control.clear()
    swift.control.inject(fault)
    try:
        yield lambda: wait_for(lambda: any(r.held for r in swift.control.journal()))
    finally:
        swift.control.clear()


def put_manifest(when: str) -> Fault:
    return Fault(method="PUT", target="multipart-manifest=put", hold=when, count=None)
