"""One try of a request, for as long as somebody waits for it.

A request blocks in a thread, which goes on when it was given up. From then on it must send
nothing more and write nothing into anybody's buffer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.store.request import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.store.traffic import Exchange
    from swiftimgfs.store.wire import Sink, Wire


class Sending:
    """The body of one try of a request, for as long as somebody waits for the answer."""

    def __init__(self, body: Payload | bytes) -> None:
        self._body = body
        self._is_over = False

    def body(self) -> Sending | bytes:
        """Return what is to be sent.

        Raises:
            StoreUnavailableError: Nobody wants it any more.
        """
        body = self._body
        self._check()
        return self if isinstance(body, Payload) else body

    def end(self) -> None:
        """Send nothing more, and let the bytes go.

        swiftclient keeps a connection's last answer, and requests in it what was asked: else
        each idle connection would hold a whole segment.
        """
        self._is_over = True
        self._body = b""

    def __bool__(self) -> bool:
        return True  # else an empty body would be none

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        body = self._body
        self._check()
        assert isinstance(body, Payload)  # noqa: S101  # by `body`
        for buffer in body:
            self._check()
            yield buffer

    def _check(self) -> None:
        if self._is_over:
            raise errors.StoreUnavailableError("given up before it was sent")


class Attempt:
    """One try of a ranged GET: its sink for as long as it is wanted, and the connection.

    A thread that was given up may still hold a buffer; from `end` on it gets no other.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()  # what arrives after the end is nobody's
        self._is_over = False
        self.is_done = False
        self.wire: Wire | None = None
        self.exchange: Exchange | None = None

    def rest(self) -> memoryview:
        """Return the buffer for what is still missing, nothing once the try is over."""
        return memoryview(b"") if self._is_over else self._sink.rest()

    def arrived(self, count: int) -> None:
        """Say that `count` bytes more are in place."""
        with self._lock:
            if not self._is_over:
                self._sink.arrived(count)
                if self.exchange is not None:
                    self.exchange.received += count

    def end(self) -> None:
        """Let the thread go, if it has not ended yet."""
        with self._lock:
            self._is_over = True
        if not self.is_done:
            self._sink.abandon()
            if self.wire is not None:
                self.wire.abort()
