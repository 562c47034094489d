"""A Python module that runs as a child process and talks to us in lines.

For the programs that would disturb the tests in the tests' own process: those that
configure themselves through module globals, patch the standard library or warn.

The child must end when its standard input does; as nobody else holds the other end of
that pipe, no child outlives us, however we die.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHECKOUT = Path(__file__).parents[2]
STOP_SECONDS = 5


class ChildError(Exception):
    """A child ended or fell silent; the message ends with what it said last."""


class Child:
    """A running ``python -m module``; its standard error goes to the file `log`."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._name = module
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=CHECKOUT,
                env=clean_environ() | dict(environ or {}),
                pass_fds=pass_fds,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def write_line(self, line: str) -> None:
        """Send a line to the child's standard input."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise ChildError(self._explain("has ended")) from exc

    def read_line(self, seconds: float) -> str:
        """Return the next line of the child's standard output, without its end.

        The child may say only one line at a time: what it says further is not waited for.

        Raises:
            ChildError: It ended, or said nothing for that many seconds.
        """
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not readable:
            raise ChildError(self._explain(f"said nothing for {seconds:.0f} s"))
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(self._explain("has ended"))
        return line.decode().rstrip("\n")

    def stop(self) -> None:
        """End the process and wait for it; nothing happens if it has ended already."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What an ended child never took is still in the pipe's buffer.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()

    def _explain(self, happened: str) -> str:
        return f"{self._name} {happened}\n{self._log.read_text(errors='replace')[-3000:]}"


def finished(
    command: Sequence[str],
    environ: Mapping[str, str],
    seconds: float,
    directory: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program as a terminal would show it: all that it prints is in `stdout`.

    Args:
        command: The program with its arguments.
        environ: All of its environment.
        seconds: How long it may take.
        directory: Where it runs.
    """
    return subprocess.run(
        command,
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )


def clean_environ() -> dict[str, str]:
    """Return our environment without what OpenStack's programs would take up from it."""
    inherited = {name: value for name, value in os.environ.items() if name[:3] != "OS_"}
    # A deprecation inside OpenStack is not ours to fix, and would only fill the logs.
    return inherited | {"PYTHONWARNINGS": "ignore"}
