"""What a service manager is told of a mount: that it serves, lives, and still has to store.

The protocol is a datagram of lines to the socket in NOTIFY_SOCKET: a library for it would be
longer than the twenty lines that it takes. Without the variable nothing is sent.

The watchdog is fed by the event loop, which answers every request of the kernel: what does
not turn any more is a mount that hangs.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Sized

log = logging.getLogger(__name__)

TURN_SECONDS: Final = 5.0  # between two looks at what is on its way
# What is asked for at each turn while an upload is waited for: enough for some missed turns.
EXTENSION_SECONDS: Final = 60
MICROSECONDS: Final = 1_000_000
# Never let a mount wait for who watches it.
KIND: Final = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK


class ServiceManager:
    """Who started us and wants to hear how we are; nobody, if `address` is empty.

    Args:
        address: Of its socket; `@` stands for the zero of an abstract one.
        watchdog_seconds: After how long a silence it kills us; None for never.
    """

    def __init__(self, address: str, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self.turn_seconds = min(TURN_SECONDS, (watchdog_seconds or TURN_SECONDS * 2) / 2)
        self._is_stopping = False
        self._status = ""

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> ServiceManager:
        """Return who started us, as it says in the variables for that."""
        address = environ.get("NOTIFY_SOCKET", "")
        is_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environ.get("WATCHDOG_USEC", "")
        if not is_for_us or not microseconds.isdigit():
            return cls(address)
        return cls(address, int(microseconds) / MICROSECONDS)

    def tell_stopping(self) -> None:
        """Say that we end, as soon as what is waited for is stored."""
        self._is_stopping = True
        self._tell("STOPPING=1", *self._changed("unmounting"))

    async def attend(
        self,
        status: str,
        waiting: Callable[[], Sequence[tuple[object, int]]],
        written: Callable[[], Sized],
    ) -> None:
        """Say that the mount serves; then at each turn that we live, and what is being stored.

        Until cancelled, if there is somebody to tell.

        Args:
            status: One line for people, when there is nothing else to say.
            waiting: Gives path and bytes of each image that somebody waits for.
            written: Gives the images that are being written, these among them.
        """
        self._tell("READY=1", *self._changed(status))
        while self._address:
            uploads = waiting()
            does = "unmounting" if self._is_stopping else status
            if stored := _storing(uploads) or _writing(written()):
                does = f"{does}, {stored}"
            lines = ["WATCHDOG=1", *self._changed(does)]
            if self._is_stopping and uploads:
                lines.append(f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * MICROSECONDS}")
            self._tell(*lines)
            await trio.sleep(self.turn_seconds)

    def _changed(self, status: str) -> list[str]:
        if status == self._status:
            return []
        self._status = status
        return [f"STATUS={' '.join(status.split())}"]

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, KIND) as out:
                out.sendto("\n".join(lines).encode(errors="replace"), address)
        except OSError as exc:
            log.warning("the service manager does not listen reason=%s", exc.strerror)


def _storing(uploads: Sequence[tuple[object, int]]) -> str:
    size = sum(size for _, size in uploads)
    return f"storing {_images(len(uploads))}: {size} bytes" if uploads else ""


def _writing(images: Sized) -> str:
    return f"{_images(len(images))} being written" if len(images) else ""


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
