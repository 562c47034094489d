"""Programs that the benchmarks start: bounded in time, measured, and ended in any case."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STOP_SECONDS = 10
_STEP_SECONDS = 0.01
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted from the field after the name in parentheses.
_UTIME, _STIME = 11, 12


class ToolError(Exception):
    """A program failed or took too long; the message ends with what it said last."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: CPU in seconds, the most memory it had in bytes.

    The memory is that of mounts only: wait4 tells of a program also what its parent had.
    """

    cpu_seconds: float = 0.0
    peak_rss: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program printed, how long it ran, and what it used."""

    output: str
    seconds: float
    usage: Usage


class Tool:
    """A running program; one that still runs at the context's end is killed."""

    def __init__(
        self, command: Sequence[object], environ: Mapping[str, str] | None = None
    ) -> None:
        self._command = [str(part) for part in command]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the context
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            start_new_session=True,  # a Ctrl-C is for us: we decide when it ends
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill without waiting: a reader hangs for as long as the mount that it reads."""
        self._said.close()
        if self._process.returncode is None:
            self._process.kill()

    def finish(self, timeout: float) -> Finished:
        """Wait for its end.

        Raises:
            ToolError: It failed, or did not end within `timeout` seconds.
        """
        program = Path(self._command[0]).name
        descriptor = os.pidfd_open(self._process.pid)
        try:
            ready, _, _ = select.select([descriptor], [], [], timeout)
        finally:
            os.close(descriptor)
        if not ready:
            raise ToolError(f"{program}: not done after {timeout:.0f} s")
        seconds = time.perf_counter() - self._started
        _, status, resources = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        if self._process.returncode:
            raise ToolError(f"{program}: status {self._process.returncode}: {said[-300:]}")
        cpu_seconds = resources.ru_utime + resources.ru_stime
        return Finished(said, seconds, Usage(cpu_seconds))


def run(
    command: Sequence[object], timeout: float, environ: Mapping[str, str] | None = None
) -> Finished:
    """Run a program to its end; see `Tool.finish`."""
    with Tool(command, environ) as tool:
        return tool.finish(timeout)


def run_all(commands: Sequence[Sequence[object]], timeout: float) -> list[Finished]:
    """Run programs at once, to the end of the last; see `Tool.finish`."""
    with contextlib.ExitStack() as stack:
        tools = [stack.enter_context(Tool(command)) for command in commands]
        return [tool.finish(timeout) for tool in tools]


def usage_of(pid: int) -> Usage:
    """Return what a running process has used until now."""
    directory = Path("/proc") / str(pid)
    fields = (directory / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    status = (directory / "status").read_text()
    _, _, rest = status.partition("VmHWM:")
    return Usage(ticks / _TICKS_PER_SECOND, int(rest.split()[0]) * 1024 if rest else 0)


def stop(process: subprocess.Popen[Any]) -> None:
    """End a program and wait for it, by force if it does not listen."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP_SECONDS)  # noqa: TID251  # no event loop here
    return True
