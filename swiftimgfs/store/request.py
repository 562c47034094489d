"""What is asked of Swift and answered, and how often: values, and nothing that talks.

A `Payload` hashes itself; else all here is pure.
"""

from __future__ import annotations

import hashlib
import http
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from swiftimgfs import errors

FIRST_BACKOFF = 0.5  # seconds, doubling: 0.5 1 2 4 … until the tries are used up
LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 60.0
# A body may take as long as a slow line needs; this much a second on top of the timeout
# tells slow from dead (the socket's own timeout already tells stalled).
SLOWEST_UPLOAD = 256 * 1024
# The exchange may wait twice for the socket (connect, answer) and once for a token.
TIMEOUTS_IN_AN_EXCHANGE = 3
# A read that hears nothing for this long is asked again of another server behind the same
# name: sooner would be more load on a store that is only slow.
SHORTEST_PATIENCE = 2.0


class Head:
    """The MD5 of the first `size` bytes of something; never changes."""

    __slots__ = ("_digest", "size")

    def __init__(self) -> None:
        """Be that of no bytes."""
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def followed_by(self, buffers: Iterable[bytes | memoryview]) -> Head:
        """Return the head with `buffers` after it; blocks: 750 MB/s."""
        longer = Head()
        longer._digest, longer.size = self._digest.copy(), self.size
        for buffer in buffers:
            longer._digest.update(buffer)
            longer.size += len(buffer)
        return longer

    def md5(self) -> str:
        """Return the MD5, hexadecimal."""
        return self._digest.hexdigest()


NO_HEAD: Final = Head()


class Payload:
    """What a PUT sends: buffers that are sent again from the start when it is retried.

    Buffers go to the socket as they are, without being joined, and with their MD5 as the
    `ETag`, so that Swift refuses bytes that were damaged on the way.
    """

    __slots__ = ("_buffers", "_head", "_md5", "_size", "sent")

    def __init__(
        self,
        buffers: Iterable[bytes | memoryview],
        size: int | None = None,
        head: Head = NO_HEAD,
    ) -> None:
        """Send `buffers`, one after the other.

        Args:
            buffers: They can be gone through more than once.
            size: Bytes of all of them, where going through them costs something.
            head: Of their first bytes, which are then not hashed again.
        """
        self._buffers = buffers
        self._head = head
        self._size = sum(len(buffer) for buffer in buffers) if size is None else size
        self._md5 = ""
        self.sent = 0  # bytes that were given to the socket, of the latest try

    def md5(self) -> str:
        """Return the MD5 of the bytes; the first call blocks: 750 MB/s."""
        if not self._md5:
            self._md5 = self._head.followed_by(self._after(self._head.size)).md5()
        return self._md5

    def _after(self, skipped: int) -> Iterator[bytes | memoryview]:
        for buffer in self._buffers:
            if skipped < len(buffer):
                yield memoryview(buffer)[skipped:]
            skipped = max(0, skipped - len(buffer))

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.sent = 0
        for buffer in self._buffers:
            yield buffer
            self.sent += len(buffer)


class ZeroBytes:
    """Zeros to be sent: `size` of them, from one block."""

    _BLOCK = memoryview(bytes(1024 * 1024))

    def __init__(self, size: int) -> None:
        self._size = size

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, self._size, len(self._BLOCK)):
            yield self._BLOCK[: min(len(self._BLOCK), self._size - start)]


@dataclass(frozen=True, slots=True)
class Request:
    """One request; names are unquoted, headers as they are sent.

    It goes to the account, or with `is_below_account` off to the cluster, for `/info`.
    """

    method: str
    container: str = ""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Payload = b""
    is_below_account: bool = True

    @property
    def path(self) -> str:
        """The path below the storage URL, quoted."""
        parts = [part for part in (self.container, self.name) if part]
        return "".join(f"/{_quoted(part)}" for part in parts)

    @property
    def target(self) -> str:
        """The path and query below the storage URL."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.method} {self.container or 'account'}/{self.name}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Response:
    """What Swift answered: status, headers by lower-cased name, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def heartbeat_answer(request: Request, status: int, body: bytes) -> dict[str, str] | None:
    """Return what a request with `heartbeat=on` was answered at last; None for any other.

    Swift says 202 at once, blanks while it works, and the real answer in the body (`slo.py`):
    its status as `:status`, and headers that it told.
    """
    if "heartbeat" not in request.query or status != http.HTTPStatus.ACCEPTED:
        return None
    try:
        told = json.loads(body)
        answer = {
            ":status": str(told["Response Status"]),
            "etag": str(told.get("Etag", "")),
            "last-modified": str(told.get("Last Modified", "")),
            ":body": f"{told.get('Response Body', '')} {told.get('Errors', '')}",
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {":status": "503 Cut off", ":body": ""}  # whether it was done nobody knows
    return answer


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried."""

    tries: int = 5
    timeout: float = 60.0

    @property
    def patience(self) -> float:
        """Seconds for which the first try of a read waits for a byte."""
        return min(self.timeout, max(SHORTEST_PATIENCE, self.timeout / 6))

    def deadline(self, request: Request) -> float:
        """Return the seconds that one try of `request` may take."""
        return self.timeout * TIMEOUTS_IN_AN_EXCHANGE + len(request.body) / SLOWEST_UPLOAD

    def wait_before(self, attempt: int, failure: errors.SwiftImgFsError) -> float:
        """Return the seconds to wait before try number `attempt` (2 is the first retry)."""
        if failure.retry_after is not None:
            return min(failure.retry_after, LONGEST_RETRY_AFTER)
        backoff = min(FIRST_BACKOFF * 2.0 ** (attempt - 2), LONGEST_BACKOFF)
        return backoff * random.uniform(0.5, 1.0)  # noqa: S311  # spreads hosts, hides nothing


def _quoted(name: str) -> str:
    """Quote a name, and the dots of a part that is only dots.

    urllib3 would resolve `c/../other` to another container's object before sending it, and
    names in a shared account are anybody's. requests sends `%2E` as the dot that it means.
    """
    parts = quote(name).split("/")
    return "/".join(p.replace(".", "%2E") if p in {".", ".."} else p for p in parts)
