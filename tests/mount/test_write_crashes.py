"""The mount's process is killed at every request of a commit: the old image or the new one.

Every way to change an image is started as often as it has requests, each time in a container
of its own, and each time another request is held, before or after Swift has done its work.
When all of them hang, the process that serves them is killed; the next mount has to tidy up.
The images are SLOs or what Glance's driver writes, as SWIFTIMGFS_SEED=n or chance has it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.commits import Attempt, changes_of, drawn_format, leftovers, seed_of_run
from tests.support.fault_control import Fault
from tests.support.mounts import kill, mounted
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.commits import Change
    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

# Connections for all attempts at once, and for what each sends side by side.
OPTIONS = "attr_timeout=0,list_timeout=0,timeout=3,connections=120"
PATIENT = OPTIONS.replace("timeout=3", "timeout=120")  # a request that is held is not retried
GROUPS = (
    ("large", "large-over-large", "small"),
    ("edit", "sparse", "small-over-large"),
    ("shorten", "same-again", "large-over-small"),
)


def count_of(swift: FaultySwift, root: Path, change: Change) -> int:
    """Return how many requests a change makes."""
    attempt = Attempt(f"{change.name} undisturbed", change)
    attempt.prepare(root)
    attempt.make(root, swift.control.clear)
    assert attempt.told is None
    return len(attempt.requests(swift))


def started(
    swift: FaultySwift,
    pool: ThreadPoolExecutor,
    root: Path,
    changes: Sequence[Change],
    when: str,
) -> list[Attempt]:
    """Start changes until all hang, each at another request."""
    counts = [count_of(swift, root, change) for change in changes]
    attempts = [
        Attempt(f"{change.name}, killed {when} request {number}", change)
        for change, count in zip(changes, counts, strict=True)
        for number in range(count)
    ]
    numbers = [number for count in counts for number in range(count)]
    for attempt in attempts:
        attempt.prepare(root)
    swift.control.clear()

    def make(attempt: Attempt, number: int) -> None:
        # Nothing after the held request comes through either: it is the last that was made.
        fault = Fault(target=attempt.target, skip=number, count=None, hold=when)
        attempt.make(root, lambda: swift.control.inject(fault))

    for attempt, number in zip(attempts, numbers, strict=True):
        pool.submit(make, attempt, number)
    # One that needed fewer requests than the first time is over.
    wait_for(
        lambda: (
            len(held_in(swift) | {a.container for a in attempts if a.is_over}) == len(attempts)
        ),
        seconds=100,
    )
    return attempts


def held_in(swift: FaultySwift) -> set[str]:
    """Return the containers of which a request is held."""
    held = (request.path.split("/")[3] for request in swift.control.journal() if request.held)
    return {container.removesuffix("_segments") for container in held}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("changes", GROUPS, ids=" ".join)
def test_a_mount_may_be_killed_at_every_request(
    swift: FaultySwift, tmp_path: Path, changes: tuple[str, ...], when: str
) -> None:
    environ = swift.swift.environ() | {"XDG_STATE_HOME": str(tmp_path / "state")}
    seed = seed_of_run()
    form = drawn_format((seed, changes, when))
    all_changes = changes_of(form.segment)
    chosen = [all_changes[name] for name in changes]
    patient, options = f"{form.options},{PATIENT}", f"{form.options},{OPTIONS}"
    with mounted(tmp_path, environ, patient) as running, ThreadPoolExecutor(100) as pool:
        try:
            attempts = started(swift, pool, running.path, chosen, when)
        finally:
            kill(running)
            swift.control.clear()
    wrong = [verdict for attempt in attempts if (verdict := attempt.verdict(swift))]

    with mounted(tmp_path, environ, options):
        wrong += map(str, leftovers(swift, attempts, wait=30).items())

    wrong += [f"{verdict}, later" for a in attempts if (verdict := a.verdict(swift))]
    assert not wrong, f"{form.name}, SWIFTIMGFS_SEED={seed}\n" + "\n".join(wrong)
