"""Broken ranges are resumed: every byte once and in order, or an error."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import hypothesis
import pytest
import trio
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.reading.chunks import resumable_chunks

OBJECT = bytes(range(256))
SOURCE = Stored("c", "o", "etag", 0, len(OBJECT))


class FakeBody:
    """Bytes in chunks of some size, which end in a failure after so many bytes."""

    def __init__(self, data: bytes, chunk: int, breaks_after: int | None) -> None:
        self._data = data
        self._chunk = chunk
        self._left = len(data) if breaks_after is None else breaks_after

    async def readinto(self, buffer: memoryview) -> int:
        await trio.lowlevel.checkpoint()
        assert buffer
        count = min(len(buffer), self._chunk, self._left)
        if count == 0:
            raise errors.BrokenBodyError("cut")
        buffer[:count], self._data = self._data[:count], self._data[count:]
        self._left -= count
        return count


@dataclass
class FakeRangeStore:
    """A store of one object; each GET breaks after the next number in `breaks`."""

    breaks: list[int | None] = field(default_factory=list)
    chunk: int = 16
    failures: dict[int, errors.SwiftImgFsError] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)
    open_bodies: int = 0

    @asynccontextmanager
    async def open_range(self, source: Stored, size: int):
        number = len(self.asked)
        self.asked.append((source.start, size))
        if number in self.failures:
            raise self.failures[number]
        data = OBJECT[source.start : source.start + size]
        breaks_after = self.breaks[number] if number < len(self.breaks) else None
        self.open_bodies += 1
        try:
            yield FakeBody(data, self.chunk, breaks_after)
        finally:
            self.open_bodies -= 1


@dataclass
class FakeRetry:
    """Tries, and the same wait before each."""

    tries: int = 5
    wait: float = 0.0
    attempts: list[int] = field(default_factory=list)

    def wait_before(self, attempt: int, failure: errors.SwiftImgFsError) -> float:
        self.attempts.append(attempt)
        return self.wait


def buffers_of(*sizes: int) -> list[memoryview]:
    return [memoryview(bytearray(size)) for size in sizes]


async def fill(store, source, buffers, retry=None) -> list[int]:
    chunks = resumable_chunks(store, source, buffers, retry or FakeRetry())
    async with aclosing(chunks):
        return [count async for count in chunks]


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(
    breaks=st.lists(st.integers(0, 40), max_size=4),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4).filter(sum),
    start=st.integers(0, 16),
    chunk=st.integers(1, 50),
)
async def test_every_byte_arrives_once_and_in_order_wherever_it_breaks(
    breaks, sizes, start, chunk
):
    store = FakeRangeStore(breaks=list(breaks), chunk=chunk)
    source = Stored("c", "o", "etag", start, len(OBJECT))
    buffers = buffers_of(*sizes)

    counts = await fill(store, source, buffers, FakeRetry(tries=len(breaks) + 1))

    size = sum(sizes)
    assert b"".join(buffers) == OBJECT[start : start + size]
    assert sum(counts) == size
    assert all(counts)
    assert all(first + asked == start + size for first, asked in store.asked)
    assert store.open_bodies == 0


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(tries=st.integers(1, 5), breaks_after=st.integers(0, 19))
async def test_tries_used_up_are_an_error_and_never_a_short_result(tries, breaks_after):
    store = FakeRangeStore(breaks=[breaks_after // tries] * tries)

    with pytest.raises(errors.BrokenBodyError):
        await fill(store, SOURCE, buffers_of(20), FakeRetry(tries=tries))

    assert len(store.asked) == tries


async def test_a_resumed_range_starts_with_the_next_byte():
    store = FakeRangeStore(breaks=[10, 5])

    await fill(store, SOURCE, buffers_of(30))

    assert store.asked == [(0, 30), (10, 20), (15, 15)]


async def test_a_whole_range_is_one_get():
    store = FakeRangeStore()

    await fill(store, SOURCE, buffers_of(100, 100))

    assert store.asked == [(0, 200)]


async def test_what_arrived_is_told_before_the_rest_is_there():
    store = FakeRangeStore(chunk=4)
    buffers = buffers_of(8)
    chunks = resumable_chunks(store, SOURCE, buffers, FakeRetry())

    async with aclosing(chunks):
        first = await anext(chunks)

        assert (first, bytes(buffers[0])) == (4, OBJECT[:4] + bytes(4))


async def test_a_reader_that_stops_early_leaves_no_body_open():
    store = FakeRangeStore()
    chunks = resumable_chunks(store, SOURCE, buffers_of(64), FakeRetry())

    async with aclosing(chunks):
        await anext(chunks)

    assert store.open_bodies == 0


@pytest.mark.parametrize(
    "failure",
    [
        errors.ImageChangedError("another version"),
        errors.AccessDeniedError("no"),
        errors.StoreUnavailableError("the store has tried by itself"),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
async def test_what_resuming_cannot_cure_passes_at_once(failure, number):
    store = FakeRangeStore(breaks=[10] * 5, failures={number: failure})

    with pytest.raises(type(failure)) as caught:
        await fill(store, SOURCE, buffers_of(30))

    assert caught.value is failure
    assert len(store.asked) == number + 1


async def test_each_resumption_waits_as_the_policy_says(autojump_clock):
    retry = FakeRetry(wait=100.0)
    begin = trio.current_time()

    await fill(FakeRangeStore(breaks=[1, 1, 1]), SOURCE, buffers_of(10), retry)

    assert trio.current_time() - begin == pytest.approx(300, abs=1)
    assert retry.attempts == [2, 3, 4]
