"""How much a cache takes of a disk, and who goes first."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swiftimgfs.reading import block_files, disk_cache
from swiftimgfs.reading.block_files import cost_of, name_of
from swiftimgfs.reading.disk_cache import DiskCache
from tests.support.disk_blocks import (
    COST,
    PLENTY,
    FaultyOs,
    block_files_in,
    file_of,
    has,
    held,
    ledger_of,
    put,
    used_in,
)


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
