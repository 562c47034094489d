"""Requests to Swift as somebody sees them who looks at a mount: how many, how long, what now.

Counted by the loop, around each request; the thread that makes it only moves `received`.
"""

from __future__ import annotations

import bisect
import contextlib
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.store.request import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.store.request import Request

# Upper bounds in seconds, of the histogram of latencies; what took longer is in none of them.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
NO_STATUS: Final = 0  # the connection broke, or nothing came
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class RunningRequest:
    """A request that is on its way.

    Attributes:
        size: Bytes of its body, of the one that is sent or of the range that is asked for.
        done: How many of them have gone.
        seconds: Since it began.
    """

    method: str
    container: str
    name: str
    size: int
    done: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the requests of one method took.

    Attributes:
        counts: How many were within each of `BUCKETS`, and not within the one before.
        count: All of them.
        seconds: All of them together.
    """

    counts: tuple[int, ...]
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TrafficSnapshot:
    """What was asked of Swift since the start.

    Attributes:
        requests: By method and status.
        latencies: By method.
        retries: Requests that were sent once more.
    """

    requests: dict[tuple[str, int], int]
    latencies: dict[str, Latency]
    bytes_in: int
    bytes_out: int
    retries: int
    running: tuple[RunningRequest, ...]


class Exchange:
    """One request on its way, and its answer."""

    def __init__(self, request: Request) -> None:
        self.request: Final = request
        self.started: Final = time.monotonic()
        self.received = 0
        self.status = NO_STATUS

    def answered(self, status: int, received: int = 0) -> None:
        """Note what came back."""
        self.status = status
        self.received += received

    @property
    def sent(self) -> int:
        """Bytes of the body that were given to the socket."""
        body = self.request.body
        if isinstance(body, Payload):
            return body.sent
        return len(body) if self.status else 0

    def running(self, now: float) -> RunningRequest:
        """Return it as it is now."""
        request = self.request
        size = len(request.body)
        if match := _RANGE.fullmatch(request.headers.get("Range", "")):
            size = int(match[2]) - int(match[1]) + 1
        done = self.sent if request.body else self.received
        seconds = now - self.started
        return RunningRequest(
            request.method, request.container, request.name, size, done, seconds
        )


@dataclass(slots=True)
class _Times:
    counts: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        bucket = bisect.bisect_left(BUCKETS, seconds)
        if bucket < len(BUCKETS):
            self.counts[bucket] += 1


class Traffic:
    """All requests of one pool of connections."""

    def __init__(self) -> None:
        self.retries = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._times: dict[str, _Times] = {}
        self._bytes_in = self._bytes_out = 0
        self._running: dict[Exchange, None] = {}

    @contextlib.contextmanager
    def exchange(self, request: Request) -> Iterator[Exchange]:
        """Count a request while the context lasts; a failure says by itself what came back."""
        exchange = Exchange(request)
        self._running[exchange] = None
        try:
            yield exchange
        except errors.SwiftImgFsError as failure:
            exchange.status = failure.status or NO_STATUS
            raise
        finally:
            del self._running[exchange]
            self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        method = exchange.request.method
        self._requests[method, exchange.status] += 1
        self._bytes_in += exchange.received
        self._bytes_out += exchange.sent
        self._times.setdefault(method, _Times()).add(time.monotonic() - exchange.started)

    def snapshot(self) -> TrafficSnapshot:
        """Return what was counted so far, what is on its way included."""
        now = time.monotonic()
        return TrafficSnapshot(
            requests=dict(self._requests),
            latencies={
                method: Latency(tuple(times.counts), times.count, times.seconds)
                for method, times in self._times.items()
            },
            bytes_in=self._bytes_in + sum(e.received for e in self._running),
            bytes_out=self._bytes_out + sum(e.sent for e in self._running),
            retries=self.retries,
            running=tuple(exchange.running(now) for exchange in self._running),
        )
