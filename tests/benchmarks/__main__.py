"""The command line: `contrib/benchmark reading [--jobs NAME,…] [--size 1G] [--runs 3]`."""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from swiftimgfs.demo.swift_process import EmbeddedSwiftError
from tests.benchmarks import measure, report
from tests.benchmarks.claims import claims_of
from tests.benchmarks.images import MIB, Images
from tests.benchmarks.jobs import READING_JOBS, Job
from tests.benchmarks.nginx import NginxError
from tests.benchmarks.peers import OURS_UNVERIFIED, can_turn_verification_off
from tests.benchmarks.processes import ToolError
from tests.benchmarks.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from tests.benchmarks.measure import Result, Sample

MEMORY = Path("/dev/shm")
UNITS = {"M": MIB, "G": 1024 * MIB}
SMALLEST = 64 * MIB


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    given = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        results = read(given)
    except (NginxError, EmbeddedSwiftError) as failure:
        sys.stderr.write(f"benchmark: {failure}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    claims = claims_of(results)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(report.results_table(results))
    if any(claim.measured is not None for claim in claims):
        console.print(report.claims_table(claims))
    if given.json:
        settings: dict[str, object] = {"size": given.size, "runs": given.runs}
        report.write_json(given.json, results, claims, settings)
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    """End all that was started; that takes a while, and a second ^C must not cut it short."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def read(given: argparse.Namespace) -> list[Result]:
    """Run the reading jobs that were asked for."""
    progress = Console(stderr=True)
    if not measure.can_drop_caches():
        progress.print("not root: the page cache is not dropped between runs")
    peers = _able(given.peers)
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for job in given.jobs:
        wanted[job.server].update(job.images)
    with tempfile.TemporaryDirectory(prefix="swiftimgfs-benchmark-", dir=MEMORY) as name:
        directory = Path(name)
        measure.touch_memory(directory, 2 * given.size)
        images = Images(directory, given.size)
        with Servers(directory, images, wanted) as servers:
            run = Run(servers, images, directory, given.runs, progress)
            return [
                result
                for job in given.jobs
                for result in run.results(job, [peer for peer in job.peers if peer in peers])
            ]


def _able(peers: Sequence[str]) -> list[str]:
    """Leave out what this checkout cannot do yet."""
    can = can_turn_verification_off()
    return [peer for peer in peers if can or peer != OURS_UNVERIFIED]


class Run:
    """What all measurements of one run share."""

    def __init__(
        self, servers: Servers, images: Images, directory: Path, runs: int, progress: Console
    ) -> None:
        self._servers = servers
        self._images = images
        self._directory = directory
        self._runs = runs
        self._progress = progress

    def results(self, job: Job, peers: Sequence[str]) -> list[Result]:
        """Let peers do a job in turns, so that a slow minute of the machine hits them all.

        One that fails is not asked again.
        """
        endpoint = self._servers.get(job.server)
        samples: dict[str, list[Sample]] = {peer: [] for peer in peers}
        failures: dict[str, str] = {}
        runs = min(self._runs, job.most_runs or self._runs)
        for number, peer in itertools.product(range(1, runs + 1), peers):
            if peer in failures:
                continue
            self._progress.print(f"{job.name}: {peer} {number}/{runs}", highlight=False)
            try:
                sample = measure.measure(job, peer, endpoint, self._images, self._directory)
            except ToolError as exc:
                failures[peer] = str(exc)
                self._progress.print(f"  failed: {exc}", style="red", markup=False)
            else:
                samples[peer].append(sample)
        return [
            measure.Result(
                job.name, job.server, peer, tuple(samples[peer]), failures.get(peer, "")
            )
            for peer in peers
        ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="contrib/benchmark", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="reading")
    reading = commands.add_parser("reading", help="cold, warm and random reads")
    reading.add_argument(
        "--jobs",
        type=_jobs,
        default=READING_JOBS,
        metavar="NAME,…",
        help=f"of {', '.join(job.name for job in READING_JOBS)} (default: all)",
    )
    reading.add_argument(
        "--peers",
        type=_peers,
        default=_all_peers(),
        metavar="NAME,…",
        help=f"of {', '.join(_all_peers())} (default: all)",
    )
    reading.add_argument("--size", type=_size, default=UNITS["G"], help="of the image (1G)")
    reading.add_argument("--runs", type=int, default=3, help="of each, for medians (3)")
    reading.add_argument("--json", type=Path, metavar="FILE", help="every sample goes there")
    return parser


def _jobs(text: str) -> tuple[Job, ...]:
    by_name = {job.name: job for job in READING_JOBS}
    return tuple(by_name[name] for name in _known(text, by_name))


def _all_peers() -> tuple[str, ...]:
    return tuple(dict.fromkeys(peer for job in READING_JOBS for peer in job.peers))


def _peers(text: str) -> tuple[str, ...]:
    return tuple(_known(text, _all_peers()))


def _known(text: str, known: Sequence[str] | dict[str, Job]) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(known):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].upper()
    if unit not in UNITS or not number.isdigit() or int(number) * UNITS[unit] < SMALLEST:
        raise argparse.ArgumentTypeError("such as 256M or 1G, 64M at least")
    return int(number) * UNITS[unit]


if __name__ == "__main__":
    sys.exit(main())
