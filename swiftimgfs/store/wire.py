"""Ranges of objects straight from the socket into buffers of ours, in the thread that asks.

The one hot path to Swift. `requests` costs a millisecond of CPU a request, and its bodies
are copied once more on the way; `http.client` reads from the socket into the buffer that
the kernel's reply is made of. (1 GiB from a server on loopback, 4 threads: 478 MB/s with
swiftclient's chunks, 662 with urllib3's readinto, 804 like this.)

What requests knows and http.client does not, the environment's proxies and CA bundles, is
asked of requests; where a proxy is in the way, it makes the request too.
"""

from __future__ import annotations

import functools
import http.client
import io
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests
import swiftclient

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.store.auth import TransportOptions

# What one recv asks for at most: more than a socket holds, little enough to tell progress.
CHUNK = 1024 * 1024
# What a read waits for at most, and how soon the one before it must have got as much: a slow
# line must not look like a silent one. (One that turns slow in between does below this much in
# the patience of a try, 6 KiB/s by default, and is then asked for again.)
MOST_AWAITED = 64 * 1024
FAST = 0.02  # seconds
ERROR_BODY = 64 * 1024  # of an answer that is an error: more is not read to be told


class Filling(Protocol):
    """Where bytes go. Both methods are called in the thread that fetches."""

    def rest(self) -> memoryview:
        """Return the buffer for what is still missing; empty when all is there."""
        ...

    def arrived(self, count: int) -> None:
        """Say that `count` bytes more are in place."""
        ...


class Sink(Filling, Protocol):
    """Where the bytes of a range go."""

    def abandon(self) -> None:
        """Say that a thread was given up that may still write into the buffer."""
        ...


class Target(Sink, Protocol):
    """A sink that says how much it takes."""

    @property
    def filled(self) -> int:
        """How many bytes are in place."""
        ...

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...


class Wire:
    """A connection to the server of one storage URL, for GETs with a body.

    Used by one thread at a time; `abort` may be called by another.
    """

    def __init__(self, storage_url: str, transport: TransportOptions) -> None:
        parts = urlsplit(storage_url)
        self.url = storage_url
        self.account = parts.path.rstrip("/")
        self.is_fresh = True
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=transport.timeout, context=_tls_context(transport)
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=transport.timeout)

    def get(
        self, target: str, headers: Mapping[str, str], patience: float
    ) -> http.client.HTTPResponse:
        """Return the answer to a GET of `target`, whose body is still to be read.

        A connection that the server closed while nobody used it is made anew.

        Raises:
            TimeoutError: Nothing came for `patience` seconds; so does reading the body.
        """
        if self._is_dropped():
            self.close()
        was_idle = self._connection.sock is not None
        self._connection.timeout = patience
        if self._connection.sock is not None:
            self._connection.sock.settimeout(patience)
        try:
            return self._get(target, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            if not was_idle:
                raise
            return self._get(target, headers)

    def _get(self, target: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        connection = self._connection
        connection.putrequest("GET", target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value.encode())
        connection.endheaders()
        return connection.getresponse()

    @property
    def plain_socket(self) -> socket.socket | None:
        """The socket that bodies come from as they are, None with TLS."""
        sock = self._connection.sock
        return None if isinstance(sock, ssl.SSLSocket) else sock

    def abort(self) -> None:
        """Have a thread that waits for this connection fail at once."""
        sock = self._connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next GET makes another."""
        self._connection.close()

    def _is_dropped(self) -> bool:
        """Return whether an idle connection has something to say, which can only be goodbye."""
        sock = self._connection.sock
        if sock is None:
            return False
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))


def fill(
    response: http.client.HTTPResponse,
    sink: Filling,
    what: str,
    sock: socket.socket | None = None,
) -> None:
    """Read the body into `sink`, to its end.

    With the socket below it, each read waits for as much as the one before it got: on a fast
    line that is fewer system calls, and fewer times that a thread is woken. (SO_RCVLOWAT, of
    Linux's poll too: socket(7).)

    Raises:
        BrokenBodyError: The body ended early.
    """
    awaited = 0  # what came with the headers is not in the socket any more
    try:
        while rest := sink.rest():
            started = time.monotonic()
            count = _read_some(response, rest[:CHUNK], is_first=not awaited)
            if not count:
                raise errors.BrokenBodyError(f"{what}: the body ended early")
            sink.arrived(count)
            is_fast = awaited and time.monotonic() - started < FAST
            awaited = min(count if is_fast else 1, MOST_AWAITED, len(rest) - count)
            if sock is not None and awaited:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, awaited)
    finally:
        if sock is not None:
            with suppress(OSError):  # closed at the end of the body
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _read_some(
    response: http.client.HTTPResponse, buffer: memoryview, *, is_first: bool
) -> int:
    """Return how many bytes were read: what has come, at least one, none at the end.

    `readinto` of a response waits until all of the buffer is full: a slow line would look like
    a silent one, and who needs only the first bytes would wait for a megabyte. `readinto1` of
    the file below it does not, but for what came with the headers.
    """
    body = getattr(response, "fp", None)
    if not isinstance(body, io.BufferedReader) or not response.length:
        return response.readinto(buffer)
    ready = len(body.peek()) if is_first else CHUNK
    count = body.readinto1(buffer[: min(ready, response.length)])
    response.length -= count
    if count and not response.length:
        response.close()  # the connection stays
    return count


def failure_of(response: http.client.HTTPResponse, what: str) -> swiftclient.ClientException:
    """Return an answer that is an error as swiftclient would raise it."""
    return swiftclient.ClientException(
        what,
        http_status=response.status,
        http_reason=response.reason,
        http_response_headers={key.lower(): value for key, value in response.getheaders()},
        http_response_content=response.read(ERROR_BODY),
    )


@functools.cache
def has_proxy(storage_url: str) -> bool:
    """Return whether the environment wants requests to this URL to go through a proxy."""
    return bool(requests.utils.get_environ_proxies(storage_url, no_proxy=None))


@functools.cache
def _tls_context(transport: TransportOptions) -> ssl.SSLContext:
    """Return the TLS settings that requests would use: it may name another bundle of CAs."""
    context = ssl.create_default_context(cafile=_ca_bundle(transport))
    if transport.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if transport.certificate:
        context.load_cert_chain(transport.certificate, transport.certificate_key)
    return context


def _ca_bundle(transport: TransportOptions) -> str | None:
    if transport.insecure:
        return None
    with requests.Session() as session:
        settings: Mapping[str, Any] = session.merge_environment_settings(
            "https://", {}, None, transport.cacert or True, None
        )
    verify = settings["verify"]
    return verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
