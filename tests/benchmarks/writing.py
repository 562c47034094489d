"""The writing jobs: what is written to which server, how, and by whom.

A job is over when Swift has all of the image: with the last close, and of a program that
uploads without a mount with its end. What is written is a file in memory, the same for all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.images import MIB, PLAIN, QCOW2, SCATTERED, SPARSE
from tests.benchmarks.jobs import BLOCK, JOB_SECONDS
from tests.benchmarks.peers import (
    CURLS,
    OURS,
    OURS_UNHASHED,
    RCLONE,
    RCLONE_WRITING,
    SWIFT_UPLOAD,
)
from tests.benchmarks.processes import ToolError, run, run_all
from tests.benchmarks.servers import SWALLOW, SWIFT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.images import Image

WRITERS = 4


@dataclass(frozen=True, slots=True)
class Written:
    """What a job has written, in bytes of data, and how long that took."""

    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WritingJob:
    """One way of writing; its functions get the local image and the mount's directory.

    Attributes:
        name: As `--jobs` takes it.
        server: Where the image goes.
        image: The local one that is written.
        write: Writes it, and returns when Swift has it.
        peers: Who takes part.
        prepare: What has to be stored before, by a mount of its own.
        check: Looks at what was written, in a mount of its own.
        most_runs: For those that take minutes.
    """

    name: str
    server: str
    image: str
    write: Callable[[Image, Path], Written]
    peers: tuple[str, ...] = (OURS,)
    prepare: Callable[[Image, Path], object] | None = None
    check: Callable[[Image, Path], None] | None = None
    most_runs: int | None = None


# ── how images are written ────────────────────────────────────────────────────────────


def dd(image: Image, directory: Path) -> Written:
    """Write an image in order, 1 MiB at a time."""
    command = ["dd", f"if={image.path}", f"of={directory / image.name}", "bs=1M", "status=none"]
    return Written(image.size, run(command, JOB_SECONDS).seconds)


def dd_at_once(image: Image, directory: Path) -> Written:
    """Write four images at once."""
    finished = run_all(_writers(image, directory, "new"), JOB_SECONDS)
    return Written(image.size * WRITERS, max(one.seconds for one in finished))


def store_some(image: Image, directory: Path) -> None:
    """Store as many images for others to read."""
    run_all(_writers(image, directory, "old"), JOB_SECONDS)


def dd_beside_readers(image: Image, directory: Path) -> Written:
    """Write four images at once while four others are read in order."""
    readers = [
        ["dd", f"if={directory}/{image.name}.old.{number}", "of=/dev/null", "bs=1M"]
        for number in range(WRITERS)
    ]
    finished = run_all([*_writers(image, directory, "new"), *readers], JOB_SECONDS)
    return Written(image.size * WRITERS * 2, max(one.seconds for one in finished))


def _writers(image: Image, directory: Path, age: str) -> list[list[str]]:
    return [
        ["dd", f"if={image.path}", f"of={directory}/{image.name}.{age}.{number}", "bs=1M"]
        for number in range(WRITERS)
    ]


def change_a_mebibyte(image: Image, directory: Path) -> Written:
    """Write 1 MiB in the middle of an image over what is there, inside a segment."""
    block = image.size // 2 // MIB + 5
    command = ["dd", f"if={image.path}", f"of={directory / image.name}", "bs=1M", "count=1"]
    command += [f"seek={block}", "conv=notrunc", "status=none"]
    return Written(MIB, run(command, JOB_SECONDS).seconds)


def copy_sparse(image: Image, directory: Path) -> Written:
    """Copy a disk that is mostly holes, by a tool that looks for them."""
    command = ["cp", "--sparse=always", image.path, directory / image.name]
    return Written(image.data, run(command, JOB_SECONDS).seconds)


def rsync(image: Image, directory: Path) -> Written:
    """Copy as rsync does, under a temporary name that is then changed."""
    command = ["rsync", "--times", image.path, directory / image.name]
    return Written(image.size, run(command, JOB_SECONDS).seconds)


def convert_to_qcow2(image: Image, directory: Path) -> Written:
    """Write a disk with qemu-img, whose tables it writes again and again."""
    return _convert("qcow2", image, directory)


def convert_to_raw(image: Image, directory: Path) -> Written:
    """Write a disk with qemu-img, which leaves out what is zero."""
    return _convert("raw", image, directory)


def _convert(form: str, image: Image, directory: Path) -> Written:
    target = directory / f"converted.{form}"
    command = ["qemu-img", "convert", "-O", form, image.path, target]
    return Written(image.data, run(command, JOB_SECONDS).seconds)


def fio_random(image: Image, directory: Path) -> Written:
    """Write a quarter of an image's size in blocks anywhere in a new image, then close it."""
    size = image.size // 4 // BLOCK * BLOCK
    command = ["fio", "--name=job", f"--filename={directory / 'random'}", f"--size={size}"]
    command += ["--rw=randwrite", f"--bs={BLOCK}", "--ioengine=psync", "--fallocate=none"]
    command += ["--thread", "--file_append=0", "--create_on_open=1"]
    return Written(size, run(command, JOB_SECONDS).seconds)


