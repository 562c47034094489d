"""`swiftimgfs …` as people run it: a process of its own, its exit status and what it says."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROGRAM = (sys.executable, "-m", "swiftimgfs")


def environ_with(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without anybody's cloud in it, and with these variables."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("ST_", "OS_"))}
    return ours | dict(variables or {})


def done_by(
    *arguments: object,
    environ: Mapping[str, str] | None = None,
    status: int | None = 0,
    through: Sequence[str] = (),
    directory: Path | None = None,
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end.

    Args:
        arguments: The verb, and what it takes.
        environ: Added to our environment, of which no cloud is left.
        status: The exit status to insist on, and that no defect of ours was shown; None is
            for callers who do so themselves.
        through: A command that runs it, as `setpriv` does.
        directory: Where it runs.
        seconds: How long it may take.
    """
    done = subprocess.run(
        [*through, *PROGRAM, *map(str, arguments)],
        cwd=directory,
        env=environ_with(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if status is not None:
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
    return done


def said_by(
    *arguments: object, environ: Mapping[str, str] | None = None, status: int = 0
) -> str:
    """Run the program, as `done_by` does; return all that it says, its complaints too."""
    done = done_by(*arguments, environ=environ, status=status)
    return done.stdout + done.stderr


def at_a_terminal(
    *arguments: object, typed: str = "", environ: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run the program at a terminal of its own; return its exit status and the screen.

    Args:
        arguments: The verb, and what it takes.
        typed: What is typed whenever a password is asked for.
        environ: Added to our environment.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PROGRAM[0], [*PROGRAM, *map(str, arguments)], environ_with(environ))
    screen = b""
    with contextlib.suppress(OSError):  # the terminal goes with its last program
        while chunk := os.read(terminal, 4096):
            screen += chunk
            if chunk.rstrip().endswith(b":") and b"Password" in chunk:
                os.write(terminal, typed.encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), screen.decode()
