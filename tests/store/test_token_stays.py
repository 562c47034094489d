"""A token goes to its account's storage URL, and nowhere else."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import pytest

from swiftimgfs import errors
from swiftimgfs.store.auth import Access, FixedIdentity, LegacyIdentity
from swiftimgfs.store.request import Request
from tests.support.pools import TRANSPORT, pool_of

TRIES = 2


class Server:
    """Answers every request alike, and remembers the tokens that it was shown."""

    def __init__(self, status: int = 204, headers: dict[str, str] | None = None) -> None:
        self.shown: list[str | None] = []
        self.status, self.headers = status, headers or {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                outer.shown.append(self.headers["X-Auth-Token"] or self.headers["X-Auth-Key"])
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # its names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, account: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/{account}"


class Moving:
    """An identity that is somebody else at each renewal."""

    warning = ""

    def __init__(self, *accesses: Access, was_over: bool = False) -> None:
        self.accesses = list(accesses)
        self.was_over = was_over

    def access(self) -> Access:
        return self.accesses[0]

    def invalidate(self, access: Access) -> bool:
        self.accesses.pop(0)
        return self.was_over

    def close(self) -> None:
        pass


class Untouched:
    """A sink that has all it wants."""

    def rest(self) -> memoryview:
        return memoryview(b"")

    def arrived(self, count: int) -> None:
        raise AssertionError(count)

    def abandon(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_a_redirection_is_refused_and_not_followed(status, method):
    with Server() as other, Server(status, {"Location": other.url("AUTH_a")}) as swift:
        pool = pool_of(FixedIdentity(swift.url("AUTH_a"), "token"), tries=TRIES)
        async with contextlib.aclosing(pool):
            with pytest.raises(errors.StoreRefusedError, match=str(status)):
                await pool.request(Request(method, "c", "o"))

    assert swift.shown == ["token"]
    assert other.shown == []


async def test_a_redirected_body_is_refused():
    with Server() as other, Server(302, {"Location": other.url("AUTH_a")}) as swift:
        pool = pool_of(FixedIdentity(swift.url("AUTH_a"), "token"), tries=TRIES)
        async with contextlib.aclosing(pool):
            with pytest.raises(errors.StoreRefusedError):
                await pool.fetch(Request("GET", "c", "o"), "bytes 0-9/", Untouched(), 5)

    assert swift.shown == ["token"]
    assert other.shown == []


async def test_after_a_move_old_connections_carry_no_new_token_to_ranges():
    with (
        Server(206, {"Content-Range": "bytes 0-9/10"}) as old,
        Server(206, {"Content-Range": "bytes 0-9/10"}) as new,
    ):
        first = Access(old.url("AUTH_a"), {"X-Auth-Token": "old"})
        second = Access(new.url("AUTH_b"), {"X-Auth-Token": "new"})
        identity = Moving(first, second)
        pool = pool_of(identity, tries=TRIES)
        async with contextlib.aclosing(pool):
            await pool.fetch(Request("GET", "c", "o"), "bytes 0-9/", Untouched(), 5)
            identity.invalidate(first)
            await pool.fetch(Request("GET", "c", "o"), "bytes 0-9/", Untouched(), 5)

    assert old.shown == ["old"]
    assert new.shown == ["new"]


def test_a_key_is_not_taken_along_to_where_an_auth_address_points():
    with Server() as other, Server(302, {"Location": other.url("AUTH_a")}) as auth:
        identity = LegacyIdentity(auth.url(""), "a:u", "key", TRANSPORT)
        with pytest.raises(errors.StoreRefusedError, match="302"):
            identity.access()

    assert auth.shown == ["key"]
    assert other.shown == []


async def test_after_a_move_old_connections_carry_no_new_token():
    with Server() as old, Server() as new:
        first = Access(old.url("AUTH_a"), {"X-Auth-Token": "old"})
        second = Access(new.url("AUTH_b"), {"X-Auth-Token": "new"})
        identity = Moving(first, second)
        pool = pool_of(identity, tries=TRIES)
        async with contextlib.aclosing(pool):
            await pool.request(Request("HEAD", "c"))
            identity.invalidate(first)
            await pool.request(Request("HEAD", "c"))

    assert old.shown == ["old"]
    assert new.shown == ["new"]


async def test_a_second_401_is_the_end_of_it():
    with Server(401) as swift:
        accesses = [
            Access(swift.url("AUTH_a"), {"X-Auth-Token": f"token {n}"}) for n in range(4)
        ]
        pool = pool_of(Moving(*accesses))
        async with contextlib.aclosing(pool):
            with pytest.raises(errors.AccessDeniedError):
                await pool.request(Request("HEAD", "c"))

    assert swift.shown == ["token 0", "token 1"]


async def test_a_token_that_ended_on_the_way_is_renewed_as_often_as_there_are_tries():
    with Server(401) as swift:
        accesses = [
            Access(swift.url("AUTH_a"), {"X-Auth-Token": f"token {n}"}) for n in range(9)
        ]
        pool = pool_of(Moving(*accesses, was_over=True))
        async with contextlib.aclosing(pool):
            with pytest.raises(errors.AccessDeniedError):
                await pool.request(Request("HEAD", "c"))

    assert 2 <= len(swift.shown) <= TRIES + 1
