"""The reading jobs: which image of which server is read, how, and by whom.

The fio jobs are mountpoint-s3's (256 KiB, synchronous, one thread each), scaled from images
of 100 GiB to those of one machine: a whole image once instead of thirty seconds of it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.images import DLO, MANY, MIB, PARTS, PLAIN, QCOW2, SLO
from tests.benchmarks.peers import (
    CURL,
    MD5SUM,
    MEMORY,
    OURS,
    OURS_UNVERIFIED,
    RCLONE,
    RCLONE_CHUNKS,
    RCLONE_FULL,
    RCLONE_SMALL,
    RCLONE_STREAM,
    SWIFT_DOWNLOAD,
)
from tests.benchmarks.processes import ToolError, run, run_all
from tests.benchmarks.servers import (
    FAST,
    FAST_5MS,
    FAST_50MS,
    FAST_TLS,
    SWIFT,
    SWIFT_LIMITED,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JOB_SECONDS = 600
BLOCK = 256 * 1024
SKIP = 17 * MIB
READERS = 16

OPEN_AND_READ_ONE_BYTE = """
import os, sys, time
start = time.perf_counter()
descriptor = os.open(sys.argv[1], os.O_RDONLY)
os.read(descriptor, 1)
print(time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a job has read, in bytes, and how long that took."""

    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One pattern of reading.

    Attributes:
        name: As `--jobs` takes it.
        server: Where the images are.
        images: The objects; several are read at once.
        read: Reads the images at these paths.
        peers: Who takes part.
        prepare: Done after mounting and before anything is counted.
        most_runs: For those that take minutes.
    """

    name: str
    server: str
    images: tuple[str, ...]
    read: Callable[[list[Path]], Reading]
    peers: tuple[str, ...]
    prepare: Callable[[list[Path]], object] | None = None
    most_runs: int | None = None


# ── how images are read ───────────────────────────────────────────────────────────────


def dd(paths: list[Path]) -> Reading:
    """Read whole images in order, 1 MiB at a time, all at once."""
    commands = [["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"] for path in paths]
    finished = run_all(commands, JOB_SECONDS)
    return Reading(_size_of(paths), max(one.seconds for one in finished))


def fio_sequential(paths: list[Path]) -> Reading:
    """Read whole images in order, 256 KiB at a time, a thread for each."""
    return _fio(paths, "--rw=read")


def fio_direct(paths: list[Path]) -> Reading:
    """Read as `fio_sequential` does, past the page cache."""
    return _fio(paths, "--rw=read", "--direct=1")


def fio_skip(paths: list[Path]) -> Reading:
    """Read 256 KiB, skip 17 MiB, and so on to the end."""
    blocks = max(1, _size_of(paths) // (BLOCK + SKIP))
    return _fio(paths, f"--rw=read:{SKIP // MIB}m", f"--io_size={blocks * BLOCK}")


def fio_random(paths: list[Path]) -> Reading:
    """Read a sixteenth of an image in blocks anywhere in it, one at a time."""
    return _fio(paths, "--rw=randread", f"--io_size={_size_of(paths) // 16}")


def fio_random_at_once(paths: list[Path]) -> Reading:
    """Read an eighth of an image in blocks anywhere in it, sixteen threads at once."""
    share = max(_size_of(paths) // 8 // READERS // BLOCK, 1) * BLOCK
    return _fio(paths, "--rw=randread", f"--io_size={share}", f"--numjobs={READERS}")


def first_byte(paths: list[Path]) -> Reading:
    """Open an image and read its first byte."""
    command = [sys.executable, "-c", OPEN_AND_READ_ONE_BYTE, paths[0]]
    return Reading(1, float(run(command, JOB_SECONDS).output))


def qemu_info(paths: list[Path]) -> Reading:
    """Ask qemu-img what the image is."""
    return Reading(0, run(["qemu-img", "info", paths[0]], JOB_SECONDS).seconds)


def qemu_check(paths: list[Path]) -> Reading:
    """Let qemu-img check all tables of the image."""
    return Reading(0, run(["qemu-img", "check", paths[0]], JOB_SECONDS).seconds)


def qemu_convert(paths: list[Path]) -> Reading:
    """Read all data of the image as qemu-img convert does, to nowhere."""
    info = json.loads(
        run(["qemu-img", "info", "--output=json", "-U", paths[0]], JOB_SECONDS).output
    )
    nowhere = f"driver=null-co,read-zeroes=on,size={info['virtual-size']}"
    # Where a disk has no data nothing is written, as with a new file: that is not reading.
    options = ["-n", "--target-is-zero", "--target-image-opts"]
    command = ["qemu-img", "convert", *options, paths[0], nowhere]
    return Reading(_size_of(paths), run(command, JOB_SECONDS).seconds)


def look_up(paths: list[Path]) -> None:
    """Let the mount know the names, and nothing of the data."""
    _size_of(paths)


def _size_of(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _fio(paths: list[Path], *options: str) -> Reading:
    """Run fio with a job for each image; return the bytes of all, and the longest time."""
    command = ["fio", "--output-format=json"]
    for number, path in enumerate(paths):
        command += [f"--name=job{number}", f"--filename={path}", f"--bs={BLOCK}"]
        command += ["--ioengine=sync", "--thread", "--readonly", "--fallocate=none", *options]
    output = run(command, JOB_SECONDS).output
    reads = [job["read"] for job in json.loads(output[output.index("{") :])["jobs"]]
    if not any(read["io_bytes"] for read in reads):
        raise ToolError(f"fio read nothing: {output[:300]}")
    seconds = max(read["runtime"] for read in reads) / 1000
    return Reading(sum(read["io_bytes"] for read in reads), max(seconds, 0.001))


# ── the jobs ──────────────────────────────────────────────────────────────────────────

_RCLONES = (RCLONE, RCLONE_STREAM, RCLONE_FULL)
_STREAMS = (OURS, OURS_UNVERIFIED, *_RCLONES, SWIFT_DOWNLOAD, CURL)
_SEGMENTED = (OURS, OURS_UNVERIFIED, *_RCLONES, RCLONE_CHUNKS, SWIFT_DOWNLOAD, CURL)
_SCATTERED = (OURS, RCLONE, RCLONE_FULL, RCLONE_SMALL)
_SOME = (OURS, RCLONE, RCLONE_FULL)

READING_JOBS = (
    Job("seq", FAST, (PLAIN,), dd, (*_STREAMS, MD5SUM)),
    Job("seq-tls", FAST_TLS, (PLAIN,), dd, _STREAMS),
    Job("seq-5ms", FAST_5MS, (PLAIN,), dd, _STREAMS),
    Job("seq-50ms", FAST_50MS, (PLAIN,), dd, _STREAMS),
    Job("seq-slo", SWIFT, (SLO,), dd, _SEGMENTED),
    Job("seq-dlo", SWIFT, (DLO,), dd, _SEGMENTED),
    Job("limited-dlo", SWIFT_LIMITED, (MANY,), dd, _SEGMENTED, most_runs=1),
    Job("fio-seq", FAST, (PLAIN,), fio_sequential, _SOME),
    Job("fio-seq-direct", FAST, (PLAIN,), fio_direct, _SOME),
    Job("fio-seq-4t", FAST, PARTS[:4], fio_sequential, _SOME),
    Job("fio-seq-4t-direct", FAST, PARTS[:4], fio_direct, _SOME),
    Job("fio-skip-17m", FAST, (PLAIN,), fio_skip, _SOME),
    Job("random-5ms", FAST_5MS, (PLAIN,), fio_random, _SCATTERED),
    Job("random-16-5ms", FAST_5MS, (PLAIN,), fio_random_at_once, _SCATTERED),
    Job("random-16-50ms", FAST_50MS, (PLAIN,), fio_random_at_once, _SCATTERED),
    Job("first-byte-5ms", FAST_5MS, (PLAIN,), first_byte, _SOME),
    Job("first-byte-50ms", FAST_50MS, (PLAIN,), first_byte, _SOME),
    Job("qemu-info", FAST_5MS, (QCOW2,), qemu_info, _SCATTERED, prepare=look_up),
    Job("qemu-check", FAST_5MS, (QCOW2,), qemu_check, _SCATTERED),
    Job("qemu-convert", FAST_5MS, (QCOW2,), qemu_convert, _SCATTERED),
    Job("warm", FAST, (PLAIN,), dd, (OURS, RCLONE, RCLONE_FULL, MEMORY), prepare=dd),
    Job("eight-readers", FAST, PARTS, dd, _SOME),
)
