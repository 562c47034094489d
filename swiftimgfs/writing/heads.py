"""The MD5 of a segment, begun while it is still being written.

A PUT says the MD5 of its bytes before it sends them. Computed when the segment is complete,
that is 90 ms and more for 64 MiB in which Swift has nothing to do: at the start of an image,
and at its end, when somebody waits in close(2). So what a writer in order has written of the
segment he is in is hashed beside his writing, by whatever processor is free. Who uploads
goes on from there; nobody waits for it.

Invariant: a cell's `head` is of the bytes that are now at its beginning. Who changes one of
those takes the head away, also while a thread is hashing: what that comes to is dropped.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from swiftimgfs.layout import Inline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

    from swiftimgfs.store.request import Head
    from swiftimgfs.writing.cells import Cell
    from swiftimgfs.writing.dirty_image import DirtyImage

    Compute = Callable[[Callable[[], None]], Awaitable[None]]

BATCH: Final = 4 * 1024 * 1024  # 6 ms; a thread costs 0.1 ms


class Heads:
    """Hashes the beginning of the cell that one image's writer is in."""

    def __init__(self, image: DirtyImage, compute: Compute, nursery: trio.Nursery) -> None:
        """Hash for one image.

        Args:
            image: Its bytes.
            compute: Runs what blocks in a thread (`ConnectionPool.compute`).
            nursery: Of the mount.
        """
        self._image = image
        self._compute = compute
        self._nursery = nursery
        self._is_running = False

    def written(self, end: int) -> None:
        """Take note that a writer in order has come to `end`; cheap, and does not wait."""
        cell = None if self._is_running else self._image.cells.at(end - 1)
        if cell is not None and end - cell.start - cell.head.size >= BATCH:
            self._is_running = True
            self._nursery.start_soon(self._run, cell)

    async def _run(self, cell: Cell) -> None:
        try:
            while not cell.is_waiting:
                head = cell.head
                buffers = self._next(cell)
                size = sum(map(len, buffers))
                if size < BATCH:
                    return
                longer: list[Head] = []
                await self._compute(functools.partial(_lengthen, head, buffers, longer))
                if cell.head is head:
                    cell.head = longer[0]
        finally:
            self._is_running = False

    def _next(self, cell: Cell) -> list[memoryview]:
        """Return what is in memory after the cell's head, up to two batches."""
        buffers: list[memoryview] = []
        start = cell.start + cell.head.size
        for piece in self._image.extents.pieces(start, min(cell.end, start + 2 * BATCH)):
            if not isinstance(piece.source, Inline):
                break
            buffers.append(piece.source.data[: piece.size])
        return buffers


def _lengthen(head: Head, buffers: list[memoryview], longer: list[Head]) -> None:
    longer.append(head.followed_by(buffers))
