"""The random histories of the mount tests, on local disks: alike they pass, else they do not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.histories import (
    WEIGHTS,
    DifferenceError,
    Side,
    Step,
    history,
    live,
    shortened,
)

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT = 4096


def sides(tmp_path: Path, mounted: type[Side] = Side) -> tuple[Side, Side]:
    roots = [tmp_path / "mounted", tmp_path / "local"]
    for root in roots:
        root.mkdir()
    return mounted(roots[0]), Side(roots[1])


def test_two_local_disks_have_the_same_history(tmp_path: Path) -> None:
    steps = history(2, 3000, SEGMENT)

    live(steps, *sides(tmp_path))

    assert {step.kind for step in steps} == set(WEIGHTS)


def test_no_step_of_a_history_fails_on_a_local_disk(tmp_path: Path) -> None:
    side = sides(tmp_path)[1]
    side.begin()
    try:
        outcomes = [side.do(step) for step in history(2, 3000, SEGMENT)]
    finally:
        side.end()

    assert not [outcome for outcome in outcomes if "errno" in str(outcome)]


def test_a_seed_is_a_history() -> None:
    assert history(3, 50, SEGMENT) == history(3, 50, SEGMENT) != history(4, 50, SEGMENT)


class LosesByte(Side):
    """A segment's last byte is not stored when it is written with the first of the next."""

    __slots__ = ()

    def _write(self, step: Step) -> int:
        count = super()._write(step)
        border = (step.offset + step.size) // SEGMENT * SEGMENT
        if step.offset < border < step.offset + step.size:
            os.pwrite(self._descriptor, b"\0", border - 1)
        return count


class KeepsTail(Side):
    """What was cut off is there again when the image grows."""

    __slots__ = ()

    def _truncate(self, step: Step) -> None:
        tail = os.pread(self._descriptor, 10, step.size)
        super()._truncate(step)
        if tail and step.size:
            os.pwrite(self._descriptor, tail, step.size)
            os.ftruncate(self._descriptor, step.size + len(tail))


class ForgetsOnRemount(Side):
    """The last write before a remount is lost."""

    __slots__ = ()

    def _remount(self, step: Step) -> str:
        os.pwrite(self._descriptor, b"old", 0)
        return super()._remount(step)


class Refuses(Side):
    """An error where there should be none."""

    __slots__ = ()

    def _append(self, step: Step) -> int:
        raise PermissionError(1, "no")


@pytest.mark.parametrize("broken", [LosesByte, KeepsTail, ForgetsOnRemount, Refuses])
def test_a_disk_that_loses_something_is_found_out(tmp_path: Path, broken: type[Side]) -> None:
    with pytest.raises(DifferenceError):
        live(history(5, 3000, SEGMENT), *sides(tmp_path, broken))


def test_a_failing_history_is_shortened_to_what_fails(tmp_path: Path) -> None:
    count = 0

    def fails(steps: object) -> bool:
        nonlocal count
        count += 1
        (tmp_path / str(count)).mkdir()
        try:
            live(steps, *sides(tmp_path / str(count), Refuses))  # type: ignore[arg-type]
        except DifferenceError:
            return True
        return False

    short = shortened(history(6, 200, SEGMENT), fails)

    assert [step.kind for step in short] == ["append"]
