"""A disk that fails, fills or goes away is no failure of the reader."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.reading import block_files, disk_cache
from swiftimgfs.reading.disk_cache import DiskCache
from tests.support.disk_blocks import (
    COST,
    PLENTY,
    FaultyOs,
    block_files_in,
    has,
    held,
    ledger_of,
    put,
    run_script,
    used_in,
)

if TYPE_CHECKING:
    from pathlib import Path

FAILURES = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT, errno.ESTALE]
CALLS = ["open", "pwritev", "pwrite", "pread", "rename", "utime", "fstatvfs", "unlink", "stat"]


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
        from swiftimgfs.errors import ConfigError
        from swiftimgfs.reading.disk_cache import DiskCache
        from tests.support.disk_blocks import has, put
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
