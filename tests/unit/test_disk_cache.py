"""Blocks on a disk: never false, never too many, whoever shares, damages or dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import OrderedDict
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from swiftimgfs.errors import ConfigError
from swiftimgfs.reading import block_files, disk_cache
from swiftimgfs.reading.block_files import cost_of, name_of
from swiftimgfs.reading.disk_cache import DISK_BLOCK, DiskCache

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
SMALL = 5000  # an object of one block, that takes two pages
COST = cost_of(SMALL)
PLENTY = 1000 * COST
ROOT = Path(__file__).parents[2]

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch):
    """Try again at once after a failure."""
    monkeypatch.setattr(disk_cache, "_REST", 0)


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


# --- what is put is found -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_size", "index"),
    [
        (1, 0),
        (DISK_BLOCK - 1, 0),
        (DISK_BLOCK, 0),
        (DISK_BLOCK + 1, 0),
        (DISK_BLOCK + 1, 1),
        (5 * 1024**3, 5119),
    ],
)
def test_a_block_comes_back_after_a_remount(directory, object_size, index):
    first = DiskCache(directory, 10 * DISK_BLOCK)
    put(first, ETAG, object_size, index)
    first.close()

    again = DiskCache(directory, 10 * DISK_BLOCK)

    assert has(again, ETAG, object_size, index)


def test_another_etag_size_or_number_is_another_block(directory):
    cache = DiskCache(directory, 10 * DISK_BLOCK)
    put(cache, ETAG, 3 * DISK_BLOCK, 1)

    assert not has(cache, "0" * 32, 3 * DISK_BLOCK, 1)
    assert not has(cache, ETAG, 4 * DISK_BLOCK, 1)
    assert not has(cache, ETAG, 3 * DISK_BLOCK, 0)


@pytest.mark.parametrize(
    "etag", ["", "../../etc/passwd", "/", "a\0b", '"d41d-5"', "é" * 5000, "\udcff", "."]
)
def test_any_etag_is_a_key_and_stays_in_the_directory(directory, etag):
    cache = DiskCache(directory, PLENTY)

    put(cache, etag)

    assert has(cache, etag)
    assert [p.name for p in block_files_in(directory)] == [name_of(etag, SMALL, 0)]
    assert [p.name for p in directory.parent.iterdir()] == ["cache"]


def test_keys_do_not_run_into_each_other():
    names = {name_of("1", 2, 3), name_of("3 1", 2, 3), name_of("1", 23, 3), name_of("31", 2, 3)}

    assert len(names) == 4


def test_what_is_there_is_not_written_again(directory):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    before = file_of(directory, "a").stat().st_ino

    put(cache, "a")

    assert file_of(directory, "a").stat().st_ino == before
    assert ledger_of(directory) == COST


def test_nobody_else_can_read_it(directory):
    before = os.umask(0)
    put(DiskCache(directory, PLENTY), "a")
    os.umask(before)

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()} == {0o600}


def test_a_closed_cache_has_and_takes_nothing(directory, caplog):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")

    cache.close()
    cache.close()
    put(cache, "b")

    assert not has(cache, "a")
    assert held(directory, "ab") == "a"
    assert not caplog.records


# --- the limit, and who goes ----------------------------------------------------------------


def test_the_least_recently_used_block_goes_first(directory):
    cache = DiskCache(directory, 3 * COST)
    for etag in "abc":
        put(cache, etag)
    assert has(cache, "a")

    put(cache, "d")
    after_one = held(directory, "abcde")
    put(cache, "e")

    assert (after_one, held(directory, "abcde")) == ("acd", "ade")


def test_the_order_of_use_survives_a_remount(directory):
    first = DiskCache(directory, 3 * COST)
    for etag in "abc":
        put(first, etag)
    assert has(first, "a")
    first.close()

    put(DiskCache(directory, 3 * COST), "d")

    assert held(directory, "abcd") == "acd"


@pytest.mark.parametrize("survives", [True, False])
def test_the_order_of_use_is_that_of_all_mounts(directory, survives):
    one, other = DiskCache(directory, 3 * COST), DiskCache(directory, 3 * COST)
    for etag in "abc":
        put(one, etag)
    put(one, "d")  # `one` has looked who is oldest: b, c, d
    if survives:
        assert has(other, "b")

    put(one, "e")

    assert held(directory, "abcde") == ("bde" if survives else "cde")


@pytest.mark.parametrize("wrong", [0, 10**9, 2**62])
def test_a_clock_that_jumps_does_not_mix_up_the_order(directory, monkeypatch, wrong):
    cache = DiskCache(directory, 3 * COST)
    put(cache, "a")
    monkeypatch.setattr(time, "time_ns", lambda: wrong)
    put(cache, "b")
    monkeypatch.undo()
    put(cache, "c")
    assert has(cache, "a")

    put(cache, "d")

    assert held(directory, "abcd") == "acd"


@pytest.mark.parametrize("mtime", [-5, 0, 2**33, 2**40])
def test_a_file_with_an_impossible_stamp_is_the_oldest(directory, mtime):
    cache = DiskCache(directory, 3 * COST)
    for etag in "abc":
        put(cache, etag)
    with contextlib.suppress(OverflowError):
        os.utime(file_of(directory, "b"), (mtime, mtime))

    put(DiskCache(directory, 3 * COST), "d")

    # A filesystem may store less than it was told: what it kept decides.
    stamp = file_of(directory, "b")
    assert not stamp.exists()


def test_a_lower_limit_holds_from_the_start(directory):
    first = DiskCache(directory, PLENTY)
    for etag in "abcdefgh":
        put(first, etag)
    first.close()

    DiskCache(directory, 2 * COST)

    assert held(directory, "abcdefgh") == "gh"
    assert ledger_of(directory) == used_in(directory) == 2 * COST


@pytest.mark.parametrize("limit", [0, COST - 1])
def test_a_block_larger_than_the_limit_is_not_kept(directory, limit):
    cache = DiskCache(directory, limit)

    put(cache, "a")

    assert not block_files_in(directory)


def test_more_blocks_than_are_counted_at_once_go_in_order(directory, monkeypatch):
    monkeypatch.setattr(disk_cache, "_VICTIMS", 2)
    cache = DiskCache(directory, 5 * COST)

    for etag in "abcdefghijklm":
        put(cache, etag)
        assert used_in(directory) <= 5 * COST

    assert held(directory, "abcdefghijklm") == "ijklm"


def test_a_much_lower_limit_holds_from_the_start_too(directory, monkeypatch):
    first = DiskCache(directory, PLENTY)
    for etag in "abcdefghijklm":
        put(first, etag)
    monkeypatch.setattr(disk_cache, "_VICTIMS", 2)

    DiskCache(directory, 2 * COST)

    assert held(directory, "abcdefghijklm") == "lm"
    assert ledger_of(directory) == 2 * COST


def test_the_order_of_use_survives_a_spoilt_ledger(directory):
    idle, busy = DiskCache(directory, 3 * COST), DiskCache(directory, 3 * COST)
    for etag in "abc":
        put(busy, etag)
    (directory / "swiftimgfs-cache.ledger").write_bytes(bytes(24))
    new = DiskCache(directory, 3 * COST)
    assert has(idle, "a")

    put(new, "d")

    assert held(directory, "abcd") == "acd"


def test_a_file_that_vanishes_while_the_directory_is_counted_is_not_counted(
    directory, monkeypatch
):
    cache = DiskCache(directory, PLENTY)
    for etag in "abc":
        put(cache, etag)

    class VanishingOs(FaultyOs):
        def _fail(self, fd):
            entries = list(os.scandir(fd))
            file_of(directory, "b").unlink()
            return contextlib.nullcontext(iter(entries))

    monkeypatch.setattr(block_files, "os", VanishingOs("scandir", 0))
    again = DiskCache(directory, PLENTY)

    assert ledger_of(directory) == 2 * COST
    assert has(again, "c")


def test_at_no_system_call_is_the_limit_exceeded(directory, monkeypatch):
    limit = 3 * COST + 100
    cache = DiskCache(directory, limit)
    most = 0

    class WatchedOs:
        def __getattr__(self, name):
            value = getattr(os, name)
            if not callable(value) or isinstance(value, type):
                return value

            def watched(*args, **kwargs):
                nonlocal most
                result = value(*args, **kwargs)
                most = max(most, used_in(directory))
                assert most <= limit
                assert used_in(directory) <= max(ledger_of(directory), used_before)
                return result

            return watched

    for etag in "abcdeafgahb":
        used_before = used_in(directory)
        with monkeypatch.context() as patched:
            patched.setattr(block_files, "os", WatchedOs())
            put(cache, etag)
            has(cache, etag)

    assert most == 3 * COST


class CacheMachine(RuleBasedStateMachine):
    """Do the same to two mounts of one directory and to a dict in order of use."""

    etags = st.sampled_from("abcdef")
    mounts = st.integers(0, 1)
    sizes = st.sampled_from([1, 4084, 4085, 20_000])

    @initialize(limit=st.integers(0, 12))
    def start(self, limit):
        self.directory = Path(tempfile.mkdtemp(prefix="disk-cache-"))
        self.limit = limit * 4096
        self.mounts_ = [DiskCache(self.directory, self.limit) for _ in range(2)]
        self.model: OrderedDict[tuple[str, int], int] = OrderedDict()

    def teardown(self):
        for mount in getattr(self, "mounts_", []):
            mount.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    @rule(mount=mounts, etag=etags, size=sizes)
    def put(self, mount, etag, size):
        put(self.mounts_[mount], etag, size)

        if (etag, size) in self.model or cost_of(size) > self.limit:
            return
        while sum(self.model.values()) + cost_of(size) > self.limit:
            self.model.popitem(last=False)
        self.model[etag, size] = cost_of(size)

    @rule(mount=mounts, etag=etags, size=sizes)
    def get(self, mount, etag, size):
        assert has(self.mounts_[mount], etag, size) == ((etag, size) in self.model)

        if (etag, size) in self.model:
            self.model.move_to_end((etag, size))

    @rule(mount=mounts)
    def remount(self, mount):
        self.mounts_[mount].close()
        self.mounts_[mount] = DiskCache(self.directory, self.limit)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), mount=mounts)
    def damage(self, data, mount):
        etag, size = data.draw(st.sampled_from(list(self.model)))
        path = self.directory / name_of(etag, size, 0)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)

        assert not has(self.mounts_[mount], etag, size)
        del self.model[etag, size]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete_behind_its_back(self, data):
        etag, size = data.draw(st.sampled_from(list(self.model)))
        (self.directory / name_of(etag, size, 0)).unlink()
        del self.model[etag, size]
        # The ledger is too high now, which is the safe side, until the next count.
        self.remount(0)

    @rule(spoilt=st.sampled_from([None, b"", b"short", b"\xff" * 24, bytes(24), bytes(99)]))
    def spoil_the_ledger(self, spoilt):
        path = self.directory / "swiftimgfs-cache.ledger"
        if spoilt is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(spoilt)
        for mount in (0, 1):  # stamps start after the latest in the directory
            self.remount(mount)

    @invariant()
    def holds_what_the_model_holds(self):
        if hasattr(self, "model"):
            names = {name_of(etag, size, 0) for etag, size in self.model}
            assert {p.name for p in block_files_in(self.directory)} == names
            assert used_in(self.directory) == sum(self.model.values()) <= self.limit
            assert ledger_of(self.directory) == used_in(self.directory)


TestCacheAgainstADict = CacheMachine.TestCase
TestCacheAgainstADict.settings = hypothesis.settings(deadline=None, stateful_step_count=40)


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, SMALL - 1, SMALL, SMALL + 7, SMALL + 8, -1])
def test_one_wrong_bit_anywhere_is_found(directory, index):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    content = bytearray(file_of(directory, "a").read_bytes())
    content[index] ^= 0x10
    file_of(directory, "a").write_bytes(content)

    found = has(cache, "a")

    assert not found
    assert not block_files_in(directory)
    assert ledger_of(directory) == 0
    put(cache, "a")
    assert has(cache, "a")


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 11, SMALL + 13, DISK_BLOCK])
def test_a_cut_or_longer_file_is_found(directory, size):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    os.truncate(file_of(directory, "a"), size)

    assert not has(cache, "a")
    assert not block_files_in(directory)


def test_zeros_of_the_right_length_are_found(directory):
    """What a power failure leaves of a file that was never synced."""
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    file_of(directory, "a").write_bytes(bytes(SMALL + 12))

    assert not has(cache, "a")


def test_a_block_under_another_blocks_name_is_found(directory):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    file_of(directory, "a").rename(file_of(directory, "b"))

    assert not has(cache, "b")
    assert not block_files_in(directory)


def test_blocks_deleted_by_hand_are_missing_and_their_room_is_found_again(directory):
    cache = DiskCache(directory, 3 * COST)
    for etag in "abc":
        put(cache, etag)
    for path in block_files_in(directory):
        path.unlink()

    for etag in "defg":
        put(cache, etag)

    assert held(directory, "abcdefg") == "efg"
    assert ledger_of(directory) == 3 * COST


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


# --- disks that fail ------------------------------------------------------------------------

FAILURES = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT, errno.ESTALE]
CALLS = ["open", "pwritev", "pwrite", "pread", "rename", "utime", "fstatvfs", "unlink", "stat"]


class FaultyOs:
    """The os module, with one function that fails."""

    def __init__(self, call: str, number: int) -> None:
        self.call, self.number = call, number

    def __getattr__(self, name):
        return self._fail if name == self.call else getattr(os, name)

    def _fail(self, *args, **kwargs):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", FAILURES)
@pytest.mark.parametrize("call", CALLS)
def test_a_failing_disk_is_no_failure_of_the_reader(
    directory, monkeypatch, caplog, call, number
):
    cache = DiskCache(directory, 2 * COST)
    put(cache, "a")
    put(cache, "b")

    with monkeypatch.context() as patched:
        patched.setattr(block_files, "os", FaultyOs(call, number))
        put(cache, "c")
        put(cache, "d")
        for etag in "abcd":
            has(cache, etag)
    assert used_in(directory) <= 2 * COST
    assert used_in(directory) <= ledger_of(directory)
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    put(cache, "e")

    assert has(cache, "e")
    assert used_in(directory) <= 2 * COST
    assert len(warnings) == 1
    assert os.strerror(number) in warnings[0].getMessage()


def test_a_disk_that_becomes_read_only_still_serves(directory, monkeypatch):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")

    monkeypatch.setattr(block_files, "os", FaultyOs("utime", errno.EROFS))

    assert has(cache, "a")


def test_trouble_is_told_once_a_minute(directory, monkeypatch, caplog):
    cache = DiskCache(directory, PLENTY)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(block_files, "os", FaultyOs("pwritev", errno.ENOSPC))
    counts = []

    for seconds in (0, 30, 59, 60, 61, 119, 121):
        now = 1000.0 + seconds
        put(cache, "a")
        counts.append(len(caplog.records))

    assert counts == [1, 1, 1, 2, 2, 2, 3]


def test_after_a_failure_the_disk_is_left_alone_for_a_while(directory, monkeypatch):
    monkeypatch.setattr(disk_cache, "_REST", 10)
    cache = DiskCache(directory, PLENTY)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with monkeypatch.context() as patched:
        patched.setattr(block_files, "os", FaultyOs("pwritev", errno.EIO))
        put(cache, "a")

    now = 1009.0
    put(cache, "b")
    now = 1011.0
    put(cache, "c")

    assert held(directory, "abc") == "c"


def test_a_write_cut_short_leaves_nothing(directory, monkeypatch):
    class ShortOs(FaultyOs):
        def _fail(self, fd, buffers, offset):
            return os.pwritev(fd, [buffers[0][:100]], offset)

    cache = DiskCache(directory, PLENTY)
    with monkeypatch.context() as patched:
        patched.setattr(block_files, "os", ShortOs("pwritev", 0))
        put(cache, "a")

    assert not block_files_in(directory)
    assert ledger_of(directory) == 0
    assert not has(cache, "a")


def test_a_directory_that_is_deleted_is_no_failure_of_the_reader(directory, caplog):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    shutil.rmtree(directory)

    put(cache, "b")

    assert not has(cache, "a")
    assert not has(cache, "b")
    assert not directory.exists()
    assert "No such file" in caplog.text


def test_a_directory_that_is_moved_takes_its_mount_along(directory):
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    directory.rename(directory.parent / "moved")

    put(cache, "b")

    assert has(cache, "a")
    assert held(directory.parent / "moved", "ab") == "ab"


def with_free(monkeypatch, directory: Path, free: int, size: int = 1000 * 4096) -> None:
    """Let the filesystem have `free` bytes free before the cache's own."""

    class SmallOs(FaultyOs):
        def _fail(self, fd):
            blocks = (free - used_in(directory)) // 4096
            return os.statvfs_result(
                (4096, 4096, size // 4096, blocks + 9, blocks, 0, 0, 0, 0, 255)
            )

    monkeypatch.setattr(block_files, "os", SmallOs("fstatvfs", 0))


def test_a_twentieth_of_the_filesystem_stays_free(directory, monkeypatch):
    cache = DiskCache(directory, PLENTY)
    with_free(monkeypatch, directory, 50 * 4096 + 3 * COST)

    for etag in "abcdef":
        put(cache, etag)

    assert held(directory, "abcdef") == "def"


def test_blocks_go_when_others_fill_the_filesystem(directory, monkeypatch, caplog):
    cache = DiskCache(directory, PLENTY)
    for etag in "abcdef":
        put(cache, etag)

    with_free(monkeypatch, directory, 50 * 4096 + 2 * COST)
    put(cache, "g")
    when_nearly_full = held(directory, "abcdefg")
    with_free(monkeypatch, directory, 49 * 4096)
    put(cache, "h")

    assert when_nearly_full == "fg"
    assert held(directory, "abcdefgh") == ""
    assert "nearly full" in caplog.text
    assert ledger_of(directory) == 0


def test_a_filesystem_that_does_not_say_how_full_it_is_may_be_used(directory, monkeypatch):
    cache = DiskCache(directory, PLENTY)
    with_free(monkeypatch, directory, 0, size=0)

    put(cache, "a")

    assert has(cache, "a")


def test_on_a_disk_that_is_really_full_blocks_come_and_go(tmp_path):
    """A tmpfs of 2 MiB, limit of ten: in a namespace of its own, with the real ENOSPC."""
    script = f"""
        import os, pathlib, subprocess
        from tests.unit.test_disk_cache import ConfigError, DiskCache, has, put
        from swiftimgfs.reading import block_files, disk_cache
        disk_cache._REST = 0
        here = pathlib.Path({str(tmp_path)!r})
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", here], check=True)
        cache = DiskCache(here, 10 * 2**20)
        for i in range(500):
            put(cache, str(i))
        assert has(cache, "499") and not has(cache, "0")
        free = os.statvfs(here)
        assert free.f_blocks <= free.f_bavail * 20 < free.f_blocks + 60, free
        (here / "other").write_bytes(bytes((free.f_bavail - 1) * 4096))
        put(cache, "after")
        free = os.statvfs(here)
        assert has(cache, "after") and free.f_blocks <= free.f_bavail * 20, free
        (here / "other").unlink()
        block_files.BlockFiles.room = lambda self: 2**40
        for i in range(300):
            put(cache, f"b{{i}}")
        assert has(cache, "b0")
        cache.close()
        subprocess.run(["mount", "-o", "remount,ro", here], check=True)
        try:
            DiskCache(here, 10 * 2**20)
        except ConfigError as failure:
            assert "Read-only" in str(failure)
            print("done")
    """
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces here")

    done = run_script(script, "unshare", "-rm")

    assert done.stdout == "done\n", done.stderr
    assert "only a part" in done.stderr


# --- threads, processes and sudden deaths ---------------------------------------------------


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


def seen_at_once(directory: Path) -> int:
    """Return bytes of blocks that were all there at one moment: before and after a look."""
    first: dict[tuple[int, int], tuple[str, int]] = {}
    for name in os.listdir(directory):
        if name.endswith((".block", ".partial")):
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(directory / name)
                first[status.st_ino, status.st_ctime_ns] = (name, status.st_blocks * 512)
    total = 0
    for (ino, _), (name, size) in first.items():
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(directory / name)
            if status.st_ino == ino:
                total += min(size, status.st_blocks * 512)
    return total


HAMMER = """
    import random, sys, pathlib
    from tests.unit.test_disk_cache import DiskCache, disk_cache, has, put
    disk_cache._PATIENCE = 60  # however slow this machine is
    directory, seed, limit, rounds = sys.argv[1], *map(int, sys.argv[2:])
    cache = DiskCache(pathlib.Path(directory), limit)
    choose, hits = random.Random(seed), 0
    print("ready", flush=True)
    for _ in range(rounds):
        etag, size = str(choose.randrange(40)), choose.choice([10, 5000, 300_000, 2**20])
        if has(cache, etag, size):
            hits += 1
        else:
            put(cache, etag, size)
    print(hits)
"""


@contextlib.contextmanager
def hammering(directory: Path, seed: int, limit: int, rounds: int):
    command = [
        *script_arguments(HAMMER),
        str(directory),
        *(str(number) for number in (seed, limit, rounds)),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def assert_sound(directory: Path, limit: int) -> None:
    """Insist that a new mount finds whole blocks only, and a ledger that is right."""
    cache = DiskCache(directory, limit)
    assert not list(directory.glob("*.partial"))
    assert used_in(directory) == ledger_of(directory) <= limit
    names = {p.name for p in block_files_in(directory)}
    for path in block_files_in(directory):
        buffer = memoryview(bytearray(path.stat().st_size - 12))
        assert cache._files.read(path.name, buffer) is block_files.Found.INTACT
    assert {p.name for p in block_files_in(directory)} == names
    cache.close()


def test_processes_that_share_a_directory_keep_the_limit_and_the_bytes(directory):
    limit = 8 * 2**20
    DiskCache(directory, limit).close()
    most = looks = 0

    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(hammering(directory, seed, limit, 400)) for seed in range(3)
        ]
        while any(process.poll() is None for process in processes):
            most = max(most, seen_at_once(directory))
            looks += 1
        outputs = [process.communicate() for process in processes]

    assert [process.returncode for process in processes] == [0] * 3, outputs
    assert all(int(hits) > 20 for hits, _ in outputs)
    assert all(not errors for _, errors in outputs), outputs
    assert limit // 2 < most <= limit
    assert looks > 20
    assert_sound(directory, limit)


def test_processes_that_are_killed_leave_nothing_that_is_not_cleaned_up(directory):
    limit = 4 * 2**20
    choose = random.Random(1)
    with hammering(directory, 0, limit, 10**9) as survivor:
        for seed in range(1, 6):
            with hammering(directory, seed, limit, 10**9) as process:
                end = time.monotonic() + choose.uniform(0, 0.15)
                while time.monotonic() < end:
                    assert seen_at_once(directory) <= limit
                process.send_signal(signal.SIGKILL)
        assert survivor.poll() is None
        survivor.kill()
        assert survivor.stderr is not None
        assert survivor.stderr.read() == ""

    assert_sound(directory, limit)


KILLED = """
    import os, pathlib, signal, sys
    from swiftimgfs.reading import block_files
    from tests.unit.test_disk_cache import COST, DiskCache, file_of, has, ledger_of, put, used_in

    directory, limit = pathlib.Path(sys.argv[1]), 3 * COST

    class Deadly:
        calls = 0

        def __init__(self, last):
            self.last = last

        def __getattr__(self, name):
            value = getattr(os, name)
            if not callable(value) or isinstance(value, type):
                return value

            def call(*args, **kwargs):
                self.calls += 1
                if self.calls == self.last:
                    if name == "pwritev":  # half of the block is there
                        os.pwritev(args[0], [args[1][0][:2500]], 0)
                    os.kill(os.getpid(), signal.SIGKILL)
                return value(*args, **kwargs)

            return call

    def live():
        cache = DiskCache(directory, limit)
        put(cache, "x")
        assert has(cache, "x")
        file_of(directory, "x").write_bytes(b"damaged")
        assert not has(cache, "x")
        put(cache, "y")
        assert has(cache, "y")

    observer = DiskCache(directory, limit)
    for last in range(1, 1000):
        for etag in "abc":
            put(observer, etag)
        child = os.fork()
        if not child:
            block_files.os = Deadly(last)
            live()
            os._exit(0)
        died = os.waitpid(child, 0)[1]
        assert died in (0, signal.SIGKILL), died

        assert used_in(directory) <= limit
        put(observer, str(last))  # a mount that lives on goes on
        assert has(observer, str(last))
        assert used_in(directory) <= ledger_of(directory) <= limit
        assert not list(directory.glob("*.partial"))
        if not died:
            print(last)
            break
"""


def test_a_kill_at_any_system_call_leaves_a_sound_cache(directory):
    done = run_script(KILLED, arguments=[str(directory)])

    assert done.stderr == ""
    assert int(done.stdout) > 60  # so many calls there were to be killed at
    assert_sound(directory, 3 * COST)


def test_threads_keep_the_limit_and_the_bytes(directory, monkeypatch):
    monkeypatch.setattr(disk_cache, "_PATIENCE", 60)
    limit = 5 * COST
    cache = DiskCache(directory, limit)
    failures = []

    def hammer(seed):
        choose = random.Random(seed)
        try:
            for _ in range(300):
                etag = choose.choice("abcdefghij")
                if not has(cache, etag):
                    put(cache, etag)
                assert seen_at_once(directory) <= limit
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=hammer, args=[seed]) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert_sound(directory, limit)


