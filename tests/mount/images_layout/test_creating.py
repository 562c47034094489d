"""Images that are created go where the driver would put them, or are refused."""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.support.flat_images import (
    FLAT,
    OURS,
    container_of,
    containers_of,
    new_id,
    put,
    put_dlo,
)
from tests.support.mounts import Mounted, mounted
from tests.support.stored import content

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("size", [0, 1000, 300_000])
def test_a_new_image_goes_where_the_driver_would_put_it(
    account: FaultySwift, seeded: Mounted, size: int
) -> None:
    image_id, data = new_id(), random.Random(size).randbytes(size)

    (seeded.path / image_id).write_bytes(data)

    assert content(account, container_of(image_id, 2), image_id) == data
    assert os.listdir(seeded.path) == [image_id]
    assert (seeded.path / image_id).read_bytes() == data


def test_an_image_that_is_being_written_shows_and_can_be_read(
    account: FaultySwift, seeded: Mounted
) -> None:
    path = seeded.path / new_id()

    with path.open("wb", buffering=0) as file:
        file.write(b"x" * 1000)
        listed, size, read = os.listdir(seeded.path), path.stat().st_size, path.read_bytes()

    assert (listed, size, read) == ([path.name], 1000, b"x" * 1000)


def test_an_image_is_overwritten_where_it_is(account: FaultySwift, seeded: Mounted) -> None:
    path = seeded.path / new_id("ab")
    put(account, "glance", path.name, b"old", **OURS)

    path.write_bytes(b"new")

    assert content(account, "glance", path.name) == b"new"
    assert "glance_ab" not in containers_of(account)


def test_without_its_container_an_image_is_not_created(
    account: FaultySwift, tmp_path: Path
) -> None:
    put(account, "glance_ab", "ab1", b"x")
    with mounted(
        tmp_path, account.swift.environ(), f"{FLAT},multiple_containers_seed=2"
    ) as running:
        (running.path / "ab2").write_bytes(b"y")
        with pytest.raises(FileNotFoundError):
            (running.path / "cd1").write_bytes(b"x")
        with pytest.raises(FileNotFoundError):
            (running.path / "ab1").rename(running.path / "cd1")
        listed = sorted(os.listdir(running.path))
        log = running.log.read_text()

    assert listed == ["ab1", "ab2"]
    reason = "there is no container 'glance_cd' (-o create_container_on_put)"
    assert f"image not made image=glance_cd/cd1 reason={reason}\n" in log
    assert "glance_cd" not in containers_of(account)


def test_a_name_that_would_not_be_listed_is_refused(
    account: FaultySwift, seeded: Mounted
) -> None:
    with pytest.raises(PermissionError):
        (seeded.path / ".ab1.Xy12").write_bytes(b"x")

    assert containers_of(account) == []


def test_directories_and_links_are_refused(account: FaultySwift, seeded: Mounted) -> None:
    path, other = seeded.path / new_id("ab"), seeded.path / new_id("ab")
    path.write_bytes(b"x")

    with pytest.raises(PermissionError):
        other.mkdir()
    with pytest.raises(PermissionError):
        other.symlink_to("/etc/passwd")  # what is no image of the account
    with pytest.raises(OSError) as caught:
        path.rmdir()

    assert caught.value.errno == errno.ENOTDIR  # which the kernel says by itself
    assert os.listdir(seeded.path) == [path.name]


def test_a_name_that_would_become_a_segment_is_refused(
    account: FaultySwift, seeded: Mounted
) -> None:
    image_id = new_id()
    put_dlo(account, container_of(image_id, 2), image_id, b"first", b"second")

    with pytest.raises(PermissionError):
        (seeded.path / f"{image_id}-notes").write_bytes(b"x")

    assert (seeded.path / image_id).read_bytes() == b"firstsecond"
