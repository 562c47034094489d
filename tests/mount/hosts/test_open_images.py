"""Images that one host has open and another changes, and two writers."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.writing.garbage import OTHERS_COMMIT
from tests.support.mounts import mounted
from tests.support.stored import content
from tests.support.two_hosts import LARGE, SEGMENTS, SMALL

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount
FSTAT_AND_READ = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
sys.stdin.readline()
for name, call in (("fstat", lambda: os.fstat(file)), ("read", lambda: os.pread(file, 10, 0))):
    try:
        call()
    except OSError as exc:
        print(name, exc.errno)
    else:
        print(name, 0)
"""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Callable[[], dict[str, int]]]:
    """Have another process open an image; yield what it is told by fstat and read later."""
    command = [sys.executable, "-c", FSTAT_AND_READ, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"

        def told() -> dict[str, int]:
            lines = reader.communicate("\n")[0].split()
            return dict(zip(lines[::2], map(int, lines[1::2]), strict=True))

        yield told


# ── who has it open ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_who_has_an_image_open_that_another_host_deleted_is_told_estale(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "image").write_bytes(content)
    with opened(there / "image") as told:
        (here / "image").unlink()

        with pytest.raises(FileNotFoundError):  # who asks by the name
            (there / "image").stat()
        assert told() == {"fstat": errno.ESTALE, "read": errno.ESTALE}


def test_a_reader_is_told_when_its_version_was_replaced(here: Path, there: Path) -> None:
    (here / "image").write_bytes(LARGE)
    with (there / "image").open("rb", buffering=0) as image:
        start = image.read(1000)
        (here / "image").write_bytes(os.urandom(300_000))

        assert start == LARGE[:1000]
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            image.read(1000)


@pytest.mark.parametrize("look", ["stat", "open", "list"])
def test_a_reader_is_not_cut_off_when_its_image_is_replaced_by_a_smaller_one(
    here: Path, there: Path, look: str
) -> None:
    """The kernel ends a file at the size that it was told last, without asking."""
    (here / "image").write_bytes(LARGE)
    with opened(there / "image") as told, (there / "image").open("rb", buffering=0) as image:
        image.seek(len(LARGE) - 1000)
        (here / "image").write_bytes(SMALL)
        if look == "stat":
            assert (there / "image").stat().st_size == len(SMALL)
        elif look == "open":
            assert (there / "image").read_bytes() == SMALL
        elif look == "list":
            assert [entry.stat().st_size for entry in os.scandir(there)] == [len(SMALL)]

        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            image.read(1000)
        assert told() == {"fstat": errno.ESTALE, "read": errno.ESTALE}


def test_who_looks_at_an_image_while_this_mount_removes_it_is_never_told_estale(
    here: Path, container: str
) -> None:
    """It is there, or it is not; and who has it open can read on."""
    answers: set[int] = set()
    is_done = threading.Event()

    def look() -> None:
        while not is_done.is_set():
            try:
                (here / "image").stat()
            except OSError as exc:
                answers.add(exc.errno or 0)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(4):
            (here / "image").write_bytes(LARGE)
            with (here / "image").open("rb", buffering=0) as image:
                (here / "image").unlink()
                assert os.fstat(image.fileno()).st_size == len(LARGE)
                assert image.read(1000) == LARGE[:1000]
    finally:
        is_done.set()
        looking.join()

    assert answers <= {errno.ENOENT}


# ── two writers ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_who_edits_what_another_host_changed_meanwhile_is_told_estale(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "image").write_bytes(content)
    image = (there / "image").open("r+b", buffering=0)
    image.write(b"theirs")
    (here / "image").write_bytes(b"ours" + content)

    with pytest.raises(OSError) as caught:
        image.close()

    assert caught.value.errno == errno.ESTALE
    assert (there / "image").read_bytes() == b"ours" + content
    assert (here / "image").read_bytes() == b"ours" + content


def test_who_edits_what_another_host_renamed_meanwhile_leaves_that_whole(
    here: Path, there: Path, swift: FaultySwift, container: str
) -> None:
    (here / "image").write_bytes(LARGE)
    image = (there / "image").open("r+b", buffering=0)
    image.write(b"theirs")
    (here / "image").rename(here / "renamed")

    with pytest.raises(OSError) as caught:
        image.close()

    assert caught.value.errno == errno.ESTALE
    assert content(swift, container, "renamed") == LARGE
    assert content(swift, container, "image") is None


def test_who_wrote_all_of_what_another_host_renamed_meanwhile_stores_it(
    here: Path, there: Path, swift: FaultySwift, container: str
) -> None:
    (here / "image").write_bytes(LARGE)
    with (there / "image").open("wb", buffering=0) as image:
        image.write(LARGE[::-1])
        (here / "image").rename(here / "renamed")

    assert content(swift, container, "renamed") == LARGE
    assert content(swift, container, "image") == LARGE[::-1]


def close(image: io.FileIO, delay: float) -> int:
    """Close an image after a moment; return the errno that is told."""
    time.sleep(delay)  # noqa: TID251  # no event loop here
    try:
        image.close()
    except OSError as exc:
        return exc.errno or 0
    return 0


@pytest.mark.parametrize("delay", [0, 0.02, 0.05])
def test_of_two_edits_that_are_closed_at_once_one_wins_as_a_whole(
    here: Path, there: Path, swift: FaultySwift, container: str, delay: float
) -> None:
    (here / "image").write_bytes(LARGE)
    first, second = ((one / "image").open("r+b", buffering=0) for one in (here, there))
    first.write(b"first")
    second.seek(len(LARGE) - len(b"second"))
    second.write(b"second")

    with ThreadPoolExecutor() as threads:
        told = [*threads.map(close, (first, second), (0, delay))]
    time.sleep(OTHERS_COMMIT + 1)  # noqa: TID251  # by then what was replaced is gone

    assert 0 in told
    assert {*told} <= {0, errno.ESTALE}
    edits = [b"first" + LARGE[len(b"first") :], LARGE[: -len(b"second")] + b"second"]
    assert content(swift, container, "image") in edits


def test_with_last_writer_wins_the_last_close_wins_as_a_whole(
    here: Path, swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    (here / "image").write_bytes(LARGE)
    options = f"{SEGMENTS},last_writer_wins"
    with (
        mounted(tmp_path, swift.swift.environ(), options) as winner,
        (winner.path / container / "image").open("wb", buffering=0) as image,
    ):
        image.write(b"the last")
        (here / "image").write_bytes(LARGE[::-1])

    assert (here / "image").read_bytes() == b"the last"