def test_a_forked_process_may_go_on_with_the_cache_of_its_parent(directory):
    script = f"""
        import os, pathlib
        from tests.unit.test_disk_cache import DiskCache, disk_cache, has, put
        disk_cache._PATIENCE = 60
        cache = DiskCache(pathlib.Path({str(directory)!r}), {5 * COST})
        child = os.fork()
        for i in range(300):
            etag = f"{{i % 13}}"
            has(cache, etag) or put(cache, etag)
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("done")
    """

    done = run_script(script)

    assert (done.stdout, done.stderr) == ("done\n", "")
    assert_sound(directory, 5 * COST)


def test_a_child_that_is_forked_under_the_lock_does_not_keep_it(directory):
    script = f"""
        import os, pathlib, signal
        from tests.unit.test_disk_cache import DiskCache, has, put
        cache = DiskCache(pathlib.Path({str(directory)!r}), {PLENTY})
        with cache._files.locked(1):
            child = os.fork()
            if not child:
                signal.pause()
        put(cache, "a")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(has(cache, "a"))
    """

    done = run_script(script)

    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_mount_that_is_frozen_with_the_lock_holds_up_nobody_for_long(
    directory, monkeypatch, caplog
):
    monkeypatch.setattr(disk_cache, "_PATIENCE", 0.05)
    cache = DiskCache(directory, PLENTY)
    put(cache, "a")
    lock = os.open(directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    started = time.monotonic()
    put(cache, "b")
    waited = time.monotonic() - started
    was_served = has(cache, "a")
    another = DiskCache(directory, PLENTY)
    served_another = has(another, "a")
    os.close(lock)
    put(another, "b")

    assert waited < 1
    assert was_served
    assert served_another
    assert "locked" in caplog.text
    assert held(directory, "ab") == "ab"


def test_a_thread_does_not_wait_for_another_for_long(directory, monkeypatch, caplog):
    monkeypatch.setattr(disk_cache, "_PATIENCE", 0.01)
    monkeypatch.setattr(disk_cache, "_REST", 10)
    cache = DiskCache(directory, PLENTY)

    with cache._threads_lock:
        put(cache, "a")
    put(cache, "b")  # it rests

    assert held(directory, "ab") == ""
    assert "another thread" in caplog.text


def test_a_ledger_that_is_deleted_is_made_anew_by_the_next_to_write(directory):
    one, other = DiskCache(directory, 2 * COST), DiskCache(directory, 2 * COST)
    put(one, "a")
    (directory / "swiftimgfs-cache.ledger").unlink()

    for etag, cache in zip("bcde", [one, other, one, other], strict=True):
        put(cache, etag)
        assert used_in(directory) == ledger_of(directory) <= 2 * COST

    assert held(directory, "abcde") == "de"
