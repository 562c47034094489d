"""What is wanted of reading, beside what one run measured. Reported, never asserted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.jobs import BLOCK
from tests.benchmarks.peers import (
    CURL,
    MD5SUM,
    MEMORY,
    OURS,
    OURS_UNVERIFIED,
    RCLONE,
    RCLONE_BEST,
    SWIFT_DOWNLOAD,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.benchmarks.measure import Result, Sample

MIB = 1024 * 1024
LATENCY = 0.005
WHOLE_READS = ("seq", "seq-tls", "seq-5ms", "seq-50ms", "seq-slo", "seq-dlo", "limited-dlo")


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of what is wanted.

    Attributes:
        what: And against what.
        wanted: At least (or at most) this, as a text; empty if it is only reported.
        measured: None if the run did not measure it.
        holds: None if nothing is wanted, or nothing was measured.
    """

    what: str
    wanted: str
    measured: float | None
    holds: bool | None


class Results:
    """The results of one run, to be looked up."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._by_name = {(one.job, one.peer): one for one in results}
        self._all = results

    def find(self, job: str, peer: str = OURS) -> Result | None:
        """Return a result, also one that failed."""
        return self._by_name.get((job, peer))

    def get(self, job: str, peer: str = OURS) -> Result | None:
        """Return a result with samples in it."""
        found = self._by_name.get((job, peer))
        return found if found and found.samples else None

    def median(self, job: str) -> Sample | None:
        """Return our own median."""
        found = self.get(job)
        return found.median if found else None

    def ratio(self, job: str, peers: Iterable[str], who: str = OURS) -> float | None:
        """Return our throughput in terms of that of the best of some peers."""
        ours = self.get(job, who)
        others = [found for peer in peers if (found := self.get(job, peer))]
        ratios = [ours.times_faster_than(other) for other in others] if ours else []
        return min((ratio for ratio in ratios if ratio is not None), default=None)

    def peak_rss(self) -> float | None:
        """Return the most memory that we had in any run of any job, in MiB."""
        peaks = [s.peak_rss for one in self._all if one.peer == OURS for s in one.samples]
        return max(peaks) / MIB if peaks else None


def claims_of(all_results: Sequence[Result]) -> list[Claim]:
    """Return all of it, filled in."""
    results = Results(all_results)
    return [
        *_against_peers(results),
        *_random(results),
        *_economy(results),
        at_least("warm re-read / a file in memory", 0.8, results.ratio("warm", [MEMORY])),
    ]


def at_least(what: str, wanted: float, measured: float | None) -> Claim:
    """Claim that something is not too little."""
    holds = None if measured is None else measured >= wanted
    return Claim(what, f"≥ {wanted:g}", measured, holds)


def at_most(what: str, wanted: float, measured: float | None) -> Claim:
    """Claim that something is not too much."""
    holds = None if measured is None else measured <= wanted
    return Claim(what, f"≤ {wanted:g}", measured, holds)


def _against_peers(results: Results) -> list[Claim]:
    claims = []
    for job in ("seq", "seq-tls", "seq-5ms", "seq-50ms"):
        claims += [
            at_least(f"{job}: / rclone", 2.5, results.ratio(job, [RCLONE])),
            at_least(f"{job}: / best rclone", 1.5, results.ratio(job, RCLONE_BEST)),
            Claim(f"{job}: / curl", "", results.ratio(job, [CURL]), None),
            *_without_verification(results, job, 2.5, 1.5),
        ]
    claims.append(
        Claim("seq: / md5sum of the file in memory", "", results.ratio("seq", [MD5SUM]), None)
    )
    for job in ("seq-slo", "seq-dlo"):
        claims += [
            at_least(f"{job}: / best rclone", 1.7, results.ratio(job, RCLONE_BEST)),
            at_least(f"{job}: / swift download", 1, results.ratio(job, [SWIFT_DOWNLOAD])),
            *_without_verification(results, job, None, 1.7),
        ]
    limited = "limited-dlo"
    return [
        *claims,
        at_least(f"{limited}: / rclone", 10, results.ratio(limited, [RCLONE])),
        Claim(f"{limited}: / best rclone", "", results.ratio(limited, RCLONE_BEST), None),
    ]


def _without_verification(
    results: Results, job: str, wanted: float | None, wanted_of_best: float
) -> list[Claim]:
    """Claim the same for what can be compared: rclone's best flags do not verify either."""
    what, who = f"{job}, verify=off", OURS_UNVERIFIED
    best = results.ratio(job, RCLONE_BEST, who)
    claims = [at_least(f"{what}: / best rclone", wanted_of_best, best)]
    if wanted is not None:
        measured = results.ratio(job, [RCLONE], who)
        claims.insert(0, at_least(f"{what}: / rclone", wanted, measured))
    return claims


def _random(results: Results) -> list[Claim]:
    one_by_one = results.median("random-5ms")
    rate = one_by_one.rate if one_by_one else None
    possible = BLOCK / LATENCY / 1e6
    return [
        at_least("random-16-5ms: / rclone", 4, results.ratio("random-16-5ms", [RCLONE])),
        at_most(
            "random-16-5ms: bytes fetched per byte read",
            1.2,
            _of(results.median("random-16-5ms"), lambda sample: sample.fetched_per_byte),
        ),
        at_least(
            "random-5ms: / what the latency allows",
            0.8,
            rate / possible if rate is not None else None,
        ),
    ]


def _economy(results: Results) -> list[Claim]:
    fetched = [
        ratio
        for job in WHOLE_READS
        if (ratio := _of(results.median(job), lambda sample: sample.fetched_per_byte))
    ]
    info = _of(results.median("qemu-info"), lambda sample: sample.requests)
    return [
        at_most("qemu-info: requests of all kinds, once looked up", 3, info),
        at_most(
            "whole reads: bytes fetched per byte, the worst", 1.02, max(fetched, default=None)
        ),
        at_most("peak RSS in MiB, the worst of all jobs", 600, results.peak_rss()),
    ]


def _of(sample: Sample | None, number: Callable[[Sample], float | None]) -> float | None:
    return None if sample is None else number(sample)
