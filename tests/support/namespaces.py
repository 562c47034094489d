"""A mount namespace of the tests' own, with other programs in /usr/sbin than this host's."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from tests.support.child import clean_environ, finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Namespace:
    """Where /usr/sbin is a directory of ours; what is mounted there, nobody else sees."""

    def __init__(self, holder: subprocess.Popen[str], environ: Mapping[str, str]) -> None:
        self._holder = holder
        self._environ = environ

    def run(self, *arguments: object, status: int = 0, seconds: float = 60) -> str:
        """Run a program there; insist on its exit status, return all that it prints."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", "--wd=/"]
        if os.geteuid():
            enter += ["--user", "--preserve-credentials"]
        environ = {**clean_environ(), **self._environ}
        done = finished([*enter, *map(str, arguments)], environ, seconds)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}"
        assert "Traceback" not in done.stdout
        return done.stdout


@contextlib.contextmanager
def namespace(programs: Path, environ: Mapping[str, str]) -> Iterator[Namespace]:
    """Give a mount namespace with `programs` as its /usr/sbin, which /sbin is, too."""
    command = ["unshare", "--mount"]
    if os.geteuid():
        command += ["--user", "--map-root-user"]
    script = 'mount --bind "$0" /usr/sbin && echo ready && exec cat'
    with subprocess.Popen(
        [*command, "sh", "-c", script, str(programs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        try:
            yield Namespace(holder, environ)
        finally:
            holder.stdin.close()  # ends it
