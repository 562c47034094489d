"""Images that are renamed between containers, or go with a container of their own."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.support.flat_images import containers_of, new_id, put, put_dlo
from tests.support.mounts import Mounted, run, run_all
from tests.support.stored import content, names_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


# ── what is renamed ────────────────────────────────────────────────────────────────────────


def test_a_plain_image_is_renamed_into_another_container(
    account: FaultySwift, seeded: Mounted
) -> None:
    old, new = seeded.path / new_id("ab"), seeded.path / new_id("cd")
    old.write_bytes(b"x" * 1000)

    old.rename(new)

    assert os.listdir(seeded.path) == [new.name]
    assert content(account, "glance_cd", new.name) == b"x" * 1000
    assert names_in(account, "glance_ab") == []


def test_an_image_in_segments_of_ours_is_renamed_by_its_manifest(
    account: FaultySwift, seeded: Mounted
) -> None:
    old, new = seeded.path / new_id("ab"), seeded.path / new_id("cd")
    data = random.Random(1).randbytes(300_000)
    old.write_bytes(data)
    segments = names_in(account, "glance_ab_segments")

    old.rename(new)

    assert os.listdir(seeded.path) == [new.name]
    assert new.read_bytes() == data
    assert names_in(account, "glance_ab_segments") == segments
    assert "glance_cd_segments" not in containers_of(account)


def test_an_image_of_glance_keeps_its_segments_when_it_is_renamed(
    account: FaultySwift, seeded: Mounted
) -> None:
    old, new = seeded.path / new_id("ab"), seeded.path / new_id("cd")
    put_dlo(account, "glance_ab", old.name, b"first", b"second")

    old.rename(new)

    assert os.listdir(seeded.path) == [new.name]
    assert new.read_bytes() == b"firstsecond"
    assert names_in(account, "glance_ab") == [f"{old.name}-00001", f"{old.name}-00002"]
    new.unlink()
    assert names_in(account, "glance_ab") == []


def test_a_rename_replaces_an_image_wherever_that_is(
    account: FaultySwift, seeded: Mounted
) -> None:
    old, new = seeded.path / new_id("ab"), seeded.path / new_id("cd")
    put(account, "glance_ab", old.name, b"new")
    put(account, "glance", new.name, b"old, and not where the driver would put it")

    old.replace(new)

    assert os.listdir(seeded.path) == [new.name]
    assert new.read_bytes() == b"new"
    assert names_in(account, "glance") == []


def test_an_open_image_lives_through_its_rename(account: FaultySwift, seeded: Mounted) -> None:
    data = random.Random(2).randbytes(300_000)
    path = seeded.path / new_id("ab")
    path.write_bytes(data)

    with path.open("rb", buffering=0) as file:
        path.rename(seeded.path / new_id("cd"))
        read = os.pread(file.fileno(), len(data), 0)

    assert read == data


def test_an_image_renamed_while_it_is_written_is_where_its_new_name_belongs(
    account: FaultySwift, seeded: Mounted
) -> None:
    old, new = seeded.path / new_id("ab"), seeded.path / new_id("cd")

    with old.open("wb", buffering=0) as file:
        file.write(b"x" * 300_000)
        old.rename(new)
        file.write(b"y" * 100)

    assert os.listdir(seeded.path) == [new.name]
    assert content(account, "glance_cd", new.name) == b"x" * 300_000 + b"y" * 100


# ── what is removed ────────────────────────────────────────────────────────────────────────


def test_containers_that_images_share_stay(account: FaultySwift, seeded: Mounted) -> None:
    image_id = new_id("ab")
    put(account, "glance_ab", image_id, b"x")

    run("rm", seeded.path / image_id)

    assert os.listdir(seeded.path) == []
    assert containers_of(account) == ["glance_ab"]


@pytest.mark.parametrize("size", [1000, 300_000], ids=["plain", "slo"])
def test_an_image_of_a_tenant_goes_with_its_container(
    account: FaultySwift, tenant: Mounted, size: int
) -> None:
    image_id = new_id()
    (tenant.path / image_id).write_bytes(b"x" * size)
    before = containers_of(account)

    (tenant.path / image_id).unlink()

    assert before[0] == f"glance_{image_id}"
    assert containers_of(account) == []
    assert os.listdir(tenant.path) == []


def test_a_dlo_of_a_tenant_goes_with_its_container(
    account: FaultySwift, tenant: Mounted
) -> None:
    image_id = new_id()
    put_dlo(account, f"glance_{image_id}", image_id, b"first", b"second")

    (tenant.path / image_id).unlink()

    assert containers_of(account) == []


def test_a_container_with_something_else_in_it_stays(
    account: FaultySwift, tenant: Mounted
) -> None:
    image_id = new_id()
    put(account, f"glance_{image_id}", image_id, b"x")
    put(account, f"glance_{image_id}", "notes/a", b"x")

    (tenant.path / image_id).unlink()

    assert names_in(account, f"glance_{image_id}") == ["notes/a"]
    assert "container kept" in tenant.log.read_text()


def test_an_image_that_a_tenant_removed_can_be_written_anew(
    account: FaultySwift, tenant: Mounted
) -> None:
    path = tenant.path / new_id()
    for data in (b"1", b"2"):
        path.write_bytes(data)
        assert os.listdir(tenant.path) == [path.name]
        path.unlink()
    put(account, f"glance_{path.name}", path.name, b"by another host")

    assert os.listdir(tenant.path) == [path.name]
    assert path.read_bytes() == b"by another host"


@pytest.mark.parametrize("size", [1000, 300_000], ids=["plain", "slo"])
def test_renaming_an_image_of_a_tenant_leaves_nothing_behind(
    account: FaultySwift, tenant: Mounted, size: int
) -> None:
    old, new = new_id(), new_id()
    (tenant.path / old).write_bytes(b"x" * size)

    (tenant.path / old).rename(tenant.path / new)
    listed, read = os.listdir(tenant.path), (tenant.path / new).read_bytes()
    (tenant.path / new).unlink()

    assert (listed, read) == ([new], b"x" * size)
    assert containers_of(account) == []


def test_a_large_image_is_renamed_while_a_tenant_still_writes_it(
    account: FaultySwift, tenant: Mounted
) -> None:
    old, new = tenant.path / new_id(), tenant.path / new_id()

    with old.open("wb", buffering=0) as file:
        old.rename(new)
        file.write(b"x" * 300_000)

    assert new.read_bytes() == b"x" * 300_000
    assert os.listdir(tenant.path) == [new.name]


def test_moving_and_copying_with_tools_says_nothing(
    account: FaultySwift, tenant: Mounted, tmp_path: Path
) -> None:
    (tmp_path / "local").write_bytes(b"x" * 300_000)
    first, second = tenant.path / new_id(), tenant.path / new_id()

    said = run_all("cp", "-a", tmp_path / "local", first)
    said += run_all("cp", "-a", first, second)
    said += run_all("mv", second, tmp_path / "back")
    said += run_all("rm", first)

    assert said == ""
    assert (tmp_path / "back").read_bytes() == b"x" * 300_000
    assert containers_of(account) == []
