"""A Keystone server as a child process over one directory.

The directory holds everything: the sqlite database, the fernet keys, the configuration
and the logs. All of it can be copied elsewhere and served from there, as the database
names no path and no port: its identity endpoints are written with $(public_endpoint)s,
which Keystone replaces by the address this process was started with.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from tests.support import keystone_server
from tests.support.child import Child, ChildError

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
PUBLIC_ENDPOINT = "$(public_endpoint)s"

# A start takes 2 s; the rest is for a machine that runs many tests at once.
START_SECONDS = 60

_CONFIGURATION = """\
[DEFAULT]
public_endpoint = {public_endpoint}
use_stderr = true

[database]
connection = sqlite:///{directory}/keystone.sqlite
# A test's database need not survive a power failure.
sqlite_synchronous = false

[fernet_tokens]
key_repository = {directory}/fernet-keys

[fernet_receipts]
key_repository = {directory}/fernet-keys

[credential]
key_repository = {directory}/credential-keys

[token]
expiration = {token_expiration}

[identity]
# The least that bcrypt takes: a password is checked in 1 ms instead of 250.
password_hash_rounds = 4
# The most that bcrypt takes; a larger one is a warning per password.
max_password_length = 72
"""


class KeystoneError(Exception):
    """Keystone could not be set up or did not start; the message ends with its log."""


class KeystoneProcess:
    """A running Keystone; `directory` must hold a database and keys already.

    Attributes:
        port: The loopback port it listens on.
        auth_url: The address of its v3 API.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        token_expiration: int = 3600,
        public_endpoint: str | None = None,
    ) -> None:
        with socket.create_server((HOST, port)) as listener:
            self.port: int = listener.getsockname()[1]
            self.auth_url = f"http://{HOST}:{self.port}/v3"
            configuration = configure(
                directory,
                port=self.port,
                token_expiration=token_expiration,
                public_endpoint=public_endpoint,
            )
            self._child = Child(
                keystone_server.__name__,
                [str(listener.fileno())],
                log=directory / "keystone.log",
                environ={
                    "OS_KEYSTONE_CONFIG_FILES": str(configuration),
                    "EVENTLET_NO_GREENDNS": "yes",  # a resolver that takes long to import
                },
                pass_fds=[listener.fileno()],
            )
        self._wait_until_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and wait for it; nothing happens if it has ended already."""
        self._child.stop()

    def _wait_until_ready(self) -> None:
        try:
            self._child.read_line(START_SECONDS)
        except ChildError as exc:
            self.stop()
            raise KeystoneError(f"Keystone did not start: {exc}") from exc
        except BaseException:
            self.stop()
            raise


def configure(
    directory: Path, *, port: int, token_expiration: int, public_endpoint: str | None = None
) -> Path:
    """Write Keystone's configuration for `directory` and return its path.

    Without a public endpoint the port is what clients are told.
    """
    path = directory / "keystone.conf"
    path.write_text(
        _CONFIGURATION.format(
            public_endpoint=public_endpoint or f"http://{HOST}:{port}",
            directory=directory,
            token_expiration=token_expiration,
        )
    )
    return path
