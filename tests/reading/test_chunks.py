"""Broken ranges are resumed: every byte once and in order, or an error."""

from __future__ import annotations

import hypothesis
import pytest
import trio
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.reading.chunks import fetch_whole
from tests.support.range_store import FakeRangeStore, FakeRetry, Fault, Object

CONTENT = bytes(range(256))
OBJECT = Object("o", len(CONTENT), "etag", CONTENT)
BROKEN = errors.BrokenBodyError("cut")


class Buffer:
    """A `Target` of so many bytes, which notes how they came."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))
        self.size = size
        self.filled = 0
        self.counts: list[int] = []

    def rest(self) -> memoryview:
        return self.view[self.filled :]

    def arrived(self, count: int) -> None:
        self.filled += count
        self.counts.append(count)

    def abandon(self) -> None:
        raise AssertionError("no thread was given up here")


def cut_after(*counts: int):
    """Return faults: each GET is cut after the next number of bytes, the rest is whole."""

    def fault(get):
        return Fault(counts[get.number], BROKEN) if get.number < len(counts) else None

    return fault


def asked(store) -> list[tuple[int, int]]:
    return [(get.start, get.size) for get in store.gets]


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(
    breaks=st.lists(st.integers(0, 40), max_size=4),
    size=st.integers(1, 200),
    start=st.integers(0, 16),
    step=st.integers(1, 50),
)
async def test_every_byte_arrives_once_and_in_order_wherever_it_breaks(
    breaks, size, start, step
):
    store = FakeRangeStore(OBJECT, step=step, faults=cut_after(*breaks))
    target = Buffer(size)

    await fetch_whole(store, OBJECT.source(start), target, FakeRetry(tries=len(breaks) + 1))

    assert bytes(target.view) == CONTENT[start : start + size]
    assert sum(target.counts) == store.fetched == size
    assert all(get.end == start + size for get in store.gets)
    assert store.running == 0


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(tries=st.integers(1, 5), breaks_after=st.integers(0, 19))
async def test_tries_used_up_are_an_error_and_never_a_short_result(tries, breaks_after):
    store = FakeRangeStore(OBJECT, faults=cut_after(*[breaks_after // tries] * tries))
    target = Buffer(20)

    with pytest.raises(errors.BrokenBodyError):
        await fetch_whole(store, OBJECT.source(), target, FakeRetry(tries=tries))

    assert len(store.gets) == tries
    assert target.filled < target.size


async def test_a_resumed_range_starts_with_the_next_byte():
    store = FakeRangeStore(OBJECT, faults=cut_after(10, 5))

    await fetch_whole(store, OBJECT.source(3), Buffer(30), FakeRetry())

    assert asked(store) == [(3, 30), (13, 20), (18, 15)]


async def test_a_whole_range_is_one_get():
    store = FakeRangeStore(OBJECT)

    await fetch_whole(store, OBJECT.source(), Buffer(200), FakeRetry())

    assert asked(store) == [(0, 200)]


async def test_what_broke_after_the_last_byte_is_whole():
    store = FakeRangeStore(OBJECT, faults=cut_after(20))
    target = Buffer(20)

    await fetch_whole(store, OBJECT.source(), target, FakeRetry())

    assert asked(store) == [(0, 20)]
    assert bytes(target.view) == CONTENT[:20]


async def test_what_ends_early_without_saying_so_is_resumed_too():
    class Short(FakeRangeStore):
        async def fetch_range(self, source, target, patience):
            try:
                await super().fetch_range(source, target, patience)
            except errors.BrokenBodyError:
                return

    store = Short(OBJECT, faults=cut_after(10))
    target = Buffer(20)

    await fetch_whole(store, OBJECT.source(), target, FakeRetry())

    assert bytes(target.view) == CONTENT[:20]


async def test_what_arrived_is_told_before_the_rest_is_there(autojump_clock):
    store = FakeRangeStore(OBJECT, step=4, rate=4)
    target = Buffer(8)

    with trio.move_on_after(1.5):
        await fetch_whole(store, OBJECT.source(), target, FakeRetry())

    assert (target.filled, bytes(target.view)) == (4, CONTENT[:4] + bytes(4))
    assert store.running == 0


@pytest.mark.parametrize(
    "failure",
    [
        errors.ImageChangedError("another version"),
        errors.AccessDeniedError("no"),
        errors.StoreFullError("of what?"),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
async def test_what_resuming_cannot_cure_passes_at_once(failure, number):
    def faults(get):
        return Fault(10, failure if get.number == number else BROKEN)

    store = FakeRangeStore(OBJECT, faults=faults)

    with pytest.raises(type(failure)) as caught:
        await fetch_whole(store, OBJECT.source(), Buffer(30), FakeRetry())

    assert caught.value is failure
    assert len(store.gets) == number + 1


async def test_each_resumption_waits_as_the_policy_says(autojump_clock):
    retry = FakeRetry(wait=100.0)
    store = FakeRangeStore(OBJECT, faults=cut_after(1, 1, 1))

    await fetch_whole(store, OBJECT.source(), Buffer(10), retry)

    assert [get.at for get in store.gets] == [0, 100, 200, 300]
    assert retry.attempts == [2, 3, 4]


@pytest.mark.parametrize("retry_after", [None, 7.0])
async def test_a_store_that_is_busy_is_given_time(autojump_clock, retry_after):
    waited_for = []

    class Noting(FakeRetry):
        def wait_before(self, attempt, failure):
            waited_for.append((attempt, failure.retry_after))
            return failure.retry_after or 1.0

    busy = errors.StoreUnavailableError("503", retry_after=retry_after)
    store = FakeRangeStore(OBJECT, faults=lambda get: Fault(0, busy) if get.at < 2 else None)

    await fetch_whole(store, OBJECT.source(), Buffer(10), Noting())

    assert waited_for[0] == (2, retry_after)
    assert store.gets[1].at == (retry_after or 1.0)


async def test_a_stalled_range_is_asked_again_at_once_with_twice_the_patience(autojump_clock):
    def faults(get):
        return Fault(5, is_silent=True) if get.number < 3 else None

    store = FakeRangeStore(OBJECT, faults=faults)
    retry = FakeRetry(wait=1000.0, patience=2.0)

    await fetch_whole(store, OBJECT.source(), Buffer(30), retry)

    assert [(get.at, get.patience) for get in store.gets] == [(0, 2), (2, 4), (6, 8), (14, 16)]
    assert asked(store) == [(0, 30), (5, 25), (10, 20), (15, 15)]
    assert retry.attempts == []


async def test_a_break_between_stalls_leaves_the_patience_as_it_was(autojump_clock):
    faults = [Fault(1, is_silent=True), Fault(1, BROKEN), Fault(1, is_silent=True)]
    store = FakeRangeStore(OBJECT, faults=lambda get: dict(enumerate(faults)).get(get.number))

    await fetch_whole(store, OBJECT.source(), Buffer(30), FakeRetry(patience=2.0))

    assert [get.patience for get in store.gets] == [2, 4, 4, 8]


async def test_stalls_use_up_the_tries_too(autojump_clock):
    store = FakeRangeStore(OBJECT, faults=lambda _: Fault(0, is_silent=True))

    with pytest.raises(errors.StalledError):
        await fetch_whole(store, OBJECT.source(), Buffer(30), FakeRetry(tries=3))

    assert len(store.gets) == 3
