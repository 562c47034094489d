"""Random histories of one image, done on two directories that have to stay the same.

One of them is local, the other one a mount. A history is data, made from a seed: it can be
done again, shortened, and printed. Every step is compared, in what it returns and how it
fails, so the first difference is at most one step away from its cause.

Most places are at the borders of segments, where mistakes live, and most lengths are those
of a segment, one more and one less.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NAMES = ("image", "other")
LARGEST = 14  # of an image, in segments


@dataclass(frozen=True, slots=True)
class Step:
    """One system call or a few; what the arguments mean is up to `kind`."""

    kind: str
    offset: int = 0
    size: int = 0
    seed: int = 0

    def data(self) -> bytes:
        """Return what is written: noise, or zeros when there is no seed."""
        return random.Random(self.seed).randbytes(self.size) if self.seed else bytes(self.size)


@dataclass(slots=True)
class Side:
    """A directory in which a history happens.

    Attributes:
        root: The directory.
        remount: What is done between two mounts of it.
    """

    root: Path
    remount: Callable[[], object] = lambda: None
    name: str = NAMES[0]
    _descriptor: int = field(default=-1, repr=False)

    def begin(self) -> None:
        """Make the image and open it."""
        self._open(os.O_CREAT | os.O_EXCL)

    def end(self) -> None:
        """Close what is open."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    @property
    def path(self) -> Path:
        """The image."""
        return self.root / self.name

    def do(self, step: Step) -> object:
        """Return what a step comes to: bytes are shown by their digests."""
        try:
            outcome = getattr(self, f"_{step.kind}")(step)
        except OSError as failure:
            outcome = f"errno {failure.errno}"
        return outcome, os.fstat(self._descriptor).st_size

    def whole(self) -> str:
        """Return the image as somebody else reads it, as text."""
        return shown(self.path.read_bytes())

    # ── the steps ──

    def _write(self, step: Step) -> int:
        return os.pwrite(self._descriptor, step.data(), step.offset)

    def _read(self, step: Step) -> str:
        return shown(os.pread(self._descriptor, step.size, step.offset))

    def _look(self, _step: Step) -> str:
        return self.whole()

    def _truncate(self, step: Step) -> None:
        os.ftruncate(self._descriptor, step.size)

    def _truncate_name(self, step: Step) -> None:
        os.truncate(self.path, step.size)

    def _fsync(self, _step: Step) -> None:
        os.fsync(self._descriptor)

    def _append(self, step: Step) -> int:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        with closing(descriptor):
            return os.write(descriptor, step.data())

    def _map(self, step: Step) -> str:
        """Write through a mapping, as far as the image goes."""
        size = os.fstat(self._descriptor).st_size
        count = min(step.size, size - step.offset)
        if count <= 0:
            return "nothing to map"
        with mmap.mmap(self._descriptor, size) as mapped:
            before = mapped[step.offset : step.offset + count]
            mapped[step.offset : step.offset + count] = step.data()[:count]
            mapped.flush()
        return shown(before)

    def _reopen(self, _step: Step) -> str:
        self.end()
        self._open()
        return self.whole()

    def _rewrite(self, step: Step) -> int:
        """Overwrite as a shell does, while the old image is open."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_TRUNC)
        with closing(descriptor):
            return os.write(descriptor, step.data())

    def _rename(self, _step: Step) -> str:
        other = NAMES[1 - NAMES.index(self.name)]
        os.rename(self.path, self.root / other)
        self.name = other
        return self.whole()

    def _replace(self, step: Step) -> str:
        """Put another image in its place, as rsync does; the old one stays open until then."""
        temporary = self.root / ".image.temporary"
        temporary.write_bytes(step.data())
        os.rename(temporary, self.path)
        old = shown(os.pread(self._descriptor, 1024, 0))
        self.end()
        self._open()
        return f"{old} {self.whole()}"

    def _unlink(self, step: Step) -> str:
        """Delete the image while it is open, look at it once more, and make a new one."""
        os.unlink(self.path)
        old = shown(os.pread(self._descriptor, step.size, step.offset))
        self.end()
        self._open(os.O_CREAT | os.O_EXCL)
        return f"{old} {self.whole()}"

    def _remount(self, _step: Step) -> str:
        self.end()
        self.remount()
        self._open()
        return self.whole()

    def _open(self, flags: int = 0) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | flags, 0o644)


@contextlib.contextmanager
def closing(descriptor: int):
    """Close a descriptor with the context; its failure counts like any other."""
    try:
        yield
    finally:
        os.close(descriptor)


def shown(data: bytes) -> str:
    """Return bytes in short: how many, which, and how they begin."""
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:12]} {data[:6].hex()}"


# ── histories ─────────────────────────────────────────────────────────────────────────

# How often a step comes. Those that store come less often: they are slow, and what is
# written between them is where mistakes hide.
WEIGHTS = {
    "write": 450,
    "read": 230,
    "look": 20,
    "truncate": 80,
    "truncate_name": 4,
    "fsync": 12,
    "append": 10,
    "map": 12,
    "reopen": 14,
    "rewrite": 4,
    "rename": 6,
    "replace": 4,
    "unlink": 4,
    "remount": 1,
}


def history(seed: int, steps: int, segment: int, *, without: Sequence[str] = ()) -> list[Step]:
    """Return a history.

    Args:
        seed: The same, the same history.
        steps: How long it is.
        segment: Bytes of a segment.
        without: Kinds that do not come.
    """
    chance = random.Random(seed)
    weights = {kind: weight for kind, weight in WEIGHTS.items() if kind not in without}
    kinds = chance.choices(list(weights), list(weights.values()), k=steps)
    return [_step(chance, kind, segment) for kind in kinds]


def _step(chance: random.Random, kind: str, segment: int) -> Step:
    border = chance.randrange(LARGEST) * segment
    offset = max(0, border + chance.choice((0, 0, 0, -1, 1, chance.randrange(segment))))
    size = chance.choice(
        (1, segment - 1, segment, segment + 1, chance.randrange(1, 4 * segment))
    )
    if kind.startswith("truncate"):
        size = offset
    is_zeros = chance.random() < 0.2
    return Step(kind, offset, size, 0 if is_zeros else chance.randrange(1, 2**31))


class DifferenceError(AssertionError):
    """The two sides differ after a step; the message says which, and how to repeat it."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def live(steps: Sequence[Step], mounted: Side, local: Side) -> None:
    """Do a history on both sides.

    Raises:
        DifferenceError: At the first step after which they are not the same.
    """
    for side in (local, mounted):
        side.begin()
    try:
        for number, step in enumerate(steps):
            _do_both(number, step, mounted, local)
    except BaseException:
        for side in (local, mounted):
            with contextlib.suppress(OSError):
                side.end()
        raise
    local.end()
    try:
        mounted.end()
    except OSError as failure:
        raise DifferenceError(len(steps), f"the last close: {failure}") from failure
    if local.whole() != mounted.whole():
        raise DifferenceError(len(steps), "another image after the last close")


def _do_both(number: int, step: Step, mounted: Side, local: Side) -> None:
    wanted, found = local.do(step), mounted.do(step)
    if wanted != found:
        message = f"step {number}, {step}: {found}, on a local disk {wanted}"
        raise DifferenceError(number, message)


def shortened(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Return a shorter history that still fails: halves, quarters and so on are left out."""
    kept = list(steps)
    size = len(kept) // 2
    while size:
        start = 0
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            if fewer and fails(fewer):
                kept = fewer
            else:
                start += size
        size //= 2
    return kept
