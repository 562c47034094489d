"""The embedded Swift as its parent sees it: a child process to start and stop.

Blocking, standard library only: for the demonstration's start-up and for tests, never on
the data path of a mount.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from swiftimgfs.demo.configuration import Layout
from swiftimgfs.demo.options import SwiftOptions, format_arguments

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO

# It serves after less than a second; a machine busy with other things may need many.
_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 10.0


class EmbeddedSwiftError(Exception):
    """The embedded Swift did not start; the message holds what it said on stderr."""


class EmbeddedSwift:
    """A running one-node Swift; leaving the context stops it.

    Its data stay in the directory, and a later one in the same directory has them again.

    Attributes:
        directory: Where its data, settings and ``swift.log`` are.
        auth_url: For v1 authentication, of `user` with `key`, who may do everything in
            their account.
        storage_url: Of the account of `user`.
        port: Of the proxy on 127.0.0.1.
        keystone_port: Of the second proxy, None without ``keystone=``.
        pid: Of the child process.
    """

    def __init__(
        self,
        directory: Path | str,
        port: int = 0,
        *,
        start_timeout: float = _START_TIMEOUT_SECONDS,
        **options: Any,  # noqa: ANN401  -- checked by SwiftOptions
    ) -> None:
        """Start the server and wait until it serves.

        Args:
            directory: Made if it does not exist; for one server at a time.
            port: Of the proxy on 127.0.0.1; 0 takes a free one.
            start_timeout: In seconds.
            options: The other fields of `SwiftOptions`.

        Raises:
            EmbeddedSwiftError: It ended, or did not serve in time.
            OptionsError: The options cannot be expressed to Swift.
        """
        self.directory = Path(directory)
        self.options = SwiftOptions(port=port, **options)
        # A file and no pipe: nobody reads it while the server runs.
        with tempfile.TemporaryFile() as stderr:
            self._process = self._launch(stderr)
            try:
                ready = self._wait_until_ready(stderr, start_timeout)
            except BaseException:
                self.stop(timeout=0)
                raise
        self.auth_url: str = ready["auth_url"]
        self.storage_url: str = ready["storage_url"]
        self.port: int = ready["port"]
        self.keystone_port: int | None = ready.get("keystone_port")
        self.pid = self._process.pid

    @property
    def user(self) -> str:
        """The first user, as v1 authentication takes it."""
        return self.options.users[0].login

    @property
    def key(self) -> str:
        """The first user's key."""
        return self.options.users[0].key

    @property
    def base_url(self) -> str:
        """The proxy's root, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def environ(self) -> dict[str, str]:
        """Return the variables from which swift clients take who they are."""
        return {"ST_AUTH": self.auth_url, "ST_USER": self.user, "ST_KEY": self.key}

    def stop(self, timeout: float = _STOP_TIMEOUT_SECONDS) -> None:
        """End the server, by force after `timeout` seconds; again does nothing."""
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                *("-P", "-m", "swiftimgfs.demo.swift_server"),
                *format_arguments(self.options),
                f"--parent={os.getpid()}",
                str(self.directory),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=_environment_with_our_path(),
        )

    def _wait_until_ready(self, stderr: IO[bytes], timeout: float) -> dict[str, Any]:
        stdout = cast("IO[bytes]", self._process.stdout)  # there is one: _launch asked for it
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise EmbeddedSwiftError(
                    f"no Swift after {timeout:g} s{_said_on(stderr)}; {self._last_in_log()}"
                )
        # One short write by the child, hence never half a line.
        if not (line := stdout.readline()):
            status = self._process.wait()
            raise EmbeddedSwiftError(
                f"the one-node Swift ended with status {status}{_said_on(stderr)};"
                f" {self._last_in_log()}"
            )
        ready: dict[str, Any] = json.loads(line)
        return ready

    def _last_in_log(self) -> str:
        log = Layout(self.directory).log
        try:
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return f"its log, {log}, is not there yet"
        return f"its log, {log}, ends: {next(filter(None, reversed(lines)), 'nothing in it')}"


def _said_on(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    text = stderr.read().decode(errors="replace").strip()
    return f": {text}" if text else ""


def _environment_with_our_path() -> dict[str, str]:
    """Let the child import what we can, such as the tests' wrappers, and no resolver.

    Eventlet's own, which needs dnspython, is a quarter of the start; the only host is 127.0.0.1.
    """
    ours = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "EVENTLET_NO_GREENDNS": "yes",
    }
    return {**os.environ, **ours}
