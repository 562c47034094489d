"""`swiftimgfs status` of mounts that run, and how it looks."""

from __future__ import annotations

import dataclasses
import io
import json
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from swiftimgfs.commands.status_view import Seen, render
from swiftimgfs.control.client import Asked, ask_all
from swiftimgfs.control.mounts import MountEntry
from tests.support.commands import said_by
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted
from tests.support.reports import REPORT
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.control.report import Report
    from tests.support.embedded_swift import FaultySwift

ENTRY = MountEntry("0:53", Path("/mnt/images"), "env:", 0, is_read_only=False)
EARLIER = dataclasses.replace(
    REPORT,
    taken=REPORT.taken - 1,
    images=(
        dataclasses.replace(REPORT.images[0], sent=0),
        dataclasses.replace(REPORT.images[1], read=0),
    ),
    requests=dataclasses.replace(REPORT.requests, bytes_in=0),
)


def shown(*asked: Asked, before: dict[str, object] | None = None, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=200, highlight=False, force_terminal=color, legacy_windows=False
    )
    console.print(render(Seen(asked, [], before or {})))  # type: ignore[arg-type]
    return out.getvalue()


def test_what_is_shown_of_a_mount() -> None:
    text = shown(Asked(ENTRY, REPORT, pid=42), before={ENTRY.device: EARLIER})

    assert "/mnt/images  env:" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["login", "demo:demo"] in rows
    assert ["account", "http://swift/v1/AUTH_demo"] in rows
    assert "1m1s, pid 42" in text
    assert "75.0 % of 4 found" in text
    assert "2 damaged" in text
    assert "in 1.0 kB at 1.0 kB/s" in text
    assert "6 requests (1 on their way, 1 failed, 2 retried)" in text
    assert "storing" in text
    assert "100 bytes of 400 bytes" in text
    assert "100 bytes/s" in text
    assert "reading" in text
    assert "250 bytes/s" in text
    assert all(word in text for word in ("EIO", "503", "tx123"))


def test_hostile_names_neither_reach_the_terminal_nor_are_markup() -> None:
    text = shown(Asked(ENTRY, REPORT), Asked(ENTRY, problem="\x1b[2J[red]x"), color=True)

    for harm in ("\x1b]0;", "\x07", "\x1b[2J", "\u202e"):
        assert harm not in text
    assert "\\x1b]0;owned\\x07[bold]x[/bold][/]\\n\\u202e" in text
    assert "\\x1b[2J[red]x" in text


def test_a_dead_mount_is_called_dead() -> None:
    assert "dead: its process is gone" in shown(
        Asked(ENTRY, problem="its process is gone", is_dead=True)
    )


@pytest.fixture(scope="module")
def served(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mounted, dict[str, str]]]:
    directory = tmp_path_factory.mktemp("served")
    options = f"cache_dir={directory}/cache,attr_timeout=0,list_timeout=0,timeout=10,retries=1"
    with mounted(directory, swift.swift.environ(), options) as running:
        yield running, {"XDG_STATE_HOME": str(directory / "state")}


def report_of(mount: Mounted) -> Report:
    (asked,) = ask_all([mount.path.parent / "state" / "swiftimgfs"], mount.path)
    assert asked.report is not None, asked.problem
    return asked.report


def status(environ: dict[str, str], *arguments: object, status: int = 0) -> str:
    return said_by("status", *arguments, environ=environ, status=status)


@pytest.mark.mount
class TestMounts:
    """A real mount, asked by another process."""

    def test_a_mount_tells_what_it_does(self, served, swift, container) -> None:
        mount, environ = served
        image = mount.path / container / "image"
        image.write_bytes(b"x" * 100_000)
        assert image.read_bytes() == b"x" * 100_000
        # Another process: what we have open is flushed by each child that closes its copy.
        writing = ["dd", f"of={image}", "conv=notrunc", "bs=50000", "iflag=fullblock"]
        with subprocess.Popen(writing, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as dd:
            assert dd.stdin is not None
            dd.stdin.write(b"y" * 50_000)
            dd.stdin.flush()
            wait_for(lambda: report_of(mount).bytes_written == 150_000)
            answer = json.loads(status(environ, mount.path, "--json"))
            text = status(environ, mount.path)

        (row,) = answer["mounts"]
        assert row["state"] == "serving"
        assert row["pid"] == mount.process.pid
        report = row["report"]
        assert report["mount"]["account"].endswith("/AUTH_demo")
        assert report["mount"]["identity"] == swift.swift.user
        assert report["bytes_read"] == 100_000
        assert report["bytes_written"] == 150_000
        assert report["disk"]["misses"] > 0
        (opened,) = report["images"]
        assert opened["path"] == f"{container}/image"
        assert opened["is_written"]
        assert opened["waiting"] == 50_000
        assert f"{container}/image  writing" in text
        assert f'"{swift.swift.key}"' not in json.dumps(answer)

    def test_a_refusal_is_told_with_what_swift_called_it(
        self, served, swift, container
    ) -> None:
        mount, environ = served
        swift.connect().put_object(container, "image", b"x" * 1000)
        (mount.path / container / "image").stat()
        refusal = Fault(
            method="GET",
            target=f"{container}/image$",
            status=403,
            headers={"X-Trans-Id": "tx-of-the-test"},
            count=None,
        )
        swift.control.inject(refusal)
        with pytest.raises(PermissionError):
            (mount.path / container / "image").read_bytes()

        (row,) = json.loads(status(environ, mount.path, "--json"))["mounts"]

        told = row["report"]["refusals"][-1]
        assert told["operation"] == "read"
        assert told["image"] == f"{container}/image"
        assert told["errno"] == "EACCES"
        assert told["status"] == 403
        assert told["transaction"] == "tx-of-the-test"
        text = status(environ, mount.path)
        assert "EACCES" in text
        assert f"{container}/image" in text

    def test_a_mount_with_a_spool_of_its_own_is_found_with_its_uploads(
        self, swift, container, tmp_path
    ) -> None:
        options = f"spool_dir={tmp_path}/spool,timeout=10,retries=1"
        with mounted(tmp_path, swift.swift.environ(), options) as mount:
            environ = {"XDG_STATE_HOME": str(mount.path.parent / "state")}
            assert "serving" in status(environ, mount.path, "--json")
            control = mount.path.parent / "state" / "swiftimgfs" / "control"
            assert stat.S_IMODE(control.stat().st_mode) == 0o700
            assert [stat.S_IMODE(p.stat().st_mode) for p in control.iterdir()] == [0o600]

            swift.control.inject(Fault(method="PUT", target=f"/{container}/image$", status=507))
            done = subprocess.run(
                ["cp", "/bin/true", mount.path / container / "image"],
                check=False,
                stderr=subprocess.DEVNULL,
            )
            assert done.returncode == 1
            (upload,) = json.loads(status(environ, mount.path, "--json", status=1))["uploads"]
        assert upload["image"] == f"{container}/image"
        assert upload["path"].startswith(f"{tmp_path}/spool/")
        assert list(control.iterdir()) == []

    def test_what_is_no_mount_is_said(self, served, tmp_path) -> None:
        _, environ = served

        assert "is no mount of swiftimgfs" in status(environ, tmp_path, status=1)
