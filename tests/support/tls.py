"""TLS before a plain server of the tests, with a certificate authority of their own.

A front ends TLS on a loopback port and passes the bytes on, both ways, to the plain port.
It reads no HTTP: headers arrive as the client sent them, a broken connection breaks on the
other side too. What a server makes of its own address is the server's business: for Swift
see `https_layer`, for Keystone its `public_endpoint`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
CHUNK = 256 * 1024
# asyncio would wait half a minute for a client that does not say goodbye.
CLOSING_SECONDS = 1


class Authority:
    """A certificate authority.

    Attributes:
        ca_file: Its certificate, for clients that shall believe it.
        other_ca_file: That of an authority which has signed nothing.
    """

    def __init__(self, directory: Path) -> None:
        """Keep the files in `directory`, which is made if it is not there."""
        directory.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)
        self.other_ca_file = directory / "other-ca.pem"
        trustme.CA().cert_pem.write_to_path(self.other_ca_file)

    def server_context(self) -> ssl.SSLContext:
        """Return what a server on the loopback interface needs."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(HOST, "localhost").configure_cert(context)
        return context


class TlsFront:
    """A TLS port before a plain one.

    Attributes:
        authority: Who signed its certificate.
        port: Where it listens.
        backend_port: Where the bytes go; None turns everybody away, for as long as the
            backend is not up, which may have to know our port before it starts.
    """

    def __init__(self, authority: Authority, backend_port: int | None) -> None:
        self.authority = authority
        self.backend_port = backend_port
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # failed handshakes
        self._connections: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()
        self._is_serving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tls-front", daemon=True)

    @property
    def base_url(self) -> str:
        """The server's root as clients see it, without a slash at its end."""
        return f"https://{HOST}:{self.port}"

    @property
    def ca_file(self) -> str:
        """What clients must believe."""
        return str(self.authority.ca_file)

    @property
    def other_ca_file(self) -> str:
        """What is of no use to them."""
        return str(self.authority.other_ca_file)

    def start(self) -> None:
        """Return when it listens."""
        self._thread.start()
        self._is_serving.wait()

    def stop(self) -> None:
        """Close all connections and end."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        context = self.authority.server_context()
        server = await asyncio.start_server(self._accept, HOST, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._is_serving.set()
        await self._end.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0.05)  # the loop closes sockets in its next turns

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            if self.backend_port is not None:
                await _pass_on(reader, writer, self.backend_port)
        except OSError:
            return  # the client sees the end of its connection, and no more
        finally:
            await _close(writer)


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend_port: int
) -> None:
    """Pass bytes on, both ways; TLS has no half-closed state, so either end ends both."""
    backend_reader, backend_writer = await asyncio.open_connection(HOST, backend_port)
    pumps = [
        asyncio.create_task(_pump(reader, backend_writer)),
        asyncio.create_task(_pump(backend_reader, writer)),
    ]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await _close(backend_writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Send what is left, for a while, and close."""
    writer.close()
    try:
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), CLOSING_SECONDS)
    finally:
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


@contextlib.contextmanager
def tls_front(
    directory: Path, backend_port: int | None = None, *, authority: Authority | None = None
) -> Iterator[TlsFront]:
    """Run a TLS front while the context lasts.

    Args:
        directory: For the files of an authority of its own.
        backend_port: Of the plain server on the loopback interface; may be told later.
        authority: One that several fronts share, instead of its own.
    """
    front = TlsFront(authority or Authority(directory), backend_port)
    front.start()
    try:
        yield front
    finally:
        front.stop()


@contextlib.contextmanager
def trusted_by_children(authority: Authority) -> Iterator[None]:
    """Let the processes that are started while the context lasts believe an authority.

    As far as they use requests: Swift's keystonemiddleware does.
    """
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = str(authority.ca_file)
    try:
        yield
    finally:
        if before is None:
            del os.environ["REQUESTS_CA_BUNDLE"]
        else:
            os.environ["REQUESTS_CA_BUNDLE"] = before
