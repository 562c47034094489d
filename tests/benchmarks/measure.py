"""One run of one job by one peer, measured; and several of them, summed up by medians."""

from __future__ import annotations

import functools
import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.endpoint import Traffic
from tests.benchmarks.jobs import JOB_SECONDS, Reading, look_up
from tests.benchmarks.peers import (
    COMMANDS,
    CURLS,
    MD5SUM,
    MEMORY,
    SEGMENT_SIZE,
    SWIFT_UPLOAD,
    SWIFTCLIENT,
    curl_uploads,
    mounted,
    swift_upload,
)
from tests.benchmarks.processes import ToolError, Usage, run, usage_of, wait_until
from tests.benchmarks.writing import Written

if TYPE_CHECKING:
    from tests.benchmarks.endpoint import Endpoint
    from tests.benchmarks.images import Image, Images
    from tests.benchmarks.jobs import Job
    from tests.benchmarks.names import NamesJob, Walked
    from tests.benchmarks.peers import Command
    from tests.benchmarks.stock import Stock
    from tests.benchmarks.writing import WritingJob

GIB = 1024**3
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
# A server notes a request only when it is over: the last of them a little after the reader.
_SETTLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run came to, or the medians of several.

    Attributes:
        size: Bytes that the job read or wrote, or the names that it went through.
        cpu_seconds: Of the mount's process, or of the program that does without one.
        peak_rss: Of a mount's process, in bytes; 0 where there is no mount.
        fetched: Bytes of objects that the server sent.
        stored: Bytes of objects that it received, with `puts` requests.
    """

    size: float
    seconds: float
    cpu_seconds: float
    peak_rss: float
    fetched: float
    gets: float
    requests: float
    stored: float = 0
    puts: float = 0
    manifests: float = 0

    @property
    def rate(self) -> float | None:
        """MB (of 10^6 bytes) a second; None where only the time matters."""
        return self.size / self.seconds / 1e6 if self.size > 1 else None

    @property
    def cpu_per_gib(self) -> float | None:
        """CPU seconds for each GiB that was read or written."""
        return self.cpu_seconds / self.size * GIB if self.size > 1 else None

    @property
    def fetched_per_byte(self) -> float | None:
        """Bytes fetched for each byte read."""
        return self.fetched / self.size if self.size > 1 else None

    @property
    def stored_per_byte(self) -> float | None:
        """Bytes of objects stored for each byte written."""
        return self.stored / self.size if self.size > 1 else None


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of one job by one peer; `failure` says why there are no more."""

    job: str
    server: str
    peer: str
    samples: tuple[Sample, ...]
    failure: str = ""

    @property
    def median(self) -> Sample | None:
        """The median of each number by itself; None without a sample."""
        if not self.samples:
            return None
        names = Sample.__dataclass_fields__
        return Sample(
            **{
                name: statistics.median(getattr(s, name) for s in self.samples)
                for name in names
            }
        )

    def times_faster_than(self, other: Result) -> float | None:
        """Return how many times this one's throughput is (or the other's time this one's)."""
        ours, theirs = self.median, other.median
        if ours is None or theirs is None:
            return None
        if ours.rate is not None and theirs.rate:
            return ours.rate / theirs.rate
        return theirs.seconds / ours.seconds


def touch_memory(directory: Path, size: int) -> None:
    """Use `size` bytes of memory once: a virtual machine's host hands it out slowly."""
    path = directory / "touched"
    try:
        with path.open("wb") as file:
            zeros = bytes(8 * 1024 * 1024)
            for _ in range(0, size, len(zeros)):
                file.write(zeros)
    finally:
        path.unlink(missing_ok=True)


def can_drop_caches() -> bool:
    """Whether we may; without it the first pages of each run come a little faster."""
    return os.access(DROP_CACHES, os.W_OK)


def measure(job: Job, peer: str, endpoint: Endpoint, images: Images, directory: Path) -> Sample:
    """Run a job once, from a cold start.

    Raises:
        ToolError: Something failed or hung; the message says what.
    """
    if can_drop_caches():
        DROP_CACHES.write_text("1\n")
    if peer == MD5SUM:
        finished = run(["md5sum", images.get(job.images[0]).path], JOB_SECONDS)
        size = images.get(job.images[0]).size
        return _sample(Reading(size, finished.seconds), finished.usage)
    if peer == MEMORY:
        return _sample(job.read([images.get(name).path for name in job.images]), Usage())
    if peer in COMMANDS:
        return _measure_command(job, peer, endpoint, images)
    return _measure_mount(job, peer, endpoint, directory)


def _measure_command(job: Job, peer: str, endpoint: Endpoint, images: Images) -> Sample:
    command = COMMANDS[peer](endpoint, job.images[0])
    endpoint.forget_traffic()
    finished = run(command.arguments, JOB_SECONDS, command.environ)
    size = images.get(job.images[0]).size
    return _sample(Reading(size, finished.seconds), finished.usage, settled_traffic(endpoint))


