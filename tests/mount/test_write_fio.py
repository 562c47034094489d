"""fio writes and reads back, in order and not, through the page cache and past it, mapped.

Every block says which one it is and has a checksum. What was written is verified by the
writer, and by another fio after a remount.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import mounted, run
from tests.support.stored import orphans

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(shutil.which("fio") is None, reason="needs fio"),
]

OPTIONS = "segment_size=64K"
MEGABYTES = int(os.environ.get("SWIFTIMGFS_FIO_MEGABYTES", "3"))
SEED = "--randseed=51"

JOBS = {
    "seq": ["--rw=write", "--bs=256k", "--ioengine=psync"],
    "seq-direct": ["--rw=write", "--bs=64k", "--ioengine=psync", "--direct=1"],
    "seq-small": ["--rw=write", "--bs=4k", "--ioengine=psync"],
    "rand": ["--rw=randwrite", "--bs=4k", "--ioengine=psync"],
    "rand-odd": ["--rw=randwrite", "--bs=12k", "--ioengine=psync"],
    "rand-direct": ["--rw=randwrite", "--bs=4k", "--ioengine=psync", "--direct=1"],
    "rand-async": ["--rw=randwrite", "--bs=8k", "--ioengine=libaio", "--direct=1"],
    "rand-fsync": ["--rw=randwrite", "--bs=16k", "--ioengine=psync", "--fsync=16"],
    "mmap-seq": ["--rw=write", "--bs=64k", "--ioengine=mmap"],
    "mmap-rand": ["--rw=randwrite", "--bs=4k", "--ioengine=mmap"],
}


def fio(directory: Path, name: str, *options: str) -> None:
    """Run one job of one thread; it fails when a block is not what was written."""
    run(
        "fio",
        f"--name={name}",
        f"--directory={directory}",
        f"--filename={name}",
        f"--size={MEGABYTES}M",
        "--fallocate=none",
        "--verify=crc32c",
        "--verify_fatal=1",
        "--verify_state_save=0",
        "--thread",
        "--iodepth=16",
        SEED,
        *options,
    )


def verify(directory: Path, name: str) -> None:
    """Verify what a job has written, as another program."""
    fio(directory, name, *JOBS[name], "--verify_only=1")


def test_fio_finds_a_block_that_is_wrong(tmp_path: Path) -> None:
    fio(tmp_path, "rand", *JOBS["rand"])
    with (tmp_path / "rand").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"x")

    with pytest.raises(AssertionError, match="verify"):
        verify(tmp_path, "rand")


def test_fio_verifies_what_it_wrote(swift: FaultySwift, container: str, tmp_path: Path) -> None:
    environ = swift.swift.environ()
    with mounted(tmp_path, environ, OPTIONS) as running:
        for name, options in JOBS.items():
            fio(running.path / container, name, *options, "--do_verify=1")
    with mounted(tmp_path, environ, OPTIONS) as running:
        for name in JOBS:
            verify(running.path / container, name)

    assert orphans(swift, container, JOBS) == []


def test_fio_overwrites_parts_of_an_image_that_is_stored(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    environ = swift.swift.environ()
    with mounted(tmp_path, environ, OPTIONS) as running:
        fio(running.path / container, "seq", *JOBS["seq"])
    with mounted(tmp_path, environ, OPTIONS) as running:
        # The same blocks, in another order and with the same contents, over the old ones.
        part = ["--rw=randwrite", "--bs=256k", "--ioengine=psync", "--overwrite=1"]
        fio(running.path / container, "seq", *part, "--io_size=1M", "--do_verify=1")
    with mounted(tmp_path, environ, OPTIONS) as running:
        verify(running.path / container, "seq")

    assert orphans(swift, container, ["seq"]) == []
