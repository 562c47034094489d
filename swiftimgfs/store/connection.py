"""Requests to Swift: connections lent to threads, retries, deadlines, translated failures.

The only door to threads. A request blocks in a thread of its own with a connection of its
own; trio waits for it. Retrying is done here and not in swiftclient, which sleeps in the
thread where nothing can cancel it, and keeps per-request state in its Connection.

Invariants: at most `size` requests carry bytes of images at once, and `SPARE` connections
more are in use at once; a connection that was abandoned in the middle of a request or a body
is closed and never lent again; of a request that was given up nothing more is sent, so that
no old PUT arrives after a newer one; a refused token is renewed once for a request.
"""

from __future__ import annotations

import functools
import http
import logging
import os
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import swiftclient
import swiftclient.client
import trio

from swiftimgfs import errors
from swiftimgfs.store.answers import check_range, headers_of, raise_for_status
from swiftimgfs.store.attempts import Attempt, Sending
from swiftimgfs.store.auth import open_connection
from swiftimgfs.store.failures import failure_of_status, translated
from swiftimgfs.store.request import (
    Payload,
    Request,
    Response,
    RetryPolicy,
)
from swiftimgfs.store.traffic import Traffic
from swiftimgfs.store.wire import Wire, failure_of, fill, has_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from swiftimgfs.store.auth import Access, Identity, TransportOptions
    from swiftimgfs.store.wire import Sink

log = logging.getLogger(__name__)

T = TypeVar("T")

DISK_READERS = 4
# Connections for what carries no bytes of images: who looks at a name does not stand behind
# transfers, which take all others for as long as a slow line needs.
SPARE = 2


class TokenRefusedError(errors.AccessDeniedError):
    """HTTP 401 to a request with a token: a new token may cure it, once.

    Attributes:
        was_over: The token had come to its end while the request was on its way.
    """

    was_over = False


