"""Ways to change an image, each a sequence of requests that anything can happen to.

A `Change` is made in a container of its own, so that all requests of one change, and no
others, have that container's name in their path.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.stored import content, orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.fault_control import Request

SEGMENT = 16 * 1024
IMAGE = "image"


def noise(seed: str, size: int) -> bytes:
    """Return bytes that are the same for the same seed."""
    return random.Random(seed).randbytes(size)


OLD_SMALL = noise("old small", 5_000)
OLD_LARGE = noise("old large", 4 * SEGMENT + 1_234)
NEW_SMALL = noise("new small", 6_000)
NEW_LARGE = noise("new large", 3 * SEGMENT + 4_321)
PATCH = noise("patch", 3_000)
PATCHED_AT = 2 * SEGMENT - 1_000
SPARSE_AT, SPARSE_SIZE = 3 * SEGMENT + 100, 8 * SEGMENT


@dataclass(frozen=True, slots=True)
class Change:
    """One way to change an image.

    Attributes:
        old: The image before; None when there is none.
        new: The image after.
        flags: With which it is opened.
        writes: What is written, by offset, after it was made as long as `size` says.
    """

    name: str
    old: bytes | None
    new: bytes
    flags: int
    writes: Mapping[int, bytes]
    size: int | None = None


def _edited(old: bytes, writes: Mapping[int, bytes], size: int) -> bytes:
    image = bytearray(old[:size].ljust(size, b"\0"))
    for offset, data in writes.items():
        image[offset : offset + len(data)] = data
    return bytes(image)


_EDIT = {PATCHED_AT: PATCH}
_SPARSE = {SPARSE_AT: PATCH}
_WHOLE = {
    offset: NEW_LARGE[offset : offset + 8192] for offset in range(0, len(NEW_LARGE), 8192)
}
_SAME = {offset: OLD_LARGE[offset : offset + 8192] for offset in range(0, len(OLD_LARGE), 8192)}
_CREATE, _EMPTY = os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC

CHANGES = {
    change.name: change
    for change in (
        Change("small", None, NEW_SMALL, _CREATE, {0: NEW_SMALL}),
        Change("small-over-large", OLD_LARGE, NEW_SMALL, _EMPTY, {0: NEW_SMALL}),
        Change("large", None, NEW_LARGE, _CREATE, _WHOLE),
        Change("large-over-small", OLD_SMALL, NEW_LARGE, _EMPTY, _WHOLE),
        Change("large-over-large", OLD_LARGE, NEW_LARGE, _EMPTY, _WHOLE),
        Change("same-again", OLD_LARGE, OLD_LARGE, _EMPTY, _SAME),
        Change("edit", OLD_LARGE, _edited(OLD_LARGE, _EDIT, len(OLD_LARGE)), os.O_RDWR, _EDIT),
        Change("shorten", OLD_LARGE, OLD_LARGE[: SEGMENT + 5], os.O_RDWR, {}, size=SEGMENT + 5),
        Change(
            "sparse",
            None,
            _edited(b"", _SPARSE, SPARSE_SIZE),
            _CREATE,
            _SPARSE,
            size=SPARSE_SIZE,
        ),
    )
}


@dataclass(slots=True)
class Attempt:
    """A change that is made, or not, to an image in a container of its own.

    Attributes:
        what: For messages: the change, and what happens to it.
        told: The errno of the first call that failed; None when all succeeded.
        is_over: Whether the last close has returned.
    """

    what: str
    change: Change
    container: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:12]}")
    told: int | None = None
    is_over: bool = False

    @property
    def target(self) -> str:
        """What all requests of it have in their path, for faults."""
        return f"/{self.container}(_segments)?(/|$|[?])"

    def prepare(self, root: Path) -> None:
        """Make the container, and the old image in it."""
        (root / self.container).mkdir()
        if self.change.old is not None:
            (root / self.container / IMAGE).write_bytes(self.change.old)

    def make(self, root: Path, when_open: Callable[[], object] = lambda: None) -> None:
        """Change the image; `when_open` is called between its open and its first write."""
        with self._noting():
            descriptor = os.open(root / self.container / IMAGE, self.change.flags, 0o644)
            when_open()
            try:
                if self.change.size is not None:
                    os.ftruncate(descriptor, self.change.size)
                for offset, data in self.change.writes.items():
                    os.pwrite(descriptor, data, offset)
                os.fsync(descriptor)
            finally:
                with self._noting():
                    os.close(descriptor)
        self.is_over = True

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            self.told = self.told or failure.errno

    def requests(self, swift: FaultySwift) -> list[Request]:
        """Return the requests of the change that have come so far."""
        containers = {self.container, f"{self.container}_segments"}
        return [
            request
            for request in swift.control.journal()
            if containers & set(request.path.split("/")[3:4])
        ]

    def verdict(self, swift: FaultySwift) -> str:
        """Return what is wrong, nothing if the image is the old or the new one."""
        found = content(swift, self.container, IMAGE)
        if self.is_over and self.told is None and found != self.change.new:
            return f"{self.what}: all succeeded, but {self._looks(found)}"
        if found not in (self.change.old, self.change.new):
            return f"{self.what}: told {self.told}, and {self._looks(found)}"
        return ""

    def is_new(self, swift: FaultySwift) -> bool:
        """Whether Swift has the new image."""
        return content(swift, self.container, IMAGE) == self.change.new

    def _looks(self, found: bytes | None) -> str:
        if found is None:
            return "there is no image"
        if found == self.change.old:
            return "the image is the old one"
        return f"the image has {len(found)} bytes, neither the old ones nor the new ones"


def leftovers(
    swift: FaultySwift, attempts: Sequence[Attempt], wait: float = 10
) -> dict[str, list[str]]:
    """Return what is stored and belongs to no image, by attempt.

    Args:
        swift: Where to look.
        attempts: Whose containers are looked through.
        wait: Seconds that things may take to go, in all.
    """
    deadline = time.monotonic() + wait
    left = {}
    for attempt in attempts:
        rest = max(0.0, deadline - time.monotonic())
        if found := orphans(swift, attempt.container, [IMAGE], rest):
            left[f"{attempt.what}: told {attempt.told}"] = found
    return left
