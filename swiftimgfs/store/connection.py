"""Requests to Swift: connections lent to threads, retries, deadlines, translated failures.

The only door to threads. A request blocks in a thread of its own with a connection of its
own; trio waits for it. Retrying is done here and not in swiftclient, which sleeps in the
thread where nothing can cancel it, and keeps per-request state in its Connection.

Invariants: at most `size` connections are in use at once; a connection that was abandoned
in the middle of a request or a body is closed and never lent again; a refused token is
renewed once for a request.
"""

from __future__ import annotations

import functools
import hashlib
import http
import logging
import random
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlencode

import swiftclient
import swiftclient.client
import trio

from swiftimgfs import errors
from swiftimgfs.store.auth import open_connection
from swiftimgfs.store.failures import failure_of_status, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from swiftimgfs.store.auth import Identity, TransportOptions

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_BACKOFF = 0.5  # seconds, doubling: 0.5 1 2 4 … until the tries are used up
LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 60.0
# A body may take as long as a slow line needs; this much a second on top of the timeout
# tells slow from dead (the socket's own timeout already tells stalled).
SLOWEST_UPLOAD = 256 * 1024
# The exchange may wait twice for the socket (connect, answer) and once for a token.
TIMEOUTS_IN_AN_EXCHANGE = 3


class TokenRefusedError(errors.AccessDeniedError):
    """HTTP 401 to a request with a token: a new token may cure it, once.

    Attributes:
        was_over: The token had come to its end while the request was on its way.
    """

    was_over = False


