"""Objects in memory behind the reader's side of a store, whose GETs go as a test wants them.

Time is trio's: a GET takes `latency` and then as long as `rate` says, on a mock clock.
That the real store does the same is what tests/store/test_failures.py and
tests/mount/test_read_faults.py are for.
"""

from __future__ import annotations

import hashlib
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.reading.block_cache import BlockCache, Part
from swiftimgfs.reading.disk_reads import DiskFirstStore
from swiftimgfs.reading.disk_writes import DiskWriter
from swiftimgfs.reading.fetcher import Fetcher
from swiftimgfs.reading.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from swiftimgfs.reading.disk_cache import DiskCache
    from swiftimgfs.store.wire import Target

# Content is a tile of this size over and over: an odd one, so that no two blocks are equal.
_TILE = 1_000_003
_STEP = 1024 * 1024


@dataclass(frozen=True)
class Object:
    """One stored object; however large it is, only a tile of it exists."""

    name: str
    size: int
    etag: str
    tile: bytes = field(repr=False)

    def part(self, start: int, size: int) -> bytes:
        """Return `size` of its bytes from `start`."""
        assert 0 <= start <= start + size <= self.size
        first = start % len(self.tile)
        repeats = (first + size) // len(self.tile) + 1
        return (self.tile * repeats)[first : first + size]

    def source(self, start: int = 0) -> Stored:
        """Return it as a layout names it."""
        return Stored("c", self.name, self.etag, start, self.size)


def object_of(name: str, size: int, *, etag: str | None = None) -> Object:
    """Return an object of random bytes, always the same ones; its etag is their MD5."""
    tile = random.Random(name).randbytes(max(1, min(size, _TILE)))
    made = Object(name, size, "", tile)
    if etag is None:
        etag = hashlib.md5(made.part(0, size)).hexdigest()
    return Object(name, size, etag, tile)


@dataclass(frozen=True)
class Get:
    """One GET that was made, the `number`-th of all."""

    number: int
    object: str
    start: int
    size: int
    patience: float
    at: float

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a GET.

    Attributes:
        after: So many bytes come before.
        failure: Then it fails like this.
        is_silent: Then nothing comes any more.
        damages: This byte of the object comes with all its bits flipped; nothing else is
            wrong.
    """

    after: int = 0
    failure: errors.SwiftImgFsError | None = None
    is_silent: bool = False
    damages: int | None = None


class FakeRangeStore:
    """A `RangeStore`; `faults` is asked what goes wrong with each GET."""

    def __init__(
        self,
        *objects: Object,
        latency: Callable[[Get], float] | float = 0.0,
        rate: float = 0.0,
        step: int = _STEP,
        faults: Callable[[Get], Fault | None] = lambda _: None,
    ) -> None:
        self.objects = {item.name: item for item in objects}
        self.latency = latency
        self.rate = rate  # bytes a second, of each GET
        self.step = step
        self.faults = faults
        self.gets: list[Get] = []
        self.fetched = 0
        self.running = 0
        self.on_get: Callable[[], None] = lambda: None

    async def fetch_range(self, source: Stored, target: Target, patience: float) -> None:
        size = target.size - target.filled
        get = Get(
            len(self.gets), source.object, source.start, size, patience, trio.current_time()
        )
        self.gets.append(get)
        self.running += 1
        self.on_get()
        try:
            await self._answer(source, target, get, self.faults(get) or Fault())
        finally:
            self.running -= 1

    async def _answer(self, source: Stored, target: Target, get: Get, fault: Fault) -> None:
        await trio.sleep(self.latency(get) if callable(self.latency) else self.latency)
        stored = self.objects.get(source.object)
        if stored is None or stored.etag != source.etag:
            raise errors.ImageChangedError("another one")
        fails = fault.is_silent or fault.failure is not None
        end = min(fault.after, get.size) if fails else get.size
        data = bytearray(stored.part(get.start, end))
        if fault.damages is not None and 0 <= fault.damages - get.start < end:
            data[fault.damages - get.start] ^= 0xFF
        await self._send(data, target)
        if fault.is_silent:
            await trio.sleep(patience_of(get))
            raise errors.StalledError("nothing came")
        if fault.failure is not None:
            raise fault.failure

    async def _send(self, data: bytearray, target: Target) -> None:
        for start in range(0, len(data), self.step):
            piece = data[start : start + self.step]
            await trio.sleep(len(piece) / self.rate if self.rate else 0)
            rest = target.rest()
            assert len(rest) >= len(piece)
            rest[: len(piece)] = piece
            target.arrived(len(piece))
            self.fetched += len(piece)


def patience_of(get: Get) -> float:
    return get.patience


@dataclass
class FakeRetry:
    """Tries, and the same wait before each."""

    tries: int = 5
    wait: float = 0.0
    patience: float = 2.0
    attempts: list[int] = field(default_factory=list)

    def wait_before(self, attempt: int, failure: errors.SwiftImgFsError) -> float:
        self.attempts.append(attempt)
        return self.wait


@dataclass
class FakeDiskThreads:
    """Doors to a disk that takes its time."""

    reading_seconds: float = 0.0
    writing_seconds: float = 0.0

    async def read_disk(self, blocking: Callable[[], None]) -> None:
        await trio.sleep(self.reading_seconds)
        blocking()

    async def write_disk(self, blocking: Callable[[], None]) -> None:
        await trio.sleep(self.writing_seconds)
        blocking()


@dataclass
class Reading:
    """The reading layer over a store, without the pool and the kernel."""

    store: FakeRangeStore
    cache: BlockCache
    verifier: Verifier
    fetcher: Fetcher


@asynccontextmanager
async def reading_from(  # noqa: PLR0913  # each but the store is rare
    store: FakeRangeStore,
    *,
    limit: int = 64 * 1024**2,
    is_verifying: bool = False,
    retry: FakeRetry | None = None,
    hashing_seconds: float = 0.0,
    disk: DiskCache | None = None,
    threads: FakeDiskThreads | None = None,
) -> AsyncIterator[Reading]:
    """Run the layer; what is still being fetched at the end of the context is given up."""
    retry = retry or FakeRetry()
    threads = threads or FakeDiskThreads()
    cache = BlockCache(limit)
    writer = DiskWriter(disk, threads, limit=limit // 2) if disk else None
    first = DiskFirstStore(store, disk, threads, writer.worths) if disk and writer else store

    async def in_thread(blocking: Callable[[], None]) -> None:
        await trio.sleep(hashing_seconds)
        blocking()

    verifier = Verifier(store, cache, retry, in_thread, is_on=is_verifying, keeper=writer)
    async with trio.open_nursery() as nursery:
        if writer is not None:
            nursery.start_soon(writer.run)
        yield Reading(store, cache, verifier, Fetcher(first, cache, verifier, retry, nursery))
        nursery.cancel_scope.cancel()


def parts_in(cache: BlockCache) -> list[Part]:
    """Return all parts that a cache has."""
    return list(cache._parts)
