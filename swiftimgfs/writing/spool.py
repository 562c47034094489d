"""Bytes that were written and are not yet in Swift, as the kernel handed them over.

The kernel's own buffers are kept and never copied: cutting a segment off takes references.
A run of zeros is one shared block of zeros named many times, so a hole costs no memory.
Nothing here awaits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swiftimgfs.layout import Inline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swiftimgfs.layout import Source

ZERO_BLOCK: Final = memoryview(bytes(1024 * 1024))


class Spool:
    """A queue of bytes: appended at the end, cut off at the front."""

    def __init__(self) -> None:
        self._buffers: list[memoryview] = []
        self.size = 0

    def append(self, data: bytes | memoryview) -> None:
        """Take `data` over; it must not change any more."""
        if data:
            self._buffers.append(memoryview(data))
            self.size += len(data)

    def append_zeros(self, size: int) -> None:
        """Append `size` zeros."""
        while size > 0:
            part = ZERO_BLOCK[: min(size, len(ZERO_BLOCK))]
            self.append(part)
            size -= len(part)

    def cut(self, size: int) -> list[memoryview]:
        """Take the first `size` bytes away and return them."""
        taken: list[memoryview] = []
        wanted = size
        index = 0
        while wanted:
            buffer = self._buffers[index]
            part = buffer[:wanted]
            taken.append(part)
            wanted -= len(part)
            if len(part) < len(buffer):
                self._buffers[index] = buffer[len(part) :]
            else:
                index += 1
        del self._buffers[:index]
        self.size -= size
        return taken

    def truncate(self, size: int) -> None:
        """Forget what comes after the first `size` bytes."""
        self._buffers = self.cut(size)
        self.size = size

    def buffers(self) -> Sequence[memoryview]:
        """Return what is there, without taking it away."""
        return tuple(self._buffers)


def inline_pieces(buffers: Sequence[memoryview]) -> Iterator[tuple[int, Source]]:
    """Yield buffers as pieces of a layout, so that what is not yet in Swift can be read."""
    for buffer in buffers:
        yield len(buffer), Inline(buffer)
