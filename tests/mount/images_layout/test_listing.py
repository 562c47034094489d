"""What one flat directory over all of Glance's containers shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import attribute
from tests.support.flat_images import OURS, new_id, put, put_dlo
from tests.support.mounts import Mounted, mounted, run
from tests.support.stored import names_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


def test_images_of_all_containers_are_in_one_directory(
    account: FaultySwift, seeded: Mounted
) -> None:
    one, two, three, four = (new_id(start) for start in ("01", "ab", "ab", "cd"))
    put(account, "glance", one, b"one")
    put(account, "glance_ab", two, b"two")
    put(account, f"glance_{three[:10]}", three, b"three")
    put(account, "photos", four, b"four")

    assert sorted(os.listdir(seeded.path)) == sorted([one, two, three])
    assert (seeded.path / one).read_bytes() == b"one"
    assert (seeded.path / two).read_bytes() == b"two"
    assert (seeded.path / three).read_bytes() == b"three"
    assert not (seeded.path / four).exists()
    assert not (seeded.path / "photos").exists()


def test_an_empty_store_is_an_empty_directory(account: FaultySwift, seeded: Mounted) -> None:
    assert os.listdir(seeded.path) == []
    assert not (seeded.path / new_id()).exists()


def test_segments_and_directories_do_not_show(account: FaultySwift, seeded: Mounted) -> None:
    dlo, slo = new_id("ab"), new_id("ab")
    put_dlo(account, "glance_ab", dlo, b"first", b"second")
    put(account, "glance_ab", "abc/inside", b"x")
    put(account, "glance_ab", "abd/", b"")
    (seeded.path / slo).write_bytes(b"4" * 300_000)

    assert sorted(os.listdir(seeded.path)) == sorted([dlo, slo])
    assert (seeded.path / dlo).read_bytes() == b"firstsecond"
    assert not (seeded.path / f"{dlo}-00001").exists()
    assert not (seeded.path / "abc").exists()
    assert names_in(account, "glance_ab_segments")


def test_an_image_in_two_containers_shows_once_as_the_drivers_choice(
    account: FaultySwift, seeded: Mounted
) -> None:
    image_id = new_id("ab")
    put(account, "glance", image_id, b"old seed")
    put(account, "glance_ab", image_id, b"chosen")
    put(account, "glance_a", image_id, b"another seed")

    assert os.listdir(seeded.path) == [image_id]
    assert (seeded.path / image_id).read_bytes() == b"chosen"


def test_ls_shows_size_and_time_of_each(account: FaultySwift, seeded: Mounted) -> None:
    first, second = new_id("0"), new_id("ab")
    put(account, "glance", first, b"12345", **OURS)
    put_dlo(account, "glance_ab", second, b"first", b"second")

    listed = run("ls", "-l", "--time-style=+%s", seeded.path).splitlines()[1:]

    assert listed[0].split()[4:] == ["5", "1300000000", first]
    assert [line.split()[4] for line in listed] == ["5", "11"]
    assert (seeded.path / second).stat().st_size == 11


def test_a_container_that_another_host_made_shows_within_the_list_timeout(
    account: FaultySwift, tmp_path: Path
) -> None:
    put(account, "glance", "1", b"x")
    options = "layout=images,multi_tenant,attr_timeout=0,list_timeout=1"
    with mounted(tmp_path, account.swift.environ(), options) as running:
        before = os.listdir(running.path)
        put(account, "glance_ab", "2", b"misplaced")
        put(account, "glance_2", "2", b"x")
        run("sleep", "1.1")
        after = sorted(os.listdir(running.path))

    assert (before, after) == (["1"], ["1", "2"])


def test_attributes_of_an_image_and_of_the_root(account: FaultySwift, seeded: Mounted) -> None:
    path = seeded.path / new_id("ab")
    put(account, "glance", path.name, b"not where the driver would put it", **OURS)

    where = f"swift+{account.swift.storage_url}/glance/{path.name}"
    os.utime(path, (1_300_000_000, 1_300_000_000))

    assert os.getxattr(path, "user.swift.location").decode() == where
    assert path.stat().st_mtime == 1_300_000_000
    assert attribute(seeded.path, "user.swift.location") is None
    assert os.statvfs(seeded.path).f_bavail > 0
