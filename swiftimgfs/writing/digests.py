"""Digests of a whole image, made beside the uploads while it is written in order.

A digest needs every byte once and in order, whichever segment they are in, and however
often the PUT of that segment is tried; so it is not made where segments are sent, several
at once, but here, from the same buffers. SHA-256 does 1.8 GB/s of a core and SHA-512 half
of that: that is too long for the event loop, and threads do it, one batch after the other.

Invariants: each byte that was fed is hashed once, in the order of `feed`; a buffer is kept
until it was hashed and not longer; at most one batch of a digest is in a thread.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    Compute = Callable[[Callable[[], None]], Awaitable[None]]

# Those of every hashlib that have a digest of one length: what Glance's option
# `hashing_algorithm` can say (it takes what `hashlib.new` takes, and wants a `hexdigest()`).
ALGORITHMS: Final = frozenset(n for n in hashlib.algorithms_guaranteed if "shake" not in n)
# A thread costs 80 µs, 1 MiB of SHA-256 550 µs.
BATCH: Final = 4 * 1024 * 1024
LARGEST_BATCH: Final = 16 * 1024 * 1024  # what a commit waits for when it comes in between


class Hash(Protocol):
    """What `hashlib.new` returns."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take bytes; blocks."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""


def new_hashes(algorithms: Collection[str]) -> dict[str, Hash]:
    """Return fresh hashes by the names of their algorithms."""
    return {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}


def update(hashes: Mapping[str, Hash], buffers: Collection[memoryview]) -> None:
    """Feed every hash with every buffer; blocks."""
    for buffer in buffers:
        for digest in hashes.values():
            digest.update(buffer)


class OrderedDigest:
    """Digests of bytes that are fed in order.

    Attributes:
        size: Bytes fed so far.
    """

    def __init__(
        self, algorithms: Collection[str], compute: Compute, nursery: trio.Nursery
    ) -> None:
        """Start with no bytes.

        Args:
            algorithms: Of `ALGORITHMS`; all are made in one pass.
            compute: Runs what blocks in a thread (`ConnectionPool.compute`).
            nursery: Of the mount: bytes are hashed by a task of it while there are some.
        """
        self.size = 0
        self._algorithms = algorithms
        self._compute = compute
        self._nursery = nursery
        self._hashes = new_hashes(algorithms)
        self._waiting: list[memoryview] = []
        self._waiting_size = 0
        self._in_flight = 0
        self._is_running = False
        self._progress = trio.Event()  # set, and replaced, whenever fewer bytes wait

    @property
    def backlog(self) -> int:
        """Bytes that are kept because they were not hashed yet."""
        return self._waiting_size + self._in_flight

    def feed(self, data: bytes | memoryview) -> None:
        """Take what comes next; it must not change until it was hashed. Does not block."""
        if not self._hashes:
            return
        self.size += len(data)
        self._waiting.append(memoryview(data))
        self._waiting_size += len(data)
        if self._waiting_size >= BATCH:
            self._start()

    def restart(self) -> None:
        """Start anew, with no bytes."""
        self._drop()
        self._hashes = new_hashes(self._algorithms)
        self.size = 0

    def give_up(self) -> None:
        """Make no digest any more; what is fed from now on is dropped."""
        self._drop()
        self._hashes = {}

    async def keep_up(self, most: int) -> None:
        """Return when at most `most` bytes wait to be hashed."""
        while self.backlog > most:
            self._start()
            await self._progress.wait()

    async def values(self) -> dict[str, str]:
        """Return the digests of everything that was fed, hexadecimal, by algorithm.

        More can be fed afterwards. Empty once it was given up.
        """
        await self.keep_up(0)
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_size = 0
        self._tell_progress()

    def _tell_progress(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    def _start(self) -> None:
        if self._waiting and not self._is_running:
            self._is_running = True
            self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                await self._compute(functools.partial(update, self._hashes, batch))
                self._in_flight = 0
                self._tell_progress()
        finally:
            self._is_running = False

    def _next_batch(self) -> list[memoryview]:
        size = count = 0
        for buffer in self._waiting:
            if count and size + len(buffer) > LARGEST_BATCH:
                break
            size += len(buffer)
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        self._waiting_size -= size
        self._in_flight = size
        return batch
