"""Mounts for tests, each in a process of its own and gone afterwards, whatever happens."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs.mount_process import start_mount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount: where it is, who serves it, and where its log goes."""

    path: Path
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def mounted(
    directory: Path, environ: Mapping[str, str], options: str = "", source: str = "env:"
) -> Iterator[Mounted]:
    """Mount `source` at `directory`/mnt while the context lasts."""
    path, log = directory / "mnt", directory / "mount.log"
    path.mkdir(exist_ok=True)
    arguments = [source, str(path), "--debug", "-o", f"log_file={log}"]
    arguments += ["-o", options] if options else []
    state = {"XDG_STATE_HOME": str(directory / "state")}  # what it leaves is for no other test
    started = start_mount(arguments, {**os.environ, **state, **environ}, is_detached=True)
    assert started.is_serving, started.message
    try:
        yield Mounted(path, started.process, log)
    finally:
        started.process.terminate()
        try:
            started.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.process.kill()
            started.process.wait()
        # Asking first is no use: a dead mount does not look like one to os.path.ismount.
        unmount = ["fusermount3", "-uz", str(path)]
        subprocess.run(unmount, check=False, stderr=subprocess.DEVNULL)


def kill(running: Mounted) -> None:
    """Kill a mount, at whatever it is, and free its place: who waits for it is told."""
    running.process.kill()
    running.process.wait()
    subprocess.run(["fusermount3", "-uz", str(running.path)], check=True)


def run(*arguments: object, status: int = 0) -> str:
    """Run a tool; return what it prints, and insist on its exit status."""
    return _finished(*arguments, status=status).stdout


def run_all(*arguments: object) -> str:
    """Run a tool that must succeed; return what it prints, its complaints too."""
    done = _finished(*arguments, status=0)
    return done.stdout + done.stderr


def _finished(*arguments: object, status: int) -> subprocess.CompletedProcess[str]:
    texts = [str(argument) for argument in arguments]
    done = subprocess.run(texts, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status, f"{texts}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done
