"""Every combination of open(2)'s flags does on the mount what it does on the local disk.

The matrix is generated, and what is right is not written down: both are asked and compared.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR")
FLAGS = ("O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND")
MORE_FLAGS = ("O_DIRECTORY", "O_NOFOLLOW", "O_SYNC", "O_PATH")
TARGETS = ("image", "missing", "directory", "missing/deep")
CONTENT = b"0123456789"

Told = tuple[str, object]


def combinations(target: str) -> Iterator[tuple[str, ...]]:
    """Yield every way to combine the flags that belong together, and the others one by one."""
    chosen = itertools.product(*((None, flag) for flag in FLAGS))
    sets = [tuple(flag for flag in flags if flag) for flags in chosen]
    if target not in {"image", "missing"}:
        sets = [flags for flags in sets if len(flags) <= 1]
    yield from ((access, *flags) for access in ACCESS for flags in sets)
    yield from (("O_RDONLY", flag) for flag in MORE_FLAGS)


def told(call: Callable[[], object]) -> object:
    """Return what a call returns, or the name of its error."""
    try:
        return call()
    except OSError as exc:
        return os.strerror(exc.errno or 0)


def history(directory: Path, target: str, flags: tuple[str, ...]) -> list[Told]:
    """Open a file; return what open, reads, writes and the end of it all said."""
    path = directory / target
    number = 0
    for flag in flags:
        number |= getattr(os, flag)
    opened = told(lambda: os.open(path, number, 0o640))
    if not isinstance(opened, int):
        return [("open", opened), ("then", content_of(path))]
    said: list[Told] = [("open", "open")]
    try:
        for name, call in (
            ("size", lambda: None if os.path.isdir(path) else os.fstat(opened).st_size),
            ("read", lambda: os.read(opened, 3)),
            ("write", lambda: os.write(opened, b"abc")),
            ("pwrite", lambda: os.pwrite(opened, b"XY", 6)),
            ("pread", lambda: os.pread(opened, 20, 0)),
            ("seek", lambda: os.path.isdir(path) or os.lseek(opened, 0, os.SEEK_CUR)),
            ("truncate", lambda: os.ftruncate(opened, 8)),
            ("sync", lambda: os.fsync(opened)),
        ):
            said.append((name, told(call)))
    finally:
        os.close(opened)
    return [*said, ("then", content_of(path))]


def content_of(path: Path) -> object:
    return told(lambda: sorted(os.listdir(path)) if path.is_dir() else path.read_bytes())


def prepare(directory: Path, target: str) -> None:
    """Have the target as it is to be found; what a test before left is gone."""
    directory.mkdir(exist_ok=True)
    if target == "image":
        (directory / target).write_bytes(CONTENT)
    if target == "directory":
        (directory / target).mkdir(exist_ok=True)
    if target == "missing":
        (directory / target).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def trusting(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount the account; nobody else changes it, so that little has to be asked."""
    options = "attr_timeout=600,list_timeout=600"
    with mounted(tmp_path_factory.mktemp("flags"), swift.swift.environ(), options) as running:
        yield running


@pytest.mark.parametrize("target", TARGETS)
def test_flags_do_what_they_do_on_a_local_disk(
    trusting: Mounted, container: str, tmp_path: Path, target: str
) -> None:
    here, there = tmp_path / "local", trusting.path / container / "d"
    different = {}
    for flags in combinations(target):
        for directory in (here, there):
            prepare(directory, target)
        local, ours = history(here, target, flags), history(there, target, flags)
        if local != ours:
            different[" | ".join(flags)] = [
                pair for pair in zip(local, ours, strict=False) if pair[0] != pair[1]
            ]

    assert different == {}