class ConnectionPool:
    """Makes requests on behalf of one identity, `size` that carry images at once."""

    def __init__(
        self,
        identity: Identity,
        *,
        size: int,
        transport: TransportOptions,
        retry: RetryPolicy,
    ) -> None:
        self.retry: Final = retry
        self.traffic: Final = Traffic()
        self._identity = identity
        self._transport = transport
        self._slots = trio.Semaphore(size + SPARE)
        self._transfers = trio.Semaphore(size)  # each takes a slot, too
        self._limiter = trio.CapacityLimiter(size + SPARE)
        self._processors = trio.CapacityLimiter(os.cpu_count() or 1)
        self._disk_readers = trio.CapacityLimiter(DISK_READERS)
        self._disk_writers = trio.CapacityLimiter(1)
        self._idle: list[swiftclient.client.HTTPConnection] = []
        self._wires: list[Wire] = []
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
        async with self._turn(is_transfer=isinstance(request.body, Payload)):
            return await self._retrying(request, self._exchange)

    async def fetch(self, request: Request, expected: str, sink: Sink, patience: float) -> None:
        """Make one try of a ranged GET, whose bytes go into `sink` as they come.

        Not retried, but for a token that is refused: only who owns the sink knows what is in
        it. A connection on which nothing comes for `patience` seconds is closed.

        Args:
            request: With its `Range` and `If-Match`.
            expected: What `Content-Range` starts with when the answer is the right one.
            sink: Takes the bytes.
            patience: Seconds.

        Raises:
            ImageChangedError: Something else was answered than what was asked for.
            StalledError: Nothing came for too long.
            StoreUnavailableError: The connection broke; what arrived until then is good.
        """
        async with self._turn(is_transfer=True):
            for attempt in range(1, self.retry.tries + 1):
                try:
                    await self._try(request, expected, Attempt(sink), patience)
                except TokenRefusedError as failure:
                    if (attempt > 1 and not failure.was_over) or attempt == self.retry.tries:
                        raise
                    log.info("token refused, asking for another request=%s", request)
                else:
                    return

    @asynccontextmanager
    async def _turn(self, *, is_transfer: bool) -> AsyncIterator[None]:
        async with self._transfers if is_transfer else nullcontext(), self._slots:
            yield

    async def _try(
        self, request: Request, expected: str, attempt: Attempt, patience: float
    ) -> None:
        call = functools.partial(self._fetch, request, expected, attempt, patience)
        with self.traffic.exchange(request) as attempt.exchange:
            try:
                await self.run_in_thread(call, str(request), self.retry.deadline(request))
            finally:
                attempt.end()
            attempt.exchange.answered(http.HTTPStatus.PARTIAL_CONTENT)
        if attempt.wire is not None:
            self._wires.append(attempt.wire)

    async def aclose(self) -> None:
        """Close the idle connections, and give back what the identity made for us."""
        while self._idle:
            self._idle.pop().close()
        while self._wires:
            self._wires.pop().close()
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
                self.traffic.retries += 1
                log.warning("retrying attempt=%d wait=%.1f reason=%s", attempt, wait, failure)
                await trio.sleep(wait)

    async def _exchange(self, request: Request) -> Response:
        with self.traffic.exchange(request) as exchange:
            connection, response = await self._in_thread(request, self._send)
            exchange.answered(response.status, len(response.body))
        connection.resp = None  # of which a long listing is megabytes
        self._idle.append(connection)
        return response

    async def _in_thread(
        self,
        request: Request,
        blocking: Callable[[Request, swiftclient.client.HTTPConnection | None, Sending], T],
    ) -> T:
        connection = self._idle.pop() if self._idle else None
        sending = Sending(request.body)
        call = functools.partial(blocking, request, connection, sending)
        try:
            return await self.run_in_thread(call, str(request), self.retry.deadline(request))
        finally:
            sending.end()

    async def compute(self, blocking: Callable[[], None]) -> None:
        """Return when `blocking` has returned, in a thread: what takes a processor's time."""
        await trio.to_thread.run_sync(  # noqa: TID251  # the door
            blocking, limiter=self._processors
        )

    async def read_disk(self, blocking: Callable[[], None]) -> None:
        """The same for what reads from a disk, which may hang: cancelled, it is left behind."""
        await trio.to_thread.run_sync(  # noqa: TID251  # the door
            blocking, limiter=self._disk_readers, abandon_on_cancel=True
        )

    async def write_disk(self, blocking: Callable[[], None]) -> None:
        """The same for what writes to it, one thing after the other, also when left behind."""
        await trio.to_thread.run_sync(  # noqa: TID251  # the door
            blocking, limiter=self._disk_writers, abandon_on_cancel=True
        )

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
        self,
        request: Request,
        connection: swiftclient.client.HTTPConnection | None,
        sending: Sending,
    ) -> tuple[swiftclient.client.HTTPConnection, Response]:
        with translated(str(request), is_exclusive="If-None-Match" in request.headers):
            connection, response = self._start(request, connection, sending)
            try:
                body = response.read()
                raise_for_status(request, response, body)
            except BaseException:
                connection.close()
                raise
        return connection, Response(response.status, headers_of(response), body)

    def _fetch(
        self, request: Request, expected: str, attempt: Attempt, patience: float
    ) -> None:
        what = str(request)
        try:
            with translated(what):
                access = self._identity.access()
                self.storage_url = access.storage_url
                if has_proxy(access.storage_url):
                    self._fetch_by_proxy(request, expected, attempt)
                    return
                wire = attempt.wire = self._wire_to(access.storage_url)
                try:
                    headers = {**access.headers, **request.headers}
                    response = wire.get(wire.account + request.target, headers, patience)
                    if response.status == http.HTTPStatus.UNAUTHORIZED:
                        self._refused(access, failure_of(response, what), what)
                    check_range(response, expected, what)
                    fill(response, attempt, what, wire.plain_socket)
                except BaseException as exc:
                    attempt.wire = None
                    wire.close()
                    if isinstance(exc, TimeoutError):
                        raise errors.StalledError(
                            f"{what}: nothing came for {patience:.0f} s"
                        ) from exc
                    raise
        finally:
            attempt.is_done = True

    def _fetch_by_proxy(self, request: Request, expected: str, attempt: Attempt) -> None:
        """Do the same by requests, which knows proxies, and copies each byte once more."""
        connection, response = self._start(request, None, Sending(request.body))
        try:
            check_range(response, expected, str(request))
            fill(response.raw, attempt, str(request))
        finally:
            connection.close()

    def _refused(self, access: Access, exc: swiftclient.ClientException, what: str) -> NoReturn:
        failure = failure_of_status(exc, what)
        refusal = TokenRefusedError(
            str(failure), status=failure.status, transaction=failure.transaction
        )
        refusal.was_over = self._identity.invalidate(access)
        raise refusal

    def _wire_to(self, storage_url: str) -> Wire:
        while self._wires:
            with suppress(IndexError):  # another thread was quicker
                wire = self._wires.pop()
                if wire.url == storage_url:
                    return wire
                wire.close()
        return Wire(storage_url, self._transport)

    def _start(
        self,
        request: Request,
        connection: swiftclient.client.HTTPConnection | None,
        sending: Sending,
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
            target = account + request.target
            connection.request(request.method, target, sending.body(), headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            connection.close()
            exc = swiftclient.ClientException.from_response(response, str(request), b"")
            self._refused(access, exc, str(request))
        return connection, response
