"""The bytes that are read: files in memory, made once for a run and only if needed."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MIB = 1024 * 1024
PLAIN = "plain"
QCOW2 = "disk.qcow2"
DISK_SIZE = 64 * 1024 * MIB  # as its guest sees it
STRIPES = 256  # of data, evenly spread over it
# As large as a quarter of the plain one; the jobs with several files read different ones.
PARTS = tuple(f"part.{number}" for number in range(8))
# The same bytes as the plain one's, stored in segments.
SLO, DLO = "slo", "dlo"
MANY = "many"
# Raw disks ten times as large as the plain one, a hundredth of them data: in ten runs, and
# in a hundred. As everywhere in filesystems, runs begin at 4 KiB and at nothing larger.
SPARSE, SCATTERED = "sparse.raw", "scattered.raw"
SPARSE_RUNS = {SPARSE: 10, SCATTERED: 100}
SPARSE_TIMES = 10
MANY_SEGMENTS = 100
MANY_SEGMENT_SIZE = 4 * MIB
# Of all files, as swift.lua says it too: 2026-11-22T10:00:00.
WRITTEN = 1795341600


@dataclass(frozen=True, slots=True)
class Image:
    """A file in memory, to be served or written as an object of its name."""

    name: str
    path: Path
    size: int
    md5: str

    @property
    def data(self) -> int:
        """Bytes of it that are there: what a hole does not have."""
        return self.path.stat().st_blocks * 512


class Images:
    """The files in one directory; `size` is that of the plain one, in bytes."""

    def __init__(self, directory: Path, size: int) -> None:
        self.size = size
        self._directory = directory
        self._made: dict[str, Image] = {}

    def make(self, names: Iterable[str]) -> list[Image]:
        """Return the images of these names."""
        return [self.get(name) for name in names]

    def get(self, name: str) -> Image:
        """Return an image, which is made at the first call; large ones share their bytes."""
        name = PLAIN if name in {SLO, DLO} else name
        if name not in self._made:
            path = self._directory / name
            if name == QCOW2:
                self._make_qcow2(path)
            elif name in SPARSE_RUNS:
                self._make_sparse(path, SPARSE_RUNS[name])
            else:
                _write_noise(path, self._size_of(name))
            self._made[name] = _image_of(path)
        return self._made[name]

    def _size_of(self, name: str) -> int:
        if name == MANY:
            return MANY_SEGMENTS * MANY_SEGMENT_SIZE
        return self.size // 4 if name in PARTS else self.size

    def _make_sparse(self, path: Path, runs: int) -> None:
        size = self.size * SPARSE_TIMES
        length = size // 100 // runs // 4096 * 4096
        with path.open("wb") as file:
            file.truncate(size)
            for run in range(runs):
                file.seek(run * (size // runs // 4096 * 4096) + 17 * 4096)
                file.write(_noise(run, length))

    def _make_qcow2(self, path: Path) -> None:
        """Make a guest's disk with data all over it, a quarter of `size` in all.

        With the clusters that qemu-img makes by default, an L2 table maps 512 MiB: so there
        are as many tables as in any disk of that size that has been in use for a while.
        """
        raw = path.with_suffix(".raw")
        stripe = max(self.size // 4 // STRIPES, 64 * 1024)
        with raw.open("wb") as file:
            file.truncate(DISK_SIZE)
            for offset in range(0, DISK_SIZE, DISK_SIZE // STRIPES):
                file.seek(offset)
                file.write(_noise(offset, stripe))
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        raw.unlink()


def _write_noise(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for offset in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - offset)))


def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _image_of(path: Path) -> Image:
    os.utime(path, (WRITTEN, WRITTEN))
    md5 = ""
    if path.name not in SPARSE_RUNS:  # which nobody is asked for as a whole
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
    return Image(path.name, path, path.stat().st_size, md5)
