"""Bodies from a real socket: in as few reads as the line allows, and none that waits too long."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.errors import BrokenBodyError
from swiftimgfs.store.auth import TransportOptions
from swiftimgfs.store.wire import FAST, MOST_AWAITED, Wire, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Script = Callable[[socket.socket], None]

MIB = 1024 * 1024
TIMEOUT = 2.0
SLOW = 2 * FAST  # seconds between a slow line's packets


class Sink:
    """A buffer that knows what came when, and what the socket's reads waited for then."""

    def __init__(self, size: int, sock: socket.socket | None = None) -> None:
        self.buffer = bytearray(size)
        self.sock = sock
        self.counts: list[int] = []
        self.awaited: list[int] = []

    def rest(self) -> memoryview:
        return memoryview(self.buffer)[sum(self.counts) :]

    def arrived(self, count: int) -> None:
        self.counts.append(count)
        if self.sock is not None:
            self.awaited.append(lowest(self.sock))


def lowest(sock: socket.socket) -> int:
    """Return how many bytes a read of a socket waits for."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


def head(size: int) -> bytes:
    return f"HTTP/1.1 206 Partial Content\r\nContent-Length: {size}\r\n\r\n".encode()


def content(size: int) -> bytes:
    """Return at least `size` bytes of which no two kilobytes are alike in the same place."""
    return bytes(range(251)) * (size // 251 + 1)


@contextlib.contextmanager
def served(*answers: Script) -> Iterator[Wire]:
    """Connect to a server that does one of `answers` for each request of one connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT)

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(10 * TIMEOUT)
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for answer in answers:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(4096)
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    wire = Wire(f"http://127.0.0.1:{port}/v1/AUTH_a", TransportOptions())
    try:
        yield wire
    finally:
        wire.close()
        thread.join(20)
        listener.close()


def get(wire: Wire, size: int) -> Sink:
    """Fetch a body of `size` bytes as a mount does."""
    response = wire.get("/c/o", {}, TIMEOUT)
    sink = Sink(size, wire.plain_socket)
    fill(response, sink, "c/o", wire.plain_socket)
    return sink


def all_at_once(size: int) -> Script:
    return lambda connection: connection.sendall(head(size) + content(size)[:size])


def test_a_fast_line_is_read_in_large_pieces_that_are_the_body():
    with served(all_at_once(8 * MIB)) as wire:
        sink = get(wire, 8 * MIB)

    assert bytes(sink.buffer) == content(8 * MIB)[: 8 * MIB]
    assert 1 < max(sink.awaited) <= MOST_AWAITED


def test_no_read_waits_for_more_than_the_one_before_it_got_nor_for_more_than_is_missing():
    with served(all_at_once(2 * MIB + 12_345)) as wire:
        sink = get(wire, 2 * MIB + 12_345)

    missing = 2 * MIB + 12_345
    for count, awaited in zip(sink.counts[:-1], sink.awaited[1:], strict=True):
        missing -= count
        assert awaited <= max(missing, 1)
    before = [1, 1, *sink.counts]
    # What was set when a piece came had been set after the piece before.
    assert all(a <= max(b, 1) for a, b in zip(sink.awaited, before[1:], strict=False))


def test_a_slow_line_is_not_held_up_and_not_seen_as_silent():
    packets = 20

    def answer(connection: socket.socket) -> None:
        connection.sendall(head(10 * packets))
        for number in range(packets):
            time.sleep(SLOW)  # noqa: TID251  # no trio here
            connection.sendall(content(10 * packets)[10 * number : 10 * number + 10])

    with served(answer) as wire:
        sink = get(wire, 10 * packets)

    assert bytes(sink.buffer) == content(10 * packets)[: 10 * packets]
    assert max(sink.counts) <= 40
    assert len(sink.counts) > packets // 2


def test_a_line_that_turns_slow_is_read_as_it_comes_again():
    """What a read waits for at most is what it may be late by, once."""
    size = MIB + 1_000_000

    def answer(connection: socket.socket) -> None:
        connection.sendall(head(size) + content(MIB)[:MIB])
        for start in range(MIB, size, 50_000):
            time.sleep(SLOW)  # noqa: TID251  # no trio here
            connection.sendall(content(size)[start : min(start + 50_000, size)])

    with served(answer) as wire:
        sink = get(wire, size)

    assert bytes(sink.buffer) == content(size)[:size]
    assert sink.awaited[-1] <= 100_000


