"""Reads images, and compares them.

Bytes are read through the page cache after it was told to forget them, and not with
O_DIRECT: who waits for a page can be killed, who waits for an answer of FUSE cannot.

Threads: `jobs` for images that are being verified, and `jobs` for ranges that are read, each
with one or more that hash what it reads (hashlib and preadv release the lock).
"""

from __future__ import annotations

import enum
import errno
import hashlib
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.verification.facts import is_manifest, read_facts
from swiftimgfs.verification.plan import plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from swiftimgfs.verification.plan import Check, Digest, Facts, Lane, Plan

# The mount reads ahead of each range by itself: few of them use all of its connections, and
# more push each other's blocks out of its memory (8: 110 MB/s, 2: 180, with 64 MiB of it).
JOBS: Final = 4
CHUNK_SIZE: Final = 4 * 1024 * 1024  # worth a GET; two for each job


class Verdict(enum.Enum):
    """What came out."""

    OK = "OK"
    WRONG = "WRONG"  # a digest differs
    CANNOT = "CANNOT"  # nothing is known to be wrong, but not all of it could be compared
    FAILED = "FAILED"  # not all of it could be read


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of one image."""

    path: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A range that differs, and how."""

    check: Check
    difference: str

    def __str__(self) -> str:
        check = self.check
        where = f"{check.digest.origin}, {check.size} bytes at {check.offset}"
        return f"{where}: {self.difference}"


