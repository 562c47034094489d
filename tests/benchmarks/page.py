"""The page of measurements: `contrib/benchmark page FILE.json…` writes it, and its picture.

What is in docs/performance.md between two marks is made from what runs wrote with `--json`;
all around them is written by people.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.benchmarks.names import NAMES_JOBS
from tests.benchmarks.peers import OURS, RCLONE, RCLONE_BEST, RCLONE_WRITING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "performance.md"
PICTURE = DOCS / "performance.svg"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
MIB = 1024 * 1024
BEST_RCLONE = "rclone, best flags"
COLOURS = {OURS: "#0b7285", RCLONE: "#c92a2a", BEST_RCLONE: "#f08c00"}
OTHERS = ("#5f3dc4", "#2b8a3e", "#868e96", "#1864ab", "#d6336c", "#74b816")


@dataclass(frozen=True, slots=True)
class Measured:
    """The median of one peer's runs of one job."""

    job: str
    server: str
    peer: str
    runs: int
    median: dict[str, float | None]

    @property
    def rate(self) -> float | None:
        """MB/s, None where only the time matters."""
        return self.median.get("rate")

    @property
    def speed(self) -> float:
        """What is compared: more is faster."""
        return self.rate or 1 / (self.median["seconds"] or 1)


def write(files: Sequence[Path]) -> None:
    """Put the results in `files` on the page, and into its picture."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    results = [_measured(one) for content in contents for one in content["results"]]
    results = [one for one in results if one.median]
    claims = [
        claim
        for content in contents
        for claim in content["claims"]
        if claim["measured"] is not None
    ]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    lines = [_machine(contents[0]["machine"]), "", *_results(results), "", *_claims(claims)]
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n\n{END}{after}", "utf-8")
    draw(results, PICTURE)


def _measured(found: dict[str, Any]) -> Measured:
    median = found["median"]
    if median and found["job"] in {job.name for job in NAMES_JOBS}:
        median = {**median, "rate": None, "cpu_per_gib": None}  # its size is a number of names
    return Measured(found["job"], found["server"], found["peer"], len(found["samples"]), median)


def _machine(machine: dict[str, Any]) -> str:
    tools = [str(machine[name]) for name in ("rclone", "fio", "qemu-img", "curl")]
    memory = round(machine["memory"] / 1024**3)
    return (
        f"Medians on {machine['cores']} cores and {memory} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}; {'; '.join(tools)}."
    )


def _results(results: Iterable[Measured]) -> list[str]:
    lines = [
        "| job | server | who | runs | MB/s | ms | CPU s/GiB | requests | peak RSS, MiB |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    previous = ""
    for one in results:
        names = (one.job, one.server) if one.job != previous else ("", "")
        previous = one.job
        median = one.median
        numbers = (
            _text(one.rate, 1, 0),
            _text(median["seconds"], 1000, 0),
            _text(median["cpu_per_gib"], 1, 2),
            _text(median["requests"], 1, 0),
            _text(median["peak_rss"] or None, 1 / MIB, 0),
        )
        who = f"**{one.peer}**" if one.peer == OURS else one.peer
        lines.append("| " + " | ".join((*names, who, str(one.runs), *numbers)) + " |")
    return lines


def _text(number: float | None, factor: float, digits: int) -> str:
    return "" if number is None else f"{number * factor:.{digits}f}"


def _claims(claims: Iterable[dict[str, Any]]) -> list[str]:
    lines = ["| what | wanted | measured | |", "|---|--:|--:|---|"]
    for claim in claims:
        holds = {None: "", True: "holds", False: "**does not hold**"}[claim["holds"]]
        row = (claim["what"], claim["wanted"], f"{claim['measured']:.2f}", holds)
        lines.append("| " + " | ".join(row) + " |")
    return lines


def draw(results: Sequence[Measured], path: Path) -> None:
    """Draw how many times as fast as `rclone mount` everybody was, a row for each job."""
    jobs = [job for job in dict.fromkeys(one.job for one in results) if _of(results, job)]
    # The same text for the same numbers: no date, no random names in it.
    with mpl.rc_context({"svg.hashsalt": "swiftimgfs", "font.size": 9}):
        figure = Figure(figsize=(8, 1.2 + 0.34 * len(jobs)), layout="constrained")
        axes = figure.add_subplot()
        peers = _peers(results, jobs)
        for number, peer in enumerate(peers):
            _draw_peer(axes, results, jobs, peer, OTHERS[number % len(OTHERS)])
        axes.axvline(1, color=COLOURS[RCLONE], linewidth=0.8)
        axes.set_yticks(range(len(jobs)), jobs)
        axes.invert_yaxis()
        axes.set_xscale("log")
        ticks = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
        axes.set_xticks(ticks, [f"{tick:g} x" for tick in ticks])
        axes.minorticks_off()
        axes.grid(axis="both", color="#dee2e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("times as fast as rclone mount with its defaults")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def _peers(results: Sequence[Measured], jobs: Sequence[str]) -> list[str]:
    names = (name for job in jobs for name in _of(results, job))
    return sorted(dict.fromkeys(names), key=lambda name: (name != OURS, name not in COLOURS))


def _draw_peer(
    axes: Axes, results: Sequence[Measured], jobs: Sequence[str], peer: str, other: str
) -> None:
    points = [
        (_of(results, job)[peer], row)
        for row, job in enumerate(jobs)
        if peer in _of(results, job)
    ]
    is_ours = peer == OURS
    axes.scatter(
        [x for x, _ in points],
        [y for _, y in points],
        s=70 if is_ours else 30,
        color=COLOURS.get(peer, other),
        marker="o" if peer in COLOURS else "d",
        label=peer,
        zorder=3 if is_ours else 2,
    )


def _of(results: Sequence[Measured], job: str) -> dict[str, float]:
    """Return the speeds in one job, rclone's as 1; nothing where rclone does not do it."""
    speeds = {one.peer: one.speed for one in results if one.job == job}
    if RCLONE not in speeds or OURS not in speeds:
        return {}
    best = [speeds.pop(p) for p in (*RCLONE_BEST, *RCLONE_WRITING[1:]) if p in speeds]
    if best:
        speeds[BEST_RCLONE] = max(best)
    return {peer: speed / speeds[RCLONE] for peer, speed in speeds.items()}
