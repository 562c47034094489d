"""The tests' side of the fault layer: say what shall go wrong, ask what was requested.

The layer itself (`faults`) runs inside the embedded Swift's process, around the proxy; the
two talk over HTTP, on the proxy's own port, below `CONTROL_PREFIX`.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTROL_PREFIX = "/__test__/"
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to some of the requests that match; several effects may be combined.

    Attributes:
        method: Of the requests concerned; None for any.
        target: Regular expression, searched for in the decoded path, with ``?query`` if
            there is one.
        skip: How many matching requests pass unharmed first.
        count: How many are then harmed; None for all.
        forget_tokens: Make all of tempauth's tokens invalid, this request's too.
        delay: Seconds before anything else happens.
        cut_upload_after: Close the connection after so many bytes of the request's body,
            without an answer; the backend never hears of the request.
        status: Answer this instead of asking the backend, with `headers` and `body`.
        lose_answer: Let the backend do it, then close the connection without an answer.
        hold: Keep the client waiting until `FaultControl.clear`, which then closes its
            connection: ``before`` the backend hears of it, or ``after`` it has done it.
        cut_after: Close the connection after so many bytes of the answer's body. This and
            the next two are nothing at or beyond the end of the body.
        stall_after: Pause after so many bytes of the answer's body, `stall_seconds` long.
        corrupt_at: Flip all bits of this byte of the answer's body, counted from 0.
    """

    method: str | None = None
    target: str = ""
    skip: int = 0
    count: int | None = 1
    forget_tokens: bool = False
    delay: float = 0
    cut_upload_after: int | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    lose_answer: bool = False
    hold: str = ""
    cut_after: int | None = None
    stall_after: int | None = None
    stall_seconds: float = 60
    corrupt_at: int | None = None


@dataclass(slots=True)
class Request:
    """What the layer saw of one request and its answer.

    Attributes:
        path: Decoded.
        query: As it came, without the question mark.
        headers: All, names in lower case.
        started: Seconds since the epoch.
        status: As the client got it, None before that and if it got none.
        bytes_sent: Of the answer's body.
        bytes_received: Of the request's body.
        duration: In seconds, None while it goes on.
        harmed: A fault befell it.
        held: It is kept waiting, by `Fault.hold`.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    started: float
    status: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    duration: float | None = None
    harmed: bool = False
    held: bool = False

    @property
    def target(self) -> str:
        """Path and query, as `Fault.target` is searched for in them."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")


class FaultControl:
    """The fault layer of one proxy."""

    def __init__(self, base_url: str) -> None:
        self._address = urlsplit(base_url).netloc

    def journal(self) -> list[Request]:
        """Return the requests since the last `clear`, in the order they came."""
        return [Request(**record) for record in self._call("GET", "journal")]

    def inject(self, fault: Fault) -> None:
        """Let something go wrong; of several faults that match, the oldest happens."""
        self._call("POST", "faults", asdict(fault))

    def forget_tokens(self) -> None:
        """Make all tokens that tempauth gave out invalid, now."""
        self._call("DELETE", "tokens")

    def clear(self) -> None:
        """Forget the faults and the journal."""
        self._call("DELETE", "faults")
        self._call("DELETE", "journal")

    def _call(self, method: str, name: str, content: object = None) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, CONTROL_PREFIX + name, json.dumps(content))
            answer = connection.getresponse()
            assert answer.status == http.HTTPStatus.OK, answer.read()
            return json.load(answer)
        finally:
            connection.close()
