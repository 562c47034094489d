"""A service manager's end of sd_notify(3): a socket, and what was said to it."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Listener:
    """Everything that was said, a line each."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self.lines: list[str] = []

    def wait_for(self, beginning: str, seconds: float = 30) -> str:
        """Return the next line that begins so; those before it are passed over."""
        deadline = time.monotonic() + seconds
        passed = len(self.lines)
        while True:
            for line in self.lines[passed:]:
                if line.startswith(beginning):
                    return line
            passed = len(self.lines)
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            self.lines += self._socket.recv(4096).decode().split("\n")


@contextlib.contextmanager
def listening(path: Path | str) -> Iterator[Listener]:
    """Listen at a path, or at an abstract name that begins with a zero."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(str(path))
        yield Listener(receiving)