# ── whether it is what was written ────────────────────────────────────────────────────


def is_same(image: Image, directory: Path) -> None:
    """Compare an image byte for byte."""
    run(["cmp", image.path, directory / image.name], JOB_SECONDS)


def has_changed_mebibyte(image: Image, directory: Path) -> None:
    """Compare an image with one of which 1 MiB was changed."""
    start = (image.size // 2 // MIB + 5) * MIB
    with image.path.open("rb") as local, (directory / image.name).open("rb") as stored:
        for offset in range(0, image.size, MIB):
            wanted = os.pread(local.fileno(), MIB, 0 if offset == start else offset)
            if os.pread(stored.fileno(), MIB, offset) != wanted:
                raise ToolError(f"another mebibyte at {offset}")


def is_same_disk(image: Image, directory: Path) -> None:
    """Compare what a virtual machine would see."""
    (target,) = directory.glob("converted.*")
    form = target.suffix.removeprefix(".")
    run(["qemu-img", "compare", "-f", "qcow2", "-F", form, image.path, target], JOB_SECONDS)


# ── the jobs ──────────────────────────────────────────────────────────────────────────

_ALL = (OURS, OURS_UNHASHED, *RCLONE_WRITING, SWIFT_UPLOAD)

WRITING_JOBS = (
    WritingJob("write", SWIFT, PLAIN, dd, (*_ALL, CURLS)),
    WritingJob("write-swallow", SWALLOW, PLAIN, dd, _ALL),
    WritingJob("four-writers", SWIFT, PLAIN, dd_at_once, (OURS, RCLONE), most_runs=1),
    WritingJob("four-writers-swallow", SWALLOW, PLAIN, dd_at_once, (OURS, RCLONE), most_runs=1),
    WritingJob(
        "readers-and-writers",
        SWIFT,
        PLAIN,
        dd_beside_readers,
        (OURS, RCLONE),
        store_some,
        most_runs=1,
    ),
    WritingJob("edit", SWIFT, PLAIN, change_a_mebibyte, prepare=dd, check=has_changed_mebibyte),
    WritingJob("sparse", SWIFT, SPARSE, copy_sparse, check=is_same, most_runs=1),
    WritingJob("sparse-scattered", SWIFT, SCATTERED, copy_sparse, check=is_same, most_runs=1),
    WritingJob("rsync", SWIFT, PLAIN, rsync, check=is_same),
    WritingJob("qemu-qcow2", SWIFT, QCOW2, convert_to_qcow2, check=is_same_disk),
    WritingJob("qemu-raw", SWIFT, QCOW2, convert_to_raw, check=is_same_disk),
    WritingJob("random-write", SWIFT, PLAIN, fio_random),
)
