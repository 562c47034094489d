"""Whatever befalls a request of a commit: the old image or the new one, and no byte besides.

Every way to change an image is tried with every fault at every one of its requests, in
containers of their own and many at a time. CI tries a part of them, another one each time,
of SLOs or of what Glance's driver writes; SWIFTIMGFS_ALL_FAULTS=1 tries all, and
SWIFTIMGFS_SEED=n a certain part.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import done_by
from tests.support.commits import (
    GLANCE,
    SLO,
    Attempt,
    changes_of,
    drawn_format,
    leftovers,
    seed_of_run,
)
from tests.support.fault_control import Fault
from tests.support.mounts import mounted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.commits import Change, Format
    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

OPTIONS = "attr_timeout=0,list_timeout=0,timeout=5,retries=2,connections=16"
AT_ONCE = 12
Case = tuple[str, int, str]  # change, number of the request, what happens to it
PART = {SLO: 45, GLANCE: 24}  # attempts of CI's part
# What was wrong once is in each part: of the same bytes the etag does not tell whose they are.
ALWAYS = ("same-again", "lost on")

# What happens, from a request on: once, or for as long as there are requests ("on").
FAULTS = {
    "401": Fault(status=401),
    "401 on": Fault(status=401, count=None),
    "403": Fault(status=403),
    "413 quota": Fault(status=413, body="Upload exceeds quota."),
    "413 size": Fault(status=413),
    "422": Fault(status=422),
    "503": Fault(status=503),
    "503 on": Fault(status=503, count=None),
    "507": Fault(status=507),
    "dropped": Fault(cut_upload_after=0),
    "dropped on": Fault(cut_upload_after=0, count=None),
    "lost": Fault(lose_answer=True),
    "lost on": Fault(lose_answer=True, count=None),
}
# What Swift answers only to a PUT.
OF_PUTS = {"413 quota", "413 size", "422", "507"}
# What nobody notices, because the request is made again.
PASSING = {"401", "503", "dropped", "lost"}
TOLD = {
    "401 on": {errno.EACCES},
    "403": {errno.EACCES},
    "413 quota": {errno.EDQUOT},
    "413 size": {errno.EFBIG},
    "422": {errno.EIO},
    "503 on": {errno.EIO},
    "507": {errno.ENOSPC, errno.EIO},
    "dropped on": {errno.EIO},
    "lost on": {errno.EIO},
}


def methods_of(swift: FaultySwift, root: Path, change: Change) -> list[str]:
    """Return the methods of the requests that a change makes when nothing happens to it."""
    attempt = Attempt(f"{change.name} undisturbed", change)
    attempt.prepare(root)
    attempt.make(root, swift.control.clear)
    assert attempt.told is None
    assert not attempt.verdict(swift)
    methods = [request.method for request in attempt.requests(swift)]
    assert not leftovers(swift, [attempt])
    return methods


def attempt_of(
    swift: FaultySwift, root: Path, change: Change, request: int, kind: str
) -> Attempt:
    """Make a change of which a request is harmed."""
    attempt = Attempt(f"{change.name}, request {request}, {kind}", change)
    effects = FAULTS[kind]
    names = [
        name for name in Fault.__dataclass_fields__ if name not in {"target", "skip", "method"}
    ]
    fault = Fault(
        **{name: getattr(effects, name) for name in names},
        target=attempt.target,
        skip=request,
        method="PUT" if kind in OF_PUTS else None,
    )
    attempt.prepare(root)
    attempt.make(root, lambda: swift.control.inject(fault))
    return attempt


def part_of(cases: Sequence[Case], form: Format, seed: int) -> Sequence[Case]:
    """Return the part of the cases that is tried."""
    if os.environ.get("SWIFTIMGFS_ALL_FAULTS"):
        return cases
    always = [case for case in cases if (case[0], case[2]) == ALWAYS]
    return always + random.Random(seed).sample(cases, PART[form])


def told_wrong(attempt: Attempt, kind: str) -> bool:
    """Whether an application was told another errno than that of what happened."""
    return attempt.told not in ({None} if kind in PASSING else {None, *TOLD[kind]})


def swiftimgfs(*arguments: str, environ: Mapping[str, str]) -> list[str]:
    """Run a command; return what it says when it fails."""
    done = done_by(*arguments, environ=environ, status=None, seconds=180)
    return [f"{arguments}: {done.stdout}{done.stderr}"] if done.returncode else []


def test_every_request_of_every_change_may_fail(swift: FaultySwift, tmp_path: Path) -> None:
    seed = seed_of_run()
    is_all = bool(os.environ.get("SWIFTIMGFS_ALL_FAULTS"))
    wrong = []
    for form in (SLO, GLANCE) if is_all else (drawn_format(seed),):
        directory = tmp_path / form.name
        directory.mkdir()
        wrong += [f"{form.name}: {what}" for what in all_wrong(swift, directory, form, seed)]
    assert not wrong, f"SWIFTIMGFS_SEED={seed}\n" + "\n".join(wrong)


def all_wrong(swift: FaultySwift, directory: Path, form: Format, seed: int) -> list[str]:
    """Return what is wrong after a part of the cases, of images in a format."""
    environ = swift.swift.environ() | {"XDG_STATE_HOME": str(directory / "state")}
    options, changes = f"{form.options},{OPTIONS}", changes_of(form.segment)
    with mounted(directory, environ, options) as running:
        methods = {name: methods_of(swift, running.path, changes[name]) for name in changes}
        swift.control.clear()
        cases = part_of(
            [
                (change, request, kind)
                for (change, made), kind in itertools.product(methods.items(), FAULTS)
                for request in range(made.count("PUT") if kind in OF_PUTS else len(made))
            ],
            form,
            seed,
        )

        def attempt(case: Case) -> Attempt:
            return attempt_of(swift, running.path, changes[case[0]], *case[1:])

        with ThreadPoolExecutor(AT_ONCE) as pool:
            attempts = list(pool.map(attempt, cases))
        swift.control.clear()
        assert running.process.poll() is None
    wrong = [verdict for attempt in attempts if (verdict := attempt.verdict(swift))]
    wrong += [
        f"{attempt.what}: told {attempt.told}"
        for attempt, (_, _, kind) in zip(attempts, cases, strict=True)
        if told_wrong(attempt, kind)
    ]

    with mounted(directory, environ, options):
        wrong += swiftimgfs("retry", environ=environ)
        # What Swift refuses to delete is not asked again, but for by gc.
        refused = [a for a, (_, _, kind) in zip(attempts, cases, strict=True) if kind == "403"]
        others = [a for a in attempts if a not in refused]
        wrong += map(str, leftovers(swift, others, wait=20).items())
    wrong += swiftimgfs("gc", "env:", "--older-than=0s", environ=environ)
    if form is SLO:  # to gc what is named as by Glance is Glance's, whose container this is not
        wrong += map(str, leftovers(swift, refused).items())
    wrong += [f"{verdict}, later" for a in attempts if (verdict := a.verdict(swift))]
    wrong += [f"{a.what}: not sent again" for a in attempts if a.told and not a.is_new(swift)]
    return wrong
