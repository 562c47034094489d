"""The results of a run: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from tests.benchmarks.peers import OURS
from tests.benchmarks.processes import ToolError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.benchmarks.claims import Claim
    from tests.benchmarks.measure import Result, Sample

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Column:
    """A number of a median; None is shown as not measured."""

    name: str
    number: Callable[[Sample], float | None]
    form: str = ".0f"


_RATE = Column("MB/s", lambda sample: sample.rate)
_MILLISECONDS = Column("ms", lambda sample: sample.seconds * 1000, "ms")
_CPU = Column("CPU s/GiB", lambda sample: sample.cpu_per_gib, ".2f")
_REQUESTS = Column("requests", lambda sample: sample.requests)
_RSS = Column("RSS MiB", lambda sample: sample.peak_rss / MIB or None)
READING_COLUMNS = (
    _RATE,
    _MILLISECONDS,
    _CPU,
    Column("fetched/read", lambda sample: sample.fetched_per_byte, ".3f"),
    Column("GETs", lambda sample: sample.gets),
    _REQUESTS,
    _RSS,
)
WRITING_COLUMNS = (
    _RATE,
    _MILLISECONDS,
    _CPU,
    Column("stored/written", lambda sample: sample.stored_per_byte, ".3f"),
    Column("PUTs", lambda sample: sample.puts),
    Column("manifests", lambda sample: sample.manifests),
    Column("GETs", lambda sample: sample.gets),
    _REQUESTS,
    _RSS,
)
NAMES_COLUMNS = (
    Column("names", lambda sample: sample.size),
    _MILLISECONDS,
    Column("µs/name", lambda sample: sample.seconds / sample.size * 1e6, ".1f"),
    Column("CPU s", lambda sample: sample.cpu_seconds, ".2f"),
    _REQUESTS,
    _RSS,
)
AGAINST = "ours/this"
NOT_MEASURED = "-"


def results_table(title: str, columns: Sequence[Column], results: Sequence[Result]) -> Table:
    """Return the medians, a row for each peer of each job.

    The last column says how many times faster we are than that peer, in this run.
    """
    table = Table(title=f"{title}: medians")
    for name in ("job", "server", "peer", "runs"):
        table.add_column(name, no_wrap=True)
    for name in (*(column.name for column in columns), AGAINST):
        table.add_column(name, justify="right", no_wrap=True)
    ours = {result.job: result for result in results if result.peer == OURS}
    table.caption = "\n".join(
        f"{result.job}, {result.peer}: {escape(result.failure)}"
        for result in results
        if result.failure
    )
    previous = None
    for result in results:
        if result.job != previous:
            table.add_section()
        is_first = result.job != previous
        names = (result.job, result.server) if is_first else ("", "")
        numbers = _numbers(columns, result, ours.get(result.job))
        table.add_row(*names, result.peer, str(len(result.samples)), *numbers)
        previous = result.job
    return table


def _numbers(columns: Sequence[Column], result: Result, ours: Result | None) -> list[str]:
    median = result.median
    if median is None:
        return [NOT_MEASURED] * (len(columns) + 1)
    ratio = ours.times_faster_than(result) if ours and ours is not result else None
    return [
        *(_text(column.number(median), column.form) for column in columns),
        _text(ratio, ".2f"),
    ]


def _text(number: float | None, form: str) -> str:
    if number is None:
        return NOT_MEASURED
    if form == "ms":
        form = ".0f" if number > 100 else ".1f"
    return format(number, form)


def claims_table(claims: Sequence[Claim]) -> Table:
    """Return what is wanted, beside what was measured."""
    table = Table(title="What is wanted: ours / theirs, of this run")
    table.add_column("what")
    for name in ("wanted", "measured", "holds"):
        table.add_column(name, justify="right")
    for claim in claims:
        if claim.measured is not None:
            holds = {None: "", True: "[green]yes[/green]", False: "[red]no[/red]"}[claim.holds]
            table.add_row(claim.what, claim.wanted, f"{claim.measured:.2f}", holds)
    return table


def write_json(
    path: Path, results: Sequence[Result], claims: Sequence[Claim], settings: dict[str, object]
) -> None:
    """Write every sample, and on what they were measured."""
    content = {
        "machine": _machine(),
        "settings": settings,
        "results": [asdict(result) | {"median": _derived(result)} for result in results],
        "claims": [asdict(claim) for claim in claims],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _derived(result: Result) -> dict[str, float | None]:
    median = result.median
    if median is None:
        return {}
    return asdict(median) | {
        "rate": median.rate,
        "cpu_per_gib": median.cpu_per_gib,
        "fetched_per_byte": median.fetched_per_byte,
        "stored_per_byte": median.stored_per_byte,
    }


def _machine() -> dict[str, object]:
    commands = {"rclone": ["rclone", "version"], "fio": ["fio", "--version"]}
    commands |= {"qemu-img": ["qemu-img", "--version"], "curl": ["curl", "--version"]}
    versions = {}
    for name, command in commands.items():
        try:
            versions[name] = run(command, 30).output.partition("\n")[0]
        except (OSError, ToolError) as exc:
            versions[name] = str(exc)
    return {
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        **versions,
    }