def test_the_next_answer_on_a_connection_is_not_held_up():
    """Its few bytes are less than what reads of the body before waited for."""
    size = 4 * MIB
    with served(all_at_once(size), all_at_once(3)) as wire:
        first = get(wire, size)
        sock = wire.plain_socket
        assert sock is not None
        after = lowest(sock)
        started = time.monotonic()
        second = get(wire, 3)
        seconds = time.monotonic() - started
        assert wire.plain_socket is sock

    assert max(first.awaited) > 100
    assert after == 1
    assert bytes(second.buffer) == content(3)[:3]
    assert seconds < TIMEOUT / 2


def test_a_body_that_ends_early_is_an_error_at_once():
    def answer(connection: socket.socket) -> None:
        connection.sendall(head(4 * MIB) + content(MIB)[:MIB])
        connection.shutdown(socket.SHUT_WR)

    with served(answer) as wire:
        response = wire.get("/c/o", {}, TIMEOUT)
        sink = Sink(4 * MIB, wire.plain_socket)
        started = time.monotonic()
        with pytest.raises(BrokenBodyError, match="c/o: the body ended early"):
            fill(response, sink, "c/o", wire.plain_socket)

    assert time.monotonic() - started < TIMEOUT / 2
    assert sum(sink.counts) == MIB  # what came is not fetched again
    assert bytes(sink.buffer[:MIB]) == content(MIB)[:MIB]


def test_after_an_error_reads_of_the_socket_wait_for_nothing():
    def answer(connection: socket.socket) -> None:
        connection.sendall(head(4 * MIB) + content(MIB)[:MIB])
        with contextlib.suppress(OSError):
            connection.recv(1)  # until the other side is closed

    class Full(Sink):
        def arrived(self, count: int) -> None:
            super().arrived(count)
            if len(self.counts) > 1 and self.awaited[-1] > 1:
                raise KeyError

    with served(answer) as wire:
        sock = wire.plain_socket
        response = wire.get("/c/o", {}, TIMEOUT)
        sock = wire.plain_socket
        assert sock is not None
        with pytest.raises(KeyError):
            fill(response, Full(4 * MIB, sock), "c/o", sock)
        assert lowest(sock) == 1


def test_a_silent_line_is_an_error_after_the_timeout():
    def answer(connection: socket.socket) -> None:
        connection.sendall(head(4 * MIB) + content(MIB)[:MIB])
        connection.recv(1)

    with served(answer) as wire, pytest.raises(TimeoutError):
        get(wire, 4 * MIB)


def test_a_body_in_the_same_packet_as_its_headers_is_not_waited_for():
    with served(all_at_once(10)) as wire:
        started = time.monotonic()
        sink = get(wire, 10)

    assert time.monotonic() - started < TIMEOUT / 2
    assert sink.counts == [10]


def test_a_sink_that_wants_nothing_more_is_given_nothing_more():
    with served(all_at_once(MIB)) as wire:
        response = wire.get("/c/o", {}, TIMEOUT)
        sink = Sink(1000)

        fill(response, sink, "c/o", wire.plain_socket)

        assert bytes(sink.buffer) == content(1000)[:1000]


def test_bodies_over_tls_have_no_socket_below_them():
    """What waits in the socket says nothing about what was decrypted already."""
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context()
    wrapped = context.wrap_socket(
        ours, server_hostname="swift.example", do_handshake_on_connect=False
    )
    wire = Wire("https://swift.example/v1/AUTH_a", TransportOptions())
    assert wire.plain_socket is None

    wire._connection.sock = wrapped
    with contextlib.closing(wire), theirs:
        assert wire.plain_socket is None


def test_a_plain_connection_has_its_socket():
    wire = Wire("http://swift.example/v1/AUTH_a", TransportOptions())
    assert wire.plain_socket is None

    ours, theirs = socket.socketpair()
    wire._connection.sock = ours
    with contextlib.closing(wire), theirs:
        assert wire.plain_socket is ours
