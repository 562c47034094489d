"""A mount's report as metrics of Prometheus.

They are made from a report when somebody asks for them: nothing is counted twice, and who
does not ask pays nothing. No label has the name of an image: there may be a million.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from swiftimgfs.store.traffic import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from swiftimgfs.control.report import Report

PREFIX: Final = "swiftimgfs_"
Rows = list[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """A report, and what is not in the mount's memory.

    Attributes:
        failed_uploads: Images that wait for `swiftimgfs retry`.
    """

    report: Report
    failed_uploads: int


class ReportCollector(Collector):
    """Makes metrics of what `measure` returns, which may be called in any thread."""

    def __init__(self, measure: Callable[[], Measured]) -> None:
        self._measure = measure

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, as they are now."""
        return metrics_of(self._measure())


def metrics_of(measured: Measured) -> Iterator[Metric]:
    """Yield all metrics of a mount, each labelled with its mount point."""
    report = measured.report
    make = _Families(report.mount.mountpoint)
    yield from _of_mount(make, report)
    yield from _of_requests(make, report)
    yield from _of_caches(make, report)
    yield from _of_writing(make, measured)


class _Families:
    """Makes metrics that have the mount point as their first label."""

    def __init__(self, mountpoint: str) -> None:
        self._mountpoint = mountpoint

    def counter(self, name: str, text: str, rows: Rows, *labels: str) -> Metric:
        family = CounterMetricFamily(PREFIX + name, text, labels=("mountpoint", *labels))
        for values, number in rows:
            family.add_metric((self._mountpoint, *values), number)
        return family

    def gauge(self, name: str, text: str, rows: Rows, *labels: str) -> Metric:
        family = GaugeMetricFamily(PREFIX + name, text, labels=("mountpoint", *labels))
        for values, number in rows:
            family.add_metric((self._mountpoint, *values), number)
        return family

    def histogram(self, name: str, text: str, report: Report) -> Metric:
        family = HistogramMetricFamily(PREFIX + name, text, labels=("mountpoint", "method"))
        for row in report.requests.latencies:
            upto = itertools.accumulate(row.counts)
            buckets = [(str(bound), float(n)) for bound, n in zip(BUCKETS, upto, strict=True)]
            labels = (self._mountpoint, row.method)
            family.add_metric(labels, [*buckets, ("+Inf", float(row.count))], row.seconds)
        return family


def _one(number: float) -> Rows:
    return [((), number)]


def _of_mount(make: _Families, report: Report) -> Iterable[Metric]:
    mount = report.mount
    facts = ((mount.source, mount.account, mount.version), 1.0)
    yield make.gauge("mount_info", "What is mounted.", [facts], "source", "account", "version")
    yield make.gauge(
        "start_time_seconds", "When it was mounted, since the epoch.", _one(mount.started)
    )
    yield make.counter("read_bytes", "Given to applications.", _one(report.bytes_read))
    yield make.counter("written_bytes", "Given by applications.", _one(report.bytes_written))
    yield make.gauge("open_images", "Images that are open.", _one(report.image_count))
    refused: Rows = [((row.operation, row.errno), row.count) for row in report.refused]
    yield make.counter(
        "refusals", "Requests of the kernel that failed.", refused, "operation", "errno"
    )


def _of_requests(make: _Families, report: Report) -> Iterable[Metric]:
    requests = report.requests
    counts: Rows = [((r.method, str(r.status or "none")), r.count) for r in requests.counts]
    yield make.counter(
        "requests",
        "Requests to Swift, by its answer; none: it broke.",
        counts,
        "method",
        "status",
    )
    yield make.histogram("request_seconds", "How long requests to Swift took.", report)
    yield make.counter("received_bytes", "Bodies that Swift sent.", _one(requests.bytes_in))
    yield make.counter("sent_bytes", "Bodies that Swift was sent.", _one(requests.bytes_out))
    yield make.counter("retries", "Requests that were sent again.", _one(requests.retries))
    running = len(requests.running)
    yield make.gauge("requests_running", "Requests that are on their way.", _one(running))


def _of_caches(make: _Families, report: Report) -> Iterable[Metric]:
    memory, disk = report.memory, report.disk
    yield make.gauge("memory_cache_bytes", "Blocks in memory.", _one(memory.held))
    yield make.gauge("memory_cache_limit_bytes", "What they may take.", _one(memory.limit))
    yield make.counter("memory_cache_hits", "Reads all from memory.", _one(memory.hits))
    yield make.counter("memory_cache_misses", "Reads that waited.", _one(memory.misses))
    if disk is None:
        return
    yield make.gauge("disk_cache_bytes", "Blocks in cache_dir.", _one(disk.used))
    yield make.gauge("disk_cache_limit_bytes", "What they may take.", _one(disk.limit))
    yield make.counter("disk_cache_hits", "Blocks found there.", _one(disk.hits))
    yield make.counter("disk_cache_misses", "Blocks not found there.", _one(disk.misses))
    yield make.counter("disk_cache_damaged", "Blocks found damaged.", _one(disk.damaged))


def _of_writing(make: _Families, measured: Measured) -> Iterable[Metric]:
    report, dirty = measured.report, measured.report.dirty
    waiting: Rows = [(("memory",), dirty.memory), (("disk",), dirty.spooled)]
    yield make.gauge("waiting_bytes", "Written, and not in Swift.", waiting, "where")
    yield make.gauge("waiting_limit_bytes", "What may wait.", _one(dirty.spool_limit))
    pending = sum(image.is_written for image in report.images)
    states: Rows = [(("pending",), pending), (("failed",), measured.failed_uploads)]
    yield make.gauge("uploads", "Images that are not all in Swift.", states, "state")
