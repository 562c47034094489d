"""What is wanted of names, beside what one run measured. Reported, never asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.claims import Claim, Results, at_most
from tests.benchmarks.peers import OURS, SWIFTCLIENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.measure import Result

MIB = 1024 * 1024


def names_claims_of(all_results: Sequence[Result]) -> list[Claim]:
    """Return the issue's table, filled in."""
    results = Results(all_results)
    return [
        at_most("ls: time / listing pages alone", 1.3, _ratio(results, "ls")),
        at_most("ls-warm: µs an entry", 12, _microseconds(results, "ls-warm")),
        at_most("ls-images: requests", 60, _requests(results, "ls-images")),
        at_most("rsync-again: requests", 1_100, _requests(results, "rsync-again")),
        at_most("find: requests, of 1,000 containers", 1_020, _requests(results, "find")),
        at_most("mv of 10 GiB: seconds", 1, _seconds(results, "mv")),
        at_most("mv of 10 GiB: bytes fetched and stored", 0, _bytes(results, "mv")),
        at_most("million: peak RSS in MiB", 1024, _rss(results, "million")),
    ]


def _ratio(results: Results, job: str) -> float | None:
    ratio = results.ratio(job, [SWIFTCLIENT])
    return 1 / ratio if ratio else None


def _microseconds(results: Results, job: str) -> float | None:
    median = results.median(job)
    return median.seconds / median.size * 1e6 if median else None


def _seconds(results: Results, job: str) -> float | None:
    median = results.median(job)
    return median.seconds if median else None


def _bytes(results: Results, job: str) -> float | None:
    median = results.median(job)
    return median.fetched + median.stored if median else None


def _requests(results: Results, job: str) -> float | None:
    median = results.median(job)
    return median.requests if median else None


def _rss(results: Results, job: str) -> float | None:
    found = results.get(job, OURS)
    return max(sample.peak_rss for sample in found.samples) / MIB if found else None
