"""Blocks of a cache on a disk: put, looked for, and counted as files."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

from swiftimgfs.reading.block_files import cost_of, name_of
from swiftimgfs.reading.disk_cache import DISK_BLOCK, DiskCache

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
SMALL = 5000  # an object of one block, that takes two pages
COST = cost_of(SMALL)
PLENTY = 1000 * COST
ROOT = Path(__file__).parents[2]


def content_of(etag: str, object_size: int, index: int) -> bytes:
    """Return the one true content of a block."""
    size = min(DISK_BLOCK, object_size - index * DISK_BLOCK)
    return random.Random(repr((etag, object_size, index))).randbytes(size)


def put(cache: DiskCache, etag: str, object_size: int = SMALL, index: int = 0) -> None:
    cache.put(etag, object_size, index, memoryview(content_of(etag, object_size, index)))


def has(cache: DiskCache, etag: str, object_size: int = SMALL, index: int = 0) -> bool:
    """Return whether the block is there; insist that it is the true one."""
    content = content_of(etag, object_size, index)
    buffer = memoryview(bytearray(len(content)))
    if not cache.get(etag, object_size, index, buffer):
        return False
    assert buffer == content
    return True


def held(directory: Path, etags: str) -> str:
    """Return those of the one-letter etags whose block has a file, untouched by looking."""
    return "".join(e for e in etags if (directory / name_of(e, SMALL, 0)).exists())


def file_of(directory: Path, etag: str) -> Path:
    return directory / name_of(etag, SMALL, 0)


def block_files_in(directory: Path) -> list[Path]:
    return [p for p in directory.iterdir() if p.suffix in {".block", ".partial"}]


def used_in(directory: Path) -> int:
    """Return what the blocks take of the disk."""
    return sum(-(-p.lstat().st_size // 4096) * 4096 for p in block_files_in(directory))


def ledger_of(directory: Path) -> int:
    return int.from_bytes((directory / "swiftimgfs-cache.ledger").read_bytes()[8:16], "little")


class FaultyOs:
    """The os module, with one function that fails."""

    def __init__(self, call: str, number: int) -> None:
        self.call, self.number = call, number

    def __getattr__(self, name):
        return self._fail if name == self.call else getattr(os, name)

    def _fail(self, *args, **kwargs):
        raise OSError(self.number, os.strerror(self.number))


def script_arguments(script: str, *before: str) -> list[str]:
    return [*before, sys.executable, "-c", textwrap.dedent(script)]


def run_script(script: str, *before: str, arguments=()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*script_arguments(script, *before), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
