"""What is wanted of writing, beside what one run measured. Reported, never asserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.claims import Claim, Results, at_least, at_most
from tests.benchmarks.peers import CURLS, RCLONE, RCLONE_WRITING, SWIFT_UPLOAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.measure import Result


def writing_claims_of(all_results: Sequence[Result]) -> list[Claim]:
    """Return all of it, filled in."""
    results = Results(all_results)
    return [
        *_against_peers(results),
        *_economy(results),
        *(_identity(results, job) for job in ("rsync", "qemu-qcow2", "qemu-raw")),
        at_most("peak RSS in MiB, the worst of all jobs", 600, results.peak_rss()),
    ]


def _against_peers(results: Results) -> list[Claim]:
    claims = []
    for job, rclone, swift_upload in (("write", 1.7, 1.0), ("write-swallow", 1.8, 1.1)):
        best = results.ratio(job, RCLONE_WRITING)
        claims += [
            at_least(f"{job}: / rclone", rclone, results.ratio(job, [RCLONE])),
            Claim(f"{job}: / best rclone", "", best, None),
            at_least(
                f"{job}: / swift upload", swift_upload, results.ratio(job, [SWIFT_UPLOAD])
            ),
        ]
    most = results.ratio("write", [CURLS])
    return [*claims, Claim("write: / eight curls, all that Swift takes", "", most, None)]


def _economy(results: Results) -> list[Claim]:
    edit = results.median("edit")
    claims = [
        at_most("edit: segments uploaded", 1, edit.puts if edit else None),
        at_most("edit: manifests uploaded", 1, edit.manifests if edit else None),
    ]
    for job, wanted in (("sparse", 1.2), ("sparse-scattered", 1.2), ("rsync", 1.01)):
        median = results.median(job)
        stored = median.stored_per_byte if median else None
        claims.append(at_most(f"{job}: bytes stored per byte of data", wanted, stored))
    return claims


def _identity(results: Results, job: str) -> Claim:
    """Say that every run stored what was written: each was compared after a remount."""
    found = results.find(job)
    measured = None if found is None else float(not found.failure)
    return at_least(f"{job}: identical after remount", 1, measured)
