"""What open(2) does with links and directories, by each combination of flags: as on a local disk."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR")
FLAGS = ("O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND", "O_DIRECTORY", "O_NOFOLLOW")
KINDS = ("dir", "link", "dangling")
MATRIX = [
    (access, *(name for name, is_set in zip(FLAGS, chosen, strict=True) if is_set))
    for access in ACCESS
    for chosen in itertools.product((False, True), repeat=len(FLAGS))
]


@pytest.fixture(scope="module")
def patient_mount(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    """Mount for nobody but this test, so that it need not ask Swift all the time."""
    options = "attr_timeout=60,list_timeout=60,timeout=10"
    with mounted(tmp_path_factory.mktemp("m"), swift.swift.environ(), options) as running:
        yield running


def arrange(directory: Path, kind: str) -> None:
    match kind:
        case "file":
            (directory / "name").write_bytes(b"before")
        case "dir":
            (directory / "name").mkdir()
        case "link":
            (directory / "target").write_bytes(b"before")
            (directory / "name").symlink_to("target")
        case "dangling":
            (directory / "target").write_bytes(b"before")
            (directory / "name").symlink_to("target")
            (directory / "target").unlink()


def state_of(directory: Path) -> dict[str, str]:
    """Return what is in a directory: what each name is, and its bytes."""
    found = {}
    for name in os.listdir(directory):
        path = directory / name
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        else:
            found[name] = "directory" if path.is_dir() else repr(path.read_bytes())
    return found


def outcome(path: Path, flags: int) -> list[object]:
    """Return what open, write, lseek and read say; the names of errnos where they fail."""
    said: list[object] = []
    try:
        number = os.open(path, flags, 0o644)
    except OSError as failure:
        return [errno.errorcode[failure.errno or 0]]
    actions: tuple[Callable[[], object], ...] = (
        lambda: os.write(number, b"ab"),
        lambda: os.lseek(number, 0, os.SEEK_SET),
        lambda: os.read(number, 100),
        lambda: os.fstat(number).st_size if flags & os.O_DIRECTORY == 0 else None,
    )
    for action in actions:
        try:
            said.append(action())
        except OSError as failure:
            said.append(errno.errorcode[failure.errno or 0])
    os.close(number)
    return said


def clear(directory: Path) -> None:
    for path in list(directory.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def results(directory: Path, kind: str) -> dict[str, tuple[list[object], dict[str, str]]]:
    """Return what each combination says, and what is in the directory afterwards."""
    found = {}
    before: dict[str, str] = {}
    for names in MATRIX:
        if not before:
            clear(directory)
            arrange(directory, kind)
            before = state_of(directory)
        flags = 0
        for name in names:
            flags |= getattr(os, name)
        said = outcome(directory / "name", flags)
        # Without a success nothing can have changed; the last look would show it.
        state = before if len(said) == 1 else state_of(directory)
        found["|".join(names)] = said, state
        if state != before:
            before = {}  # made anew for the next
    found["all"] = [], state_of(directory)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_open_does_what_it_does_on_a_local_disk(
    patient_mount: Mounted, container: str, tmp_path: Path, kind: str
) -> None:
    local: dict[str, Any] = results(tmp_path, kind)
    ours: dict[str, Any] = results(patient_mount.path / container, kind)

    # The size of an open directory is the filesystem's own business.
    if kind == "dir":
        for said, _ in (*local.values(), *ours.values()):
            del said[3:]
    assert {k: (ours[k], v) for k, v in local.items() if ours[k] != v} == {}