class _Track:
    """Checks of ranges that follow each other, fed with the bytes in order.

    Attributes:
        wrong: What differed so far.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.wrong: list[Mismatch] = []
        self._left = deque(checks)
        self._start_next()

    def update(self, offset: int, chunk: memoryview) -> None:
        """Take the bytes from `offset` on."""
        end = offset + len(chunk)
        while self._left and self._left[0].offset < end:
            check = self._left[0]
            self._hash.update(chunk[max(check.offset - offset, 0) : check.end - offset])
            if check.end > end:
                return
            self._finish(self._left.popleft())

    def close(self) -> None:
        """Compare what is left when all bytes have come: what has none."""
        while self._left:
            self._finish(self._left.popleft())

    def _finish(self, check: Check) -> None:
        difference = check.digest.difference(self._hash.hexdigest())
        if difference is not None:
            self.wrong.append(Mismatch(check, difference))
        self._start_next()

    def _start_next(self) -> None:
        if self._left:
            algorithm = self._left[0].digest.algorithm
            self._hash = hashlib.new(algorithm, usedforsecurity=False)


@dataclass(slots=True)
class _Image:
    """An image that is being read.

    Attributes:
        wrong: What differed.
        failure: Where and why reading failed; nothing more is then begun.
    """

    fd: int
    wrong: list[Mismatch] = field(default_factory=list)
    failure: str | None = None


class Verifier:
    """Verifies images in threads of its own."""

    def __init__(self, jobs: int = JOBS, certificates: Path | None = None) -> None:
        """Read `jobs` ranges at once; verify signatures with the certificates of a directory."""
        self._certificates = certificates
        self._images = ThreadPoolExecutor(jobs, "image")
        self._lanes = ThreadPoolExecutor(jobs, "lane")
        self._count_lock = threading.Lock()
        self._bytes_read = 0

    @property
    def bytes_read(self) -> int:
        """Bytes of all images so far."""
        return self._bytes_read

    def submit(self, path: str, given: Digest | None = None) -> Future[Report]:
        """Have an image verified, with a digest that was `given` beside its own."""
        return self._images.submit(self._verify, path, given)

    def close(self) -> None:
        """Begin nothing more; what is being read ends by itself."""
        self._images.shutdown(wait=False, cancel_futures=True)
        self._lanes.shutdown(wait=False, cancel_futures=True)

    def _verify(self, path: str, given: Digest | None) -> Report:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            return failed(path, exc)
        try:
            facts = read_facts(fd)
            plan = plan_of(facts, given, self._certificates)
            image = _Image(fd)
            self._compare(image, plan)
            if (image.wrong or image.failure) and _was_replaced(image, path, facts):
                return Report(path, Verdict.FAILED, "it was replaced while it was read")
            plan = _without_manifests(image, plan)
        except OSError as exc:
            return failed(path, exc)
        finally:
            os.close(fd)
        return _report(path, image, plan)

    def _compare(self, image: _Image, plan: Plan) -> None:
        # What is cached was right or wrong at some other time.
        os.posix_fadvise(image.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        running = [self._lanes.submit(self._follow, image, lane) for lane in plan.lanes]
        _finish(running)

    def _follow(self, image: _Image, lane: Lane) -> None:
        """Read a lane, each chunk while the one before is hashed."""
        if image.failure:
            return
        tracks = [_Track(checks) for checks in lane.tracks]
        hashing: list[Future[None]] = []
        with ThreadPoolExecutor(len(tracks), "hash") as hashers:
            try:
                for offset, chunk in _chunks(image.fd, lane.offset, lane.size):
                    _finish(hashing)
                    hashing = [hashers.submit(t.update, offset, chunk) for t in tracks]
                    self._count(len(chunk))
            except OSError as exc:
                image.failure = _reason(exc)
        _finish(hashing)
        os.posix_fadvise(image.fd, lane.offset, lane.size, os.POSIX_FADV_DONTNEED)
        for track in tracks:
            if image.failure is None:
                track.close()
            image.wrong += track.wrong

    def _count(self, count: int) -> None:
        with self._count_lock:
            self._bytes_read += count


def _finish(running: Sequence[Future[None]]) -> None:
    for future in running:
        future.result()


def failed(path: str, exc: OSError) -> Report:
    """Return the report of what cannot be opened, or not be asked about."""
    return Report(path, Verdict.FAILED, _reason(exc))


def _without_manifests(image: _Image, plan: Plan) -> Plan:
    """Take out of what differed, and of the plan, segments that have no MD5 to compare with.

    Asked for only here: it costs a request, and is rare (a DLO in an SLO).
    """
    manifests = {
        m.check
        for m in image.wrong
        if m.check.segment is not None and is_manifest(image.fd, m.check.segment)
    }
    image.wrong = [m for m in image.wrong if m.check not in manifests]
    return plan.without(manifests, "manifests themselves")


def _report(path: str, image: _Image, plan: Plan) -> Report:
    image.wrong.sort(key=lambda m: (m.check.segment is None, m.check.offset))
    if image.wrong:
        more = f" (and {len(image.wrong) - 1} more)" if image.wrong[1:] else ""
        return Report(path, Verdict.WRONG, f"{image.wrong[0]}{more}")
    if image.failure:
        return Report(path, Verdict.FAILED, image.failure)
    gaps = "; ".join(plan.gaps)
    if gaps and (plan.is_unsure or not plan.wholes):
        rest = f"; {plan.summary()} compared, and right" if plan.lanes else ""
        return Report(path, Verdict.CANNOT, gaps + rest)
    if not plan.lanes:
        return Report(path, Verdict.OK, "empty")
    return Report(path, Verdict.OK, plan.summary() + (f"; not compared: {gaps}" * bool(gaps)))


def _was_replaced(image: _Image, path: str, facts: Facts) -> bool:
    """Return whether what was read, or known, may be of a version that is gone.

    Raises:
        OSError: What differs may differ for that reason; nobody can tell.
    """
    try:
        with open(path, "rb", buffering=0) as newer:  # noqa: PTH123  # a path is as it was given
            if read_facts(newer.fileno()) != facts:
                return True
            if image.wrong:
                # A newer version that was opened makes the handles of older ones stale.
                os.posix_fadvise(image.fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.pread(image.fd, 1, 0)
    except OSError as exc:
        if exc.errno in {errno.ENOENT, errno.ESTALE}:
            return True
        if image.failure is None:
            raise
    return False


def _chunks(fd: int, offset: int, size: int) -> Iterator[tuple[int, memoryview]]:
    """Yield a range in chunks with their offsets; each is good until the next but one."""
    buffers = [memoryview(bytearray(min(CHUNK_SIZE, size))) for _ in range(2)]
    end = offset + size
    while offset < end:
        try:
            count = os.preadv(fd, [buffers[0][: end - offset]], offset)
        except OSError as exc:
            raise OSError(exc.errno, f"{exc.strerror}, reading at {offset}") from exc
        if count == 0:
            raise OSError(errno.EIO, f"ends at {offset}, before its {end} bytes")
        yield offset, buffers[0][:count]
        offset += count
        buffers.reverse()


def _reason(exc: OSError) -> str:
    return f"{errors.errno_name(exc.errno)}: {exc.strerror}"
