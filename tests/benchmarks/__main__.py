"""The command line: `contrib/benchmark reading|writing|names [--jobs NAME,…] [--size 1G]`.

`contrib/benchmark page FILE.json…` puts what `--json` wrote into docs/performance.md.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import signal
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from rich.console import Console

from swiftimgfs.demo.swift_process import EmbeddedSwiftError
from tests.benchmarks import measure, page, report
from tests.benchmarks.claims import claims_of
from tests.benchmarks.images import MIB, Images
from tests.benchmarks.jobs import READING_JOBS, Job
from tests.benchmarks.names import NAMES_JOBS, NamesJob
from tests.benchmarks.names_claims import names_claims_of
from tests.benchmarks.nginx import NginxError
from tests.benchmarks.peers import OURS_UNVERIFIED, can_turn_verification_off
from tests.benchmarks.processes import ToolError
from tests.benchmarks.servers import SWALLOW, Servers
from tests.benchmarks.stock import Stock
from tests.benchmarks.writing import WRITERS, WRITING_JOBS, WritingJob, dd_at_once
from tests.benchmarks.writing_claims import writing_claims_of
from tests.support.child import ChildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

    from tests.benchmarks.claims import Claim
    from tests.benchmarks.endpoint import Endpoint
    from tests.benchmarks.measure import Result, Sample

AnyJob = TypeVar("AnyJob", Job, WritingJob, NamesJob)
Job_contra = TypeVar("Job_contra", bound=Job | WritingJob | NamesJob, contravariant=True)


class Measure(Protocol[Job_contra]):
    """Measures one run of one job by one peer."""

    def __call__(
        self, job: Job_contra, peer: str, endpoint: Endpoint, images: Images, directory: Path
    ) -> Sample: ...


MEMORY = Path("/dev/shm")
UNITS = {"M": MIB, "G": 1024 * MIB}
SMALLEST = 64 * MIB
NAMES_MEMORY = 512 * MIB  # of many small objects


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    given = _parser().parse_args(arguments)
    if given.kind is None:
        page.write(given.files)
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    kind: Kind = given.kind
    try:
        results = kind.run(given)
    except (NginxError, EmbeddedSwiftError, ChildError) as failure:
        sys.stderr.write(f"benchmark: {failure}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    claims = kind.claims_of(results)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(report.results_table(kind.title, kind.columns, results))
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
    jobs: Sequence[Job] = given.jobs
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for job in jobs:
        wanted[job.server].update(job.images)
    with _run(given, wanted, 2 * given.size) as run:
        peers = _able(given.peers)
        return [
            result
            for job in jobs
            for result in run.results(job, _of(peers, job.peers), measure.measure)
        ]


def write(given: argparse.Namespace) -> list[Result]:
    """Run the writing jobs that were asked for."""
    jobs: Sequence[WritingJob] = given.jobs
    # The swallower has to be told what will come; a Swift begins empty.
    wanted = {job.server: {job.image} if job.server == SWALLOW else set() for job in jobs}
    writers = max(WRITERS if job.write is dd_at_once else 2 for job in jobs)
    with _run(given, wanted, (1 + writers) * given.size) as run:
        return [
            result
            for job in jobs
            for result in run.results(job, _of(given.peers, job.peers), measure.measure_writing)
        ]


def names(given: argparse.Namespace) -> list[Result]:
    """Run the jobs about names that were asked for."""
    jobs: Sequence[NamesJob] = given.jobs
    stocks: dict[str, Stock] = {}

    def measure_once(
        job: NamesJob, peer: str, endpoint: Endpoint, images: Images, directory: Path
    ) -> Sample:
        stock = stocks.setdefault(endpoint.name, Stock(endpoint))
        return measure.measure_names(job, peer, endpoint, stock, directory)

    with _run(given, {job.server: () for job in jobs}, NAMES_MEMORY) as run:
        return [
            result
            for job in jobs
            for result in run.results(job, _of(given.peers, job.peers), measure_once)
        ]


def _of(peers: Sequence[str], able: Sequence[str]) -> list[str]:
    return [peer for peer in able if peer in peers]


@contextlib.contextmanager
def _run(
    given: argparse.Namespace, wanted: Mapping[str, Iterable[str]], memory: int
) -> Iterator[Run]:
    """Prepare the machine: what is measured shall not be the first to use its memory."""
    progress = Console(stderr=True)
    if not measure.can_drop_caches():
        progress.print("not root: the page cache is not dropped between runs")
    with tempfile.TemporaryDirectory(prefix="swiftimgfs-benchmark-", dir=MEMORY) as name:
        directory = Path(name)
        measure.touch_memory(directory, memory)
        images = Images(directory, given.size)
        with Servers(directory, images, wanted) as servers:
            yield Run(servers, images, directory, given.runs, progress)


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

    def results(
        self, job: AnyJob, peers: Sequence[str], measure_once: Measure[AnyJob]
    ) -> list[Result]:
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
                sample = measure_once(job, peer, endpoint, self._images, self._directory)
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


@dataclass(frozen=True, slots=True)
class Kind:
    """A subcommand: its jobs, how they are run, and what is said of them."""

    title: str
    help: str
    jobs: Sequence[Job] | Sequence[WritingJob] | Sequence[NamesJob]
    run: Callable[[argparse.Namespace], list[Result]]
    claims_of: Callable[[Sequence[Result]], list[Claim]]
    columns: Sequence[report.Column]

    @property
    def peers(self) -> tuple[str, ...]:
        """All who take part in any job."""
        return tuple(dict.fromkeys(peer for job in self.jobs for peer in job.peers))


KINDS = {
    "reading": Kind(
        "Reading",
        "cold, warm and random reads",
        READING_JOBS,
        read,
        claims_of,
        report.READING_COLUMNS,
    ),
    "writing": Kind(
        "Writing",
        "uploads, edits, sparse and converted images",
        WRITING_JOBS,
        write,
        writing_claims_of,
        report.WRITING_COLUMNS,
    ),
    "names": Kind(
        "Names",
        "directories listed, walked, copied and renamed",
        NAMES_JOBS,
        names,
        names_claims_of,
        report.NAMES_COLUMNS,
    ),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="contrib/benchmark", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="|".join((*KINDS, "page")))
    writing_page = commands.add_parser("page", help="docs/performance.md and its picture")
    writing_page.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    writing_page.set_defaults(kind=None)
    for name, kind in KINDS.items():
        command = commands.add_parser(name, help=kind.help)
        command.set_defaults(kind=kind)
        by_name = {job.name: job for job in kind.jobs}
        _add_list(command, "--jobs", by_name)
        _add_list(command, "--peers", {peer: peer for peer in kind.peers})
        command.add_argument("--size", type=_size, default=UNITS["G"], help="of the image (1G)")
        command.add_argument("--runs", type=int, default=3, help="of each, for medians (3)")
        command.add_argument(
            "--json", type=Path, metavar="FILE", help="every sample goes there"
        )
    return parser


def _add_list(command: argparse.ArgumentParser, flag: str, known: Mapping[str, object]) -> None:
    def parse(text: str) -> tuple[object, ...]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return tuple(known[name] for name in names)

    command.add_argument(
        flag,
        type=parse,
        default=tuple(known.values()),
        metavar="NAME,…",
        help=f"of {', '.join(known)} (default: all)",
    )


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].upper()
    if unit not in UNITS or not number.isdigit() or int(number) * UNITS[unit] < SMALLEST:
        raise argparse.ArgumentTypeError("such as 256M or 1G, 64M at least")
    return int(number) * UNITS[unit]


if __name__ == "__main__":
    sys.exit(main())
