"""One directory of threads and processes, whoever of them is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from swiftimgfs.reading import block_files, disk_cache
from swiftimgfs.reading.disk_cache import DiskCache
from tests.support.disk_blocks import (
    COST,
    PLENTY,
    ROOT,
    block_files_in,
    has,
    held,
    ledger_of,
    put,
    run_script,
    script_arguments,
    used_in,
)

if TYPE_CHECKING:
    from pathlib import Path


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
    from swiftimgfs.reading import disk_cache
    from swiftimgfs.reading.disk_cache import DiskCache
    from tests.support.disk_blocks import has, put
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
    from swiftimgfs.reading.disk_cache import DiskCache
    from tests.support.disk_blocks import COST, file_of, has, ledger_of, put, used_in

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
        from swiftimgfs.reading import disk_cache
        from swiftimgfs.reading.disk_cache import DiskCache
        from tests.support.disk_blocks import has, put
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
        from swiftimgfs.reading.disk_cache import DiskCache
        from tests.support.disk_blocks import has, put
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
