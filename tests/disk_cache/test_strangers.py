"""What is not ours in a directory, and directories that cannot be used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.errors import ConfigError
from swiftimgfs.reading.disk_cache import DiskCache
from tests.support.disk_blocks import (
    COST,
    PLENTY,
    SMALL,
    content_of,
    file_of,
    has,
    held,
    ledger_of,
    put,
)

if TYPE_CHECKING:
    from pathlib import Path

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")


# --- what is not ours -----------------------------------------------------------------------


def foreign_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "precious")


def foreign_fifo(path: Path) -> None:
    os.mkfifo(path)


def foreign_directory(path: Path) -> None:
    path.mkdir()


def foreign_giant(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def foreign_owner(path: Path) -> None:
    path.write_bytes(b"x" * (SMALL + 12))
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    "make",
    [
        foreign_link,
        foreign_fifo,
        foreign_directory,
        foreign_giant,
        pytest.param(foreign_owner, marks=is_root),
    ],
)
def test_what_is_not_ours_is_not_followed_counted_served_or_removed(directory, make, caplog):
    directory.mkdir(0o700)
    precious = directory.parent / "precious"
    precious.write_bytes(content_of("a", SMALL, 0) + b"x" * 12)
    make(file_of(directory, "a"))
    before = file_of(directory, "a").lstat()

    cache = DiskCache(directory, 2 * COST)
    assert not has(cache, "a")
    for etag in "abcd":
        put(cache, etag)
    assert not has(cache, "a")

    assert held(directory, "bcd") == "cd"
    assert has(cache, "c")
    assert ledger_of(directory) == 2 * COST
    after = file_of(directory, "a").lstat()
    assert (before.st_ino, before.st_mode, before.st_mtime) == (
        after.st_ino,
        after.st_mode,
        after.st_mtime,
    )
    assert precious.read_bytes() == content_of("a", SMALL, 0) + b"x" * 12
    assert not caplog.records


def test_files_of_other_names_are_left_alone(directory):
    directory.mkdir(0o700)
    names = ["notes", ".block", "0" * 40, "0" * 40 + ".block.bak", "F" * 40 + ".block"]
    for name in names:
        (directory / name).write_bytes(b"mine")

    cache = DiskCache(directory, COST)
    put(cache, "a")
    put(cache, "b")

    assert all((directory / name).read_bytes() == b"mine" for name in names)
    assert held(directory, "ab") == "b"


@pytest.mark.parametrize("make", [foreign_link, foreign_fifo, foreign_directory, foreign_giant])
def test_a_ledger_that_is_not_ours_is_refused(directory, make):
    directory.mkdir(0o700)
    make(directory / "swiftimgfs-cache.ledger")

    with pytest.raises(ConfigError, match="cache"):
        DiskCache(directory, PLENTY)


@pytest.mark.parametrize("make", [foreign_link, foreign_fifo, foreign_directory, foreign_giant])
def test_a_stranger_where_blocks_are_written_costs_the_cache_only(directory, make, caplog):
    directory.mkdir(0o700)
    (directory.parent / "precious").write_bytes(b"precious")
    make(directory / "swiftimgfs-cache.partial")

    cache = DiskCache(directory, PLENTY)
    put(cache, "a")

    assert not has(cache, "a")
    assert os.path.lexists(directory / "swiftimgfs-cache.partial")
    assert (directory.parent / "precious").read_bytes() == b"precious"
    assert "disk cache fails" in caplog.text
    assert ledger_of(directory) == 0


# --- directories that cannot be used --------------------------------------------------------


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"cache_dir=.*file cannot be used"):
        DiskCache(tmp_path / "file", PLENTY)
    with pytest.raises(ConfigError, match="Not a directory"):
        DiskCache(tmp_path / "file" / "below", PLENTY)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_may_write_is_refused(directory, mode):
    directory.mkdir()
    directory.chmod(mode)

    with pytest.raises(ConfigError, match="others can write in it"):
        DiskCache(directory, PLENTY)


@is_root
def test_a_directory_of_another_user_is_refused(directory):
    directory.mkdir(0o700)
    os.chown(directory, 12345, 12345)

    with pytest.raises(ConfigError, match="somebody else"):
        DiskCache(directory, PLENTY)


def test_a_refused_directory_leaves_no_descriptor_open(directory):
    directory.mkdir()
    directory.chmod(0o777)
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with pytest.raises(ConfigError):
            DiskCache(directory, PLENTY)

    assert len(os.listdir("/proc/self/fd")) == before


def test_using_it_leaves_no_descriptor_open(directory):
    before = len(os.listdir("/proc/self/fd"))
    cache = DiskCache(directory, 2 * COST)
    for etag in "abc":
        put(cache, etag)
    file_of(directory, "b").write_bytes(b"damaged")
    (directory / "swiftimgfs-cache.ledger").unlink()
    for etag in "bcde":
        has(cache, etag)
        put(cache, etag)

    cache.close()

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_to_a_directory_of_ours_is_what_the_user_wanted(directory):
    directory.mkdir(0o700)
    link = directory.parent / "link"
    link.symlink_to(directory)

    put(DiskCache(link, PLENTY), "a")

    assert held(directory, "a") == "a"
