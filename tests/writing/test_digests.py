"""Digests of an image are made in order, in threads, and hold no byte longer than they must."""

from __future__ import annotations

import hashlib

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from swiftimgfs.writing import digests
from swiftimgfs.writing.digests import ALGORITHMS, BATCH, OrderedDigest


class Threads:
    """Computes when told to, as threads that are slow."""

    def __init__(self) -> None:
        self.may_go = trio.Event()
        self.calls = 0
        self.running = 0

    async def compute(self, blocking):
        self.calls += 1
        self.running += 1
        assert self.running == 1, "two batches of one digest at once"
        await self.may_go.wait()
        blocking()
        self.running -= 1

    def go(self):
        self.may_go.set()
        return self


def sha256(data: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(data).hexdigest()}


@pytest.fixture
def threads():
    return Threads()


@pytest.fixture
def digest(threads, nursery):
    return OrderedDigest(["sha256"], threads.compute, nursery)


async def test_nothing_has_the_digest_of_nothing(digest, threads):
    assert await digest.values() == sha256(b"")
    assert threads.calls == 0


async def test_every_algorithm_is_made_in_one_pass(threads, nursery):
    digest = OrderedDigest(ALGORITHMS, threads.go().compute, nursery)

    digest.feed(b"some")
    digest.feed(memoryview(b"thing"))

    made = await digest.values()
    assert made == {name: hashlib.new(name, b"something").hexdigest() for name in ALGORITHMS}
    assert len(made) >= 12
    assert threads.calls == 1


async def test_more_can_be_fed_after_the_values_were_asked_for(digest, threads):
    threads.go()
    digest.feed(b"one")
    assert await digest.values() == sha256(b"one")

    digest.feed(b" two")

    assert await digest.values() == sha256(b"one two")
    assert await digest.values() == sha256(b"one two")


async def test_feeding_neither_waits_nor_computes(digest, threads):
    for number in range(5):
        digest.feed(bytes([number]) * BATCH)
        await trio.testing.wait_all_tasks_blocked()

    assert threads.calls == 1  # a batch, that is still in its thread
    assert digest.backlog == 5 * BATCH
    threads.go()
    await digest.keep_up(0)
    assert digest.backlog == 0
    assert threads.calls == 2  # and one of all that came meanwhile


async def test_keep_up_waits_for_as_much_as_it_has_to(digest, threads):
    digest.feed(bytes(100))
    await digest.keep_up(100)
    assert threads.calls == 0

    with trio.move_on_after(0.05) as scope:
        await digest.keep_up(99)

    assert scope.cancelled_caught
    threads.go()
    await digest.keep_up(99)
    assert await digest.values() == sha256(bytes(100))


async def test_a_batch_is_never_all_there_is(digest, threads, monkeypatch):
    monkeypatch.setattr(digests, "LARGEST_BATCH", 10)
    threads.go()
    data = [b"0123456", b"789", b"x", b"a" * 25, b"b"]
    for piece in data:
        digest.feed(piece)

    assert await digest.values() == sha256(b"".join(data))
    assert threads.calls == 4


async def test_what_was_given_up_has_no_value_and_keeps_nothing(digest, threads):
    digest.feed(b"x" * BATCH)
    await trio.testing.wait_all_tasks_blocked()
    digest.feed(b"y")

    digest.give_up()
    digest.feed(b"z" * BATCH)

    assert digest.backlog == BATCH  # in its thread
    threads.go()
    assert await digest.values() == {}
    assert threads.calls == 1


async def test_who_waits_hears_of_giving_up(digest, threads, nursery):
    digest.feed(b"x")
    heard = []

    async def wait():
        heard.append(await digest.values())

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    threads.go()
    digest.give_up()
    await trio.testing.wait_all_tasks_blocked()

    assert heard == [{}]


async def test_a_restart_forgets_even_what_is_in_a_thread(digest, threads):
    digest.feed(b"x" * BATCH)
    await trio.testing.wait_all_tasks_blocked()

    digest.restart()
    digest.feed(b"new")
    threads.go()

    assert digest.size == 3
    assert await digest.values() == sha256(b"new")


async def test_after_giving_up_it_can_start_anew(digest, threads):
    threads.go()
    digest.feed(b"x")
    digest.give_up()
    digest.restart()
    digest.feed(b"y")

    assert await digest.values() == sha256(b"y")


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(1, 30), st.integers(1, 30))
def test_any_pieces_in_any_batches_have_the_digest_of_the_whole(pieces, batch, largest):
    async def run():
        async with trio.open_nursery() as nursery:
            digest = OrderedDigest(["sha256"], Threads().go().compute, nursery)
            for piece in pieces:
                digest.feed(piece)
                if len(piece) % 3 == 0:
                    await trio.lowlevel.checkpoint()
            return await digest.values()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "BATCH", batch)
        patch.setattr(digests, "LARGEST_BATCH", largest)
        assert trio.run(run) == sha256(b"".join(pieces))
