"""Random histories of an image, on the mount as on a local disk: thousands of system calls.

Segments are as small as they can be, so that every border between them is met. A failure
says its seed, and the shortest history of its kind that was found in a minute.

SWIFTIMGFS_HISTORIES=n tries n seeds more, SWIFTIMGFS_SEED=n that one alone, and
SWIFTIMGFS_STEPS=n makes histories of n steps.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.histories import NAMES, DifferenceError, Side, history, live, shortened
from tests.support.mounts import mounted
from tests.support.stored import orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.histories import Step

pytestmark = pytest.mark.mount

SEGMENT = 4096
STEPS = int(os.environ.get("SWIFTIMGFS_STEPS", "700"))
SHORTENING_SECONDS = 60
# How images are stored, and how the mount keeps what is not stored yet.
OPTIONS = {
    "small": f"segment_size={SEGMENT}",
    "plain-first": f"segment_size={SEGMENT},large_object_size={5 * SEGMENT}",
    "never-cached": f"segment_size={SEGMENT},connections=1,attr_timeout=0,list_timeout=0",
}


def seeds() -> list[int]:
    """Return new ones each time."""
    if only := os.environ.get("SWIFTIMGFS_SEED"):
        return [int(only)]
    count = 1 + int(os.environ.get("SWIFTIMGFS_HISTORIES", "0"))
    return [random.SystemRandom().randrange(10**6) for _ in range(count)]


class World:
    """A mount that histories happen in, each in a container of its own."""

    def __init__(self, swift: FaultySwift, directory: Path, options: str) -> None:
        self._environ = swift.swift.environ() | {"XDG_STATE_HOME": str(directory / "state")}
        self._directory = directory
        self._options = options
        self._stack = ExitStack()
        self.remount()

    def remount(self) -> None:
        self._stack.close()
        running = mounted(self._directory, self._environ, self._options)
        self.root = self._stack.enter_context(running).path

    def close(self) -> None:
        self._stack.close()

    def sides(self) -> tuple[Side, Side]:
        """Return a new directory of the mount, and a local one."""
        name = f"c{uuid.uuid4().hex[:12]}"
        local = self._directory / name
        for directory in (self.root / name, local):
            directory.mkdir()
        return Side(self.root / name, self.remount), Side(local)


@pytest.fixture
def make_world(swift: FaultySwift, tmp_path: Path) -> Iterator[Callable[[str], World]]:
    with ExitStack() as stack:

        def make(options: str) -> World:
            world = World(swift, tmp_path, options)
            stack.callback(world.close)
            return world

        yield make


def what_fails(world: World, steps: Sequence[Step]) -> str:
    """Return what the shortest history does that still fails."""
    deadline = time.monotonic() + SHORTENING_SECONDS

    def fails(fewer: Sequence[Step]) -> bool:
        if time.monotonic() > deadline:
            return False
        try:
            live(fewer, *world.sides())
        except (DifferenceError, OSError):
            return True
        return False

    return "\n".join(map(str, shortened(steps, fails)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("seed", seeds())
def test_a_history_is_the_same_as_on_a_local_disk(
    swift: FaultySwift, make_world: Callable[[str], World], options: str, seed: int
) -> None:
    steps = history(seed, STEPS, SEGMENT)
    world = make_world(options)
    mounted_side, local_side = world.sides()

    try:
        live(steps, mounted_side, local_side)
    except DifferenceError as failure:
        shortest = what_fails(world, steps[: failure.number + 1])
        pytest.fail(f"SWIFTIMGFS_SEED={seed}: {failure}\nThe shortest found:\n{shortest}")

    names = [*NAMES, ".image.temporary"]
    assert orphans(swift, mounted_side.root.name, names) == []