def _measure_mount(job: Job, peer: str, endpoint: Endpoint, directory: Path) -> Sample:
    with mounted(peer, endpoint, directory) as mount:
        paths = [mount.images / name for name in job.images]
        try:
            if job.prepare is not None:
                job.prepare(paths)
            settled_traffic(endpoint)
            endpoint.forget_traffic()
            before = usage_of(mount.pid)
            reading = job.read(paths)
            after = usage_of(mount.pid)
        except OSError as exc:  # of a path in the mount, or the mount's process is gone
            raise ToolError(str(exc)) from exc
    usage = Usage(after.cpu_seconds - before.cpu_seconds, after.peak_rss)
    return _sample(reading, usage, settled_traffic(endpoint))


def settled_traffic(endpoint: Endpoint) -> Traffic:
    """Return the traffic once it stays the same."""
    while True:
        seen = endpoint.traffic()
        has_changed = functools.partial(_differs, endpoint, seen)
        if not wait_until(has_changed, _SETTLE_SECONDS):
            return seen


def _differs(endpoint: Endpoint, seen: Traffic) -> bool:
    return endpoint.traffic() != seen


def measure_writing(
    job: WritingJob, peer: str, endpoint: Endpoint, images: Images, directory: Path
) -> Sample:
    """Run a writing job once, and look at what it stored; nothing of that is left.

    Raises:
        ToolError: Something failed or hung, or another image is stored than was written.
    """
    if can_drop_caches():
        DROP_CACHES.write_text("1\n")
    image = images.get(job.image)
    endpoint.wipe()
    try:
        if peer == SWIFT_UPLOAD:
            command = swift_upload(endpoint, image.path, image.name)
            return _measure_upload(command, image, endpoint)
        if peer == CURLS:
            return _measure_parts(image, endpoint, directory)
        return _measure_writing_mount(job, peer, image, endpoint, directory)
    except OSError as exc:  # of a path in the mount, or the mount's process is gone
        raise ToolError(str(exc)) from exc
    finally:
        endpoint.wipe()


def _measure_parts(image: Image, endpoint: Endpoint, directory: Path) -> Sample:
    with tempfile.TemporaryDirectory(dir=directory) as parts:
        split = ["split", f"--bytes={SEGMENT_SIZE}", image.path, f"{parts}/{image.name}."]
        run(split, JOB_SECONDS)
        command = curl_uploads(endpoint, sorted(Path(parts).iterdir()))
        return _measure_upload(command, image, endpoint)


def _measure_upload(command: Command, image: Image, endpoint: Endpoint) -> Sample:
    endpoint.forget_traffic()
    finished = run(command.arguments, JOB_SECONDS, command.environ)
    written = Written(image.size, finished.seconds)
    return _sample(written, finished.usage, settled_traffic(endpoint))


def _measure_writing_mount(
    job: WritingJob, peer: str, image: Image, endpoint: Endpoint, directory: Path
) -> Sample:
    if job.prepare is not None:
        with mounted(peer, endpoint, directory, is_writable=True) as mount:
            job.prepare(image, mount.images)
    with mounted(peer, endpoint, directory, is_writable=True) as mount:
        look_up([mount.images])
        settled_traffic(endpoint)
        endpoint.forget_traffic()
        before = usage_of(mount.pid)
        written = job.write(image, mount.images)
        after = usage_of(mount.pid)
    traffic = settled_traffic(endpoint)
    if job.check is not None:
        with mounted(peer, endpoint, directory) as mount:
            job.check(image, mount.images)
    usage = Usage(after.cpu_seconds - before.cpu_seconds, after.peak_rss)
    return _sample(written, usage, traffic)


def measure_names(
    job: NamesJob, peer: str, endpoint: Endpoint, stock: Stock, directory: Path
) -> Sample:
    """Do a job with names once, in a new mount.

    Raises:
        ToolError: Something failed or hung, or was not done right.
    """
    stock.have(job.fill)
    if peer == SWIFTCLIENT:
        assert job.baseline is not None
        endpoint.forget_traffic()
        return _sample(job.baseline(endpoint), Usage(), settled_traffic(endpoint))
    with mounted(peer, endpoint, directory, is_writable=job.is_writable) as mount:
        try:
            if job.prepare is not None:
                job.prepare(mount.root)
            settled_traffic(endpoint)
            endpoint.forget_traffic()
            before = usage_of(mount.pid)
            walked = job.work(mount.root)
            after = usage_of(mount.pid)
        except OSError as exc:  # of a path in the mount, or the mount's process is gone
            raise ToolError(str(exc)) from exc
    usage = Usage(after.cpu_seconds - before.cpu_seconds, after.peak_rss)
    return _sample(walked, usage, settled_traffic(endpoint))


def _sample(
    work: Reading | Written | Walked, usage: Usage, traffic: Traffic | None = None
) -> Sample:
    traffic = traffic or Traffic()
    return Sample(
        size=work.size,
        seconds=work.seconds,
        cpu_seconds=usage.cpu_seconds,
        peak_rss=usage.peak_rss,
        fetched=traffic.bytes_sent,
        gets=traffic.gets,
        requests=traffic.requests,
        stored=traffic.bytes_received,
        puts=traffic.puts,
        manifests=traffic.manifests,
    )
