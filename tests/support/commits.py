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

IMAGE = "0ddba11a-0000-4000-8000-00000000cafe"  # of which Glance's driver names segments


def noise(seed: str, size: int) -> bytes:
    """Return bytes that are the same for the same seed."""
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True, slots=True)
class Format:
    """How large images are stored.

    Attributes:
        segment: Bytes of a segment.
        options: Of the mount.
    """

    name: str
    segment: int
    options: str


SLO = Format("slo", 16 * 1024, "segment_size=16K")
GLANCE = Format(
    "glance",
    1_024_000,  # the driver's unit
    "large_object=glance,swift_store_large_object_size=1,swift_store_large_object_chunk_size=1",
)
# Glance's images are larger and take longer: one run in so many is theirs.
GLANCE_EVERY = 3


def seed_of_run() -> int:
    """Return what the cases of this run are drawn by: SWIFTIMGFS_SEED, or any number."""
    return int(os.environ.get("SWIFTIMGFS_SEED") or random.SystemRandom().randrange(10**6))


def drawn_format(seed: object) -> Format:
    """Return the format that a seed stands for."""
    return SLO if random.Random(str(seed)).randrange(GLANCE_EVERY) else GLANCE


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


def changes_of(segment: int) -> dict[str, Change]:
    """Return all ways to change an image, for segments of a size, by name."""
    old_small, new_small = noise("old small", 5_000), noise("new small", 6_000)
    old_large = noise("old large", 4 * segment + 1_234)
    new_large = noise("new large", 3 * segment + 4_321)
    edit = {2 * segment - 1_000: noise("patch", 3_000)}
    sparse = {3 * segment + 100: noise("patch", 3_000)}
    create, empty = os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC
    edited, short = _edited(old_large, edit, len(old_large)), segment + 5
    long = 8 * segment
    changes = (
        Change("small", None, new_small, create, {0: new_small}),
        Change("small-over-large", old_large, new_small, empty, {0: new_small}),
        Change("large", None, new_large, create, _pieces(new_large, segment)),
        Change("large-over-small", old_small, new_large, empty, _pieces(new_large, segment)),
        Change("large-over-large", old_large, new_large, empty, _pieces(new_large, segment)),
        Change("same-again", old_large, old_large, empty, _pieces(old_large, segment)),
        Change("edit", old_large, edited, os.O_RDWR, edit),
        Change("shorten", old_large, old_large[:short], os.O_RDWR, {}, size=short),
        Change("sparse", None, _edited(b"", sparse, long), create, sparse, size=long),
    )
    return {change.name: change for change in changes}


def _pieces(data: bytes, segment: int) -> dict[int, bytes]:
    """Return an image as what is written of it, two pieces for each segment."""
    step = segment // 2
    return {offset: data[offset : offset + step] for offset in range(0, len(data), step)}


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
        # There already, when Swift was too slow to say that it had made it.
        (root / self.container).mkdir(exist_ok=True)
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
            if failure.errno is None:  # not of the mount: the faults could not be asked for
                raise
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
