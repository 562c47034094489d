"""A request that was given up sends nothing more, and one that ended keeps nothing.

Else an old PUT could come after a newer one, and each idle connection would hold a segment.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.store.auth import Access, FixedIdentity
from swiftimgfs.store.request import Payload, Request
from tests.support.pools import pool_of
from tests.support.stored import content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.store.connection import ConnectionPool
    from tests.support.embedded_swift import FaultySwift

TIMEOUT = 0.2


class Pausing:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def pause(self) -> None:
        self.begun.set()
        assert self.may_go_on.wait(20)


class SlowToKnow(Pausing):
    """An identity that takes its time."""

    warning = ""

    def __init__(self, identity: FixedIdentity) -> None:
        super().__init__()
        self._identity = identity

    def access(self) -> Access:
        self.pause()
        return self._identity.access()

    def invalidate(self, access: Access) -> bool:
        return False

    def close(self) -> None:
        pass


class SlowToCome(Pausing):
    """The buffers of a body: hashed at once, and when they are sent the second is late."""

    is_hashed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"first "
        if self.is_hashed:
            self.pause()
        self.is_hashed = True
        yield b"second"


def identity_of(swift: FaultySwift) -> FixedIdentity:
    with contextlib.closing(swift.connect()) as client:
        return FixedIdentity(*client.get_auth())


async def give_up(pool: ConnectionPool, request: Request, pausing: Pausing) -> None:
    """Make a request that is given up where it pauses; have its thread go on then."""
    with pytest.raises(errors.StoreUnavailableError, match="no answer within"):
        await pool.request(request)
    assert pausing.begun.is_set()
    pausing.may_go_on.set()
    await trio.sleep(1)  # by then whatever it does is done


async def test_nothing_is_sent_when_the_token_came_too_late(
    swift: FaultySwift, container: str
) -> None:
    identity = SlowToKnow(identity_of(swift))
    pool = pool_of(identity, size=1, tries=1, timeout=TIMEOUT)
    swift.control.clear()

    await give_up(pool, Request("PUT", container, "late", body=b"manifest"), identity)

    assert swift.control.journal() == []
    await pool.aclose()


async def test_the_rest_of_a_body_is_not_sent(swift: FaultySwift, container: str) -> None:
    buffers = SlowToCome()
    body = Payload(buffers, size=len(b"first second"))
    pool = pool_of(identity_of(swift), size=1, tries=1, timeout=TIMEOUT)

    async with contextlib.aclosing(pool):
        await give_up(pool, Request("PUT", container, "late", body=body), buffers)

    assert body.sent == len(b"first ")
    assert content(swift, container, "late") is None


class Buffers(list[bytes]):
    """Those of a body, of which can be told whether somebody still has them."""


async def test_an_idle_connection_keeps_no_bytes(swift: FaultySwift, container: str) -> None:
    pool = pool_of(identity_of(swift), size=1)
    buffers = Buffers([b"first ", b"second"])
    kept = weakref.ref(buffers)

    async with contextlib.aclosing(pool):
        await pool.request(Request("PUT", container, "sent", body=Payload(buffers)))
        del buffers

        assert kept() is None
    assert content(swift, container, "sent") == b"first second"
