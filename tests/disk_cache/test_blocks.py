"""A block comes back as it was put, to its owner alone, or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from swiftimgfs.reading.block_files import name_of
from swiftimgfs.reading.disk_cache import DISK_BLOCK, DiskCache
from tests.support.disk_blocks import (
    COST,
    ETAG,
    PLENTY,
    SMALL,
    block_files_in,
    file_of,
    has,
    held,
    ledger_of,
    put,
)

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
