"""What is printed, on a terminal and elsewhere, and what makes no sense."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import PROGRAM, at_a_terminal
from tests.support.fault_control import Fault
from tests.support.verified_images import Runner, Verify, put_image, wait_for_request

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


# ── what is told ───────────────────────────────────────────────────────────────────────


def test_names_are_printed_harmlessly(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    client.put_object(container, "red\x1b[31m\n[bold]image[/bold]", b"x")

    assert verify(directory) == [rf"OK      {directory}/red\x1b[31m\n[bold]image[/bold]: etag"]


def test_the_summary_counts_what_came_out(
    client: swiftclient.Connection, container: str, directory: Path, command: Runner
) -> None:
    client.put_object(container, "a", b"x" * 1000)
    client.put_object(container, "b", b"x" * 500, headers={"X-Object-Meta-Os-Hash-Algo": "md5"})

    _, told, _ = command(directory, directory / "missing")

    assert told.splitlines()[-1].startswith("3 images: 2 OK, 1 FAILED; 1.5 kB in ")


def test_a_terminal_has_a_progress_bar(
    swift: FaultySwift, client: swiftclient.Connection, container: str, directory: Path
) -> None:
    put_image(client, container, "slo")
    swift.control.inject(Fault(method="GET", target="/parts/4$", delay=1))

    environ = {"TERM": "xterm", "COLUMNS": "200"}
    status, screen = at_a_terminal("verify", directory / "image", environ=environ)

    assert status == 0
    assert "1 image " in screen
    assert "/2.0 MB" in screen
    assert "5 segments" in screen


def test_ctrl_c_ends_it_at_once(
    swift: FaultySwift, client: swiftclient.Connection, container: str, directory: Path
) -> None:
    put_image(client, container, "slo")
    # Not all connections: a request that the kernel waits for (a GETATTR at the end of a file)
    # cannot be given up by who is killed, and would stand behind them.
    swift.control.inject(Fault(method="GET", target="/parts/", count=4, delay=8))
    with subprocess.Popen(
        # Whoever runs the tests in the background has all programs below ignore SIGINT.
        ["env", "--default-signal=INT", *PROGRAM, "verify", directory / "image"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_request(swift, "/parts/0")
        started = time.monotonic()

        process.send_signal(signal.SIGINT)

        told, complaint = process.communicate(timeout=60)
    assert time.monotonic() - started < 6  # the answers come after eight
    assert (process.returncode, told, complaint) == (130, "", "swiftimgfs: interrupted\n")


# ── what cannot be understood ──────────────────────────────────────────────────────────


def test_paths_elsewhere_are_refused(directory: Path, tmp_path: Path, command: Runner) -> None:
    file = tmp_path / "red\x1b[31m"
    file.write_bytes(b"x")

    status, told, complaint = command(directory, file)

    assert (status, told) == (2, "")
    assert complaint.endswith("red\\x1b[31m is not in a mount of swiftimgfs\n")
    assert len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--os-hash-value", "ab", "image"], "not 128 hexadecimal digits"),
        (["--os-hash-value", "ab", "--os-hash-algo", "rot13", "image"], "unknown algorithm"),
        (["--os-hash-value", "0" * 128, "image", "image"], "of one image"),
        (["--os-hash-value", "0" * 128, ""], "of one image"),
        (["--os-hash-algo", "sha256", "image"], "goes with --os-hash-value"),
        (["--jobs", "0", "image"], "1 to 64"),
        ([], "PATH"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    directory: Path, arguments: list[str], word: str, command: Runner
) -> None:
    paths = {"image": directory / "image", "": directory}

    status, told, complaint = command(*(paths.get(word, word) for word in arguments))

    assert (status, told) == (2, "")
    assert word in complaint
