"""Requests that fail, and connections that are cut, stalled or lost in a body."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.reading.chunks import fetch_whole
from swiftimgfs.store.auth import FixedIdentity
from swiftimgfs.store.request import Payload, Request
from tests.support.fault_control import Fault
from tests.support.pools import pool_of
from tests.support.store_reads import (
    BODY,
    Buffer,
    fetch,
    md5,
    put_segments,
    read_range,
    requests,
)


async def test_a_busy_swift_is_asked_again(faulty, store):
    faulty.control.inject(Fault(method="PUT", target="/c/o", status=503, count=2))

    info = await store.put_object("c", "o", Payload([BODY]), {})

    assert info.etag == md5(BODY)
    assert [r.status for r in requests(faulty, "PUT", "/c/o")] == [503, 503, 201]


async def test_a_swift_that_stays_busy_is_unavailable(faulty, store):
    faulty.control.inject(
        Fault(target="/c/o", status=503, count=None, headers={"Retry-After": "0"})
    )

    with pytest.raises(errors.StoreUnavailableError):
        await store.head_image("c", "o")

    assert len(requests(faulty, "HEAD", "/c/o")) == 3


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, errors.StoreRefusedError),
        (403, errors.AccessDeniedError),
        (409, errors.StoreRefusedError),
        (413, errors.TooLargeError),
        (507, errors.StoreFullError),
    ],
)
async def test_what_another_try_does_not_cure_is_told_at_once(faulty, store, status, failure):
    faulty.control.inject(Fault(method="PUT", target="/c/o", status=status, count=None))

    with pytest.raises(failure):
        await store.put_object("c", "o", b"x", {})

    assert len(requests(faulty, "PUT", "/c/o")) == 1


async def test_a_quota_that_is_used_up_is_told_as_that(store, client):
    client.post_container("c", {"X-Container-Meta-Quota-Bytes": "10"})

    with pytest.raises(errors.QuotaExceededError):
        await store.put_object("c", "o", Payload([BODY]), {})


async def test_a_connection_lost_in_an_upload_is_made_again(faulty, store):
    faulty.control.inject(Fault(method="PUT", target="/c/o", cut_upload_after=1000))

    info = await store.put_object("c", "o", Payload([BODY]), {})

    assert info.etag == md5(BODY)
    assert (await store.head_image("c", "o")).etag == md5(BODY)


async def test_an_upload_is_sent_with_the_md5_of_its_bytes(faulty, store):
    await store.put_object("c", "o", Payload([BODY]), {})

    (request,) = requests(faulty, "PUT", "/c/o")
    assert request.headers["etag"] == md5(BODY)


async def test_bytes_that_swift_finds_damaged_are_corrupt(faulty, store):
    class Damaged(Payload):
        def md5(self) -> str:
            return md5(b"what was meant")

    with pytest.raises(errors.CorruptDataError):
        await store.put_object("c", "o", Damaged([BODY]), {})

    with pytest.raises(errors.NotFoundError):
        await store.head_image("c", "o")


async def test_an_answer_with_another_etag_is_corrupt(faulty, store):
    faulty.control.inject(
        Fault(method="PUT", target="/c/o", status=201, headers={"Etag": md5(b"other")})
    )

    with pytest.raises(errors.CorruptDataError):
        await store.put_object("c", "o", Payload([BODY]), {})


async def test_a_manifest_answered_with_another_etag_is_corrupt(faulty, store):
    segments = await put_segments(store, BODY)
    faulty.control.inject(
        Fault(method="PUT", target="/c/slo", status=201, headers={"Etag": md5(b"other")})
    )

    with pytest.raises(errors.CorruptDataError):
        await store.put_manifest("c", "slo", segments, {})


async def test_a_range_that_is_cut_is_resumed_with_the_next_byte(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=1234))
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=20_000))
    source = Stored("c", "o", info.etag, 100, len(BODY))

    buffer = await read_range(store, pool, source, 40_000)

    assert bytes(buffer.view) == BODY[100:40_100]
    assert not buffer.is_abandoned
    asked = requests(faulty, "GET", "/c/o")
    assert [request.range for request in asked] == [
        "bytes=100-40099",
        "bytes=1334-40099",
        "bytes=21334-40099",
    ]
    assert {request.headers["if-match"] for request in asked} == {f'"{info.etag}"'}


async def test_a_range_that_is_always_cut_is_an_error(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=10, count=None))

    with pytest.raises(errors.StoreUnavailableError):
        await read_range(store, pool, Stored("c", "o", info.etag, 0, len(BODY)), 99)

    assert len(requests(faulty, "GET", "/c/o")) == 3


async def test_an_image_replaced_between_a_cut_and_its_resumption_is_told(
    faulty, store, pool, client
):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=10))
    buffer = Buffer(99)
    buffer.after = (10, lambda: client.put_object("c", "o", BODY[::-1]))

    with pytest.raises(errors.ImageChangedError):
        await fetch_whole(store, source, buffer, pool.retry)

    assert bytes(buffer.view) == BODY[:10] + bytes(89)


async def test_a_token_forgotten_before_a_range_is_renewed_and_the_range_is_whole(
    faulty, store, pool
):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", forget_tokens=True))

    data = await fetch(store, source, len(BODY))

    assert data == BODY
    assert [r.status for r in requests(faulty, "GET", "/c/o")] == [401, 206]
    assert len(requests(faulty, "GET", "/auth/v1.0")) == 1


async def test_a_token_that_is_refused_again_for_a_range_is_an_error_and_no_loop(faulty, store):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", status=401, count=None))

    with pytest.raises(errors.AccessDeniedError):
        await fetch(store, Stored("c", "o", info.etag, 0, len(BODY)), 10)

    assert len(requests(faulty, "GET", "/c/o")) == 2


@pytest.mark.parametrize("after", [0, 1000])
async def test_a_range_that_stalls_is_cut_and_asked_for_again(faulty, store, pool, after):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.clear()
    faulty.control.inject(
        Fault(method="GET", target="/c/o", stall_after=after, stall_seconds=30)
    )
    buffer = Buffer(len(BODY))

    with trio.fail_after(4), pytest.raises(errors.StalledError):
        await store.fetch_range(source, buffer, 0.5)
    assert buffer.filled == after
    with trio.fail_after(4):
        await fetch_whole(store, source, buffer, pool.retry)

    assert bytes(buffer.view) == BODY


def drip(server: socket.socket, pieces: int) -> None:
    """Answer one request with a range of `pieces` times 10 bytes, slowly."""
    pause = threading.Event()
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        size = 10 * pieces
        head = f"Content-Range: bytes 0-{size - 1}/{size}\r\nContent-Length: {size}"
        connection.sendall(f"HTTP/1.1 206 Partial\r\n{head}\r\n\r\n".encode())
        for _ in range(pieces):
            pause.wait(0.2)
            connection.sendall(b"0123456789")


async def test_a_slow_range_that_goes_on_is_not_cut_and_told_as_it_comes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server, 6))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1/AUTH_a"
        pool = pool_of(FixedIdentity(url, "token"), size=1, tries=1)
        buffer = Buffer(60)
        progress = []
        buffer.after = (0, lambda: progress.append(buffer.filled))
        async with contextlib.aclosing(pool):
            await pool.fetch(Request("GET", "c", "o"), "bytes 0-59/", buffer, 0.6)
        thread.join()

    assert bytes(buffer.view) == b"0123456789" * 6
    assert progress == [10, 20, 30, 40, 50, 60]


async def test_a_connection_given_up_in_a_body_is_not_used_again(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.inject(
        Fault(method="GET", target="/c/o", stall_after=1000, stall_seconds=30)
    )
    buffer = Buffer(len(BODY))

    with trio.move_on_after(0.5) as scope:
        await store.fetch_range(source, buffer, 30)

    assert scope.cancelled_caught
    assert (buffer.filled, buffer.is_abandoned) == (1000, True)
    assert pool._wires == []
    assert await fetch(store, source, len(BODY)) == BODY


async def test_an_error_closes_its_connection(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.inject(Fault(method="GET", target="/c/o", status=503, body="x" * 100_000))

    with pytest.raises(errors.StoreUnavailableError):
        await fetch(store, source, len(BODY))

    assert pool._wires == []
    assert await fetch(store, source, len(BODY)) == BODY


async def test_a_body_that_was_read_gives_its_connection_back(store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))

    await fetch(store, source, 10)
    (wire,) = pool._wires
    await fetch(store, source, 10)

    assert pool._wires == [wire]


async def test_a_connection_that_was_closed_while_nobody_used_it_is_made_again(store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    await fetch(store, source, 10)
    pool._wires[0].abort()

    assert await fetch(store, source, len(BODY)) == BODY


async def test_an_unknown_method_is_refused(pool):
    with pytest.raises(errors.StoreRefusedError):
        await pool.request(Request("BREW", "c"))