class Payload:
    """What a PUT sends: buffers that are sent again from the start when it is retried.

    Buffers go to the socket as they are, without being joined, and with their MD5 as the
    `ETag`, so that Swift refuses bytes that were damaged on the way.
    """

    __slots__ = ("_buffers", "_md5", "_size")

    def __init__(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Send `buffers`, one after the other."""
        self._buffers = buffers
        self._size = sum(len(buffer) for buffer in buffers)
        self._md5 = ""

    def md5(self) -> str:
        """Return the MD5 of the bytes; the first call blocks: 750 MB/s."""
        if not self._md5:
            digest = hashlib.md5(usedforsecurity=False)
            for buffer in self._buffers:
                digest.update(buffer)
            self._md5 = digest.hexdigest()
        return self._md5

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return iter(self._buffers)


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


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried."""

    tries: int = 5
    timeout: float = 60.0

    def deadline(self, request: Request) -> float:
        """Return the seconds that one try of `request` may take."""
        return self.timeout * TIMEOUTS_IN_AN_EXCHANGE + len(request.body) / SLOWEST_UPLOAD

    def wait_before(self, attempt: int, failure: errors.SwiftImgFsError) -> float:
        """Return the seconds to wait before try number `attempt` (2 is the first retry)."""
        if failure.retry_after is not None:
            return min(failure.retry_after, LONGEST_RETRY_AFTER)
        backoff = min(FIRST_BACKOFF * 2.0 ** (attempt - 2), LONGEST_BACKOFF)
        return backoff * random.uniform(0.5, 1.0)  # noqa: S311  # spreads hosts, hides nothing


class ConnectionPool:
    """Makes requests on behalf of one identity, `size` of them at once."""

    def __init__(
        self,
        identity: Identity,
        *,
        size: int,
        transport: TransportOptions,
        retry: RetryPolicy,
    ) -> None:
        self.retry: Final = retry
        self._identity = identity
        self._transport = transport
        self._slots = trio.Semaphore(size)
        self._limiter = trio.CapacityLimiter(size)
        self._idle: list[swiftclient.client.HTTPConnection] = []
        self.storage_url = ""

    @property
    def warning(self) -> str:
        """What somebody should know about how we got in; mostly empty."""
        return self._identity.warning

    async def request(self, request: Request) -> Response:
        """Return Swift's answer to `request`, retried while that may help.

        Raises:
            SwiftImgFsError: What the last try failed with.
        """
        async with self._slots:
            return await self._retrying(request, self._exchange)

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[ResponseBody]:
        """Lend the answer to `request` while its body is read; retried up to the headers.

        A body that breaks is not retried here: only who reads it knows where it stood.
        """
        async with self._slots:
            response = await self._retrying(request, self._open)
            try:
                yield response
            finally:
                response.close()
                if response.is_complete:
                    self._idle.append(response.connection)

    async def aclose(self) -> None:
        """Close the idle connections, and give back what the identity made for us."""
        while self._idle:
            self._idle.pop().close()
        with suppress(errors.StoreUnavailableError):
            await self.run_in_thread(self._identity.close, "leaving", self.retry.timeout)

    async def _retrying(
        self, request: Request, attempt_once: Callable[[Request], Awaitable[T]]
    ) -> T:
        attempt = 1
        is_token_fresh = False
        while True:
            try:
                return await attempt_once(request)
            except TokenRefusedError as failure:
                attempt += failure.was_over
                if is_token_fresh and not (failure.was_over and attempt <= self.retry.tries):
                    raise
                is_token_fresh = True
                log.info("token refused, asking for another request=%s", request)
            except errors.SwiftImgFsError as failure:
                attempt += 1
                if not failure.is_transient or attempt > self.retry.tries:
                    raise
                wait = self.retry.wait_before(attempt, failure)
                log.warning("retrying attempt=%d wait=%.1f reason=%s", attempt, wait, failure)
                await trio.sleep(wait)

    async def _exchange(self, request: Request) -> Response:
        connection, response = await self._in_thread(request, self._send)
        self._idle.append(connection)
        return response

    async def _open(self, request: Request) -> ResponseBody:
        connection, headers = await self._in_thread(request, self._send_for_body)
        return ResponseBody(self, request, connection, headers)

    async def _in_thread(
        self,
        request: Request,
        blocking: Callable[[Request, swiftclient.client.HTTPConnection | None], T],
    ) -> T:
        connection = self._idle.pop() if self._idle else None
        call = functools.partial(blocking, request, connection)
        return await self.run_in_thread(call, str(request), self.retry.deadline(request))

    async def run_in_thread(self, blocking: Callable[[], T], what: str, deadline: float) -> T:
        """Return what `blocking` returns; give up on it after `deadline` seconds.

        What is given up goes on in its thread until its socket times out, and its result,
        a connection with it, is dropped.
        """
        with trio.move_on_after(deadline):
            return await trio.to_thread.run_sync(  # noqa: TID251  # the door
                blocking, limiter=self._limiter, abandon_on_cancel=True
            )
        raise errors.StoreUnavailableError(f"{what}: no answer within {deadline:.0f} s")

    # ── in a thread ────────────────────────────────────────────────────────────────────

    def _send(
        self, request: Request, connection: swiftclient.client.HTTPConnection | None
    ) -> tuple[swiftclient.client.HTTPConnection, Response]:
        with translated(str(request), is_exclusive="If-None-Match" in request.headers):
            connection, response = self._start(request, connection)
            try:
                body = response.read()
                _raise_for_status(request, response, body)
            except BaseException:
                connection.close()
                raise
        return connection, Response(response.status, _headers_of(response), body)

    def _send_for_body(
        self, request: Request, connection: swiftclient.client.HTTPConnection | None
    ) -> tuple[swiftclient.client.HTTPConnection, Mapping[str, str]]:
        with translated(str(request)):
            connection, response = self._start(request, connection)
            if response.status >= http.HTTPStatus.MULTIPLE_CHOICES:
                try:
                    _raise_for_status(request, response, response.read())
                finally:
                    connection.close()
        return connection, _headers_of(response)

    def _start(
        self, request: Request, connection: swiftclient.client.HTTPConnection | None
    ) -> tuple[swiftclient.client.HTTPConnection, swiftclient.client.requests.Response]:
        access = self._identity.access()
        self.storage_url = access.storage_url
        if connection is not None and connection.url != access.storage_url:
            connection.close()  # of before a renewal that moved us: no token of now goes there
            connection = None
        if connection is None:
            _, connection = open_connection(access.storage_url, self._transport)
        account = connection.parsed_url.path.rstrip("/") if request.is_below_account else ""
        texts = {**access.headers, **request.headers}
        headers = {key: value.encode() for key, value in texts.items()}
        if isinstance(request.body, Payload):
            headers["ETag"] = request.body.md5().encode()
        try:
            connection.request(request.method, account + request.target, request.body, headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            connection.close()
            was_over = self._identity.invalidate(access)
            raise _token_refusal(request, response, was_over=was_over)
        return connection, response


class ResponseBody:
    """The body of one answer, on a connection that is lent while it is read."""

    def __init__(
        self,
        pool: ConnectionPool,
        request: Request,
        connection: swiftclient.client.HTTPConnection,
        headers: Mapping[str, str],
    ) -> None:
        self.headers = headers
        self.status: int = connection.resp.status
        self.connection = connection
        self._unread = int(headers.get("content-length", -1))
        self._pool = pool
        self._request = request

    @property
    def is_complete(self) -> bool:
        """Whether the whole body was read, so that the connection can be lent again."""
        return self._unread == 0

    async def readinto(self, buffer: memoryview) -> int:
        """Fill the start of `buffer` and return how many bytes came, one at least.

        Raises:
            BrokenBodyError: The connection broke, the body ended early, or nothing came
                for too long.
        """
        call = functools.partial(self._readinto, buffer)
        try:
            count = await self._pool.run_in_thread(
                call, str(self._request), self._pool.retry.deadline(self._request)
            )
        except errors.StoreUnavailableError as failure:
            raise errors.BrokenBodyError(str(failure)) from failure
        if count == 0:
            raise errors.BrokenBodyError(f"{self._request}: the body ended early")
        self._unread -= count
        return count

    def _readinto(self, buffer: memoryview) -> int:
        with translated(str(self._request)):
            count: int = self.connection.resp.raw.readinto(buffer)
        return count

    def close(self) -> None:
        """Give the connection up, unless the body was read to its end."""
        if not self.is_complete:
            with suppress(OSError):
                self.connection.close()


def _quoted(name: str) -> str:
    """Quote a name, and the dots of a part that is only dots.

    urllib3 would resolve `c/../other` to another container's object before sending it, and
    names in a shared account are anybody's. requests sends `%2E` as the dot that it means.
    """
    parts = quote(name).split("/")
    return "/".join(p.replace(".", "%2E") if p in {".", ".."} else p for p in parts)


def _headers_of(response: swiftclient.client.requests.Response) -> dict[str, str]:
    """Return headers by lower-cased name, as Swift keeps them: UTF-8, still quoted.

    swiftclient's own dictionary unquotes them; sent back in a POST, a manifest's header
    would then name other segments.
    """
    headers = {}
    for key, value in response.headers.items():
        raw = value.encode("latin-1")  # what http.client decoded it with
        headers[key.lower()] = raw.decode(errors="replace")
    return headers


def _raise_for_status(
    request: Request, response: swiftclient.client.requests.Response, body: bytes
) -> None:
    if response.status < http.HTTPStatus.MULTIPLE_CHOICES:  # a redirection is not followed
        return
    raise swiftclient.ClientException.from_response(response, str(request), body)


def _token_refusal(
    request: Request, response: swiftclient.client.requests.Response, *, was_over: bool
) -> TokenRefusedError:
    exc = swiftclient.ClientException.from_response(response, str(request), b"")
    refusal = TokenRefusedError(str(failure_of_status(exc, str(request))))
    refusal.was_over = was_over
    return refusal
