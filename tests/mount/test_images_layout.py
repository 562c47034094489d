"""The layout `images` through the kernel: one flat directory over all of Glance's containers."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import uuid
from typing import TYPE_CHECKING

import pytest
import swiftclient

from tests.mount.test_writing import names_in, stored
from tests.support.attributes import attribute
from tests.support.cloud import Cloud, cloud
from tests.support.glance import GLANCE_MB, GlanceOptions, GlanceStore
from tests.support.mounts import Mounted, mounted, run, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

SMALL = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"
FLAT = f"layout=images,{SMALL}"
MAKES = "create_container_on_put"
OURS = {"X-Object-Meta-Mtime": "1300000000.5"}  # what Glance does not store with an image


def new_id(start: str = "") -> str:
    """Return the id of an image that no test has had: mounts remember what they did."""
    return start + str(uuid.uuid4())[len(start) :]


def container_of(image_id: str, seed: int) -> str:
    return f"glance_{image_id[:seed]}" if seed else "glance"


def containers_of(swift: FaultySwift) -> list[str]:
    with contextlib.closing(swift.connect()) as client:
        return [row["name"] for row in client.get_account()[1]]


def put(swift: FaultySwift, container: str, name: str, data: bytes, **headers: str) -> None:
    with contextlib.closing(swift.connect()) as client:
        client.put_container(container)
        client.put_object(container, name, data, headers=headers)


def put_dlo(swift: FaultySwift, container: str, name: str, *parts: bytes) -> None:
    """Store an image in segments, as Glance does."""
    for number, part in enumerate(parts, 1):
        put(swift, container, f"{name}-{number:05d}", part)
    put(swift, container, name, b"", **{"X-Object-Manifest": f"{container}/{name}-"})


@contextlib.contextmanager
def flat(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory, options: str
) -> Iterator[Mounted]:
    directory = tmp_path_factory.mktemp("flat")
    with mounted(directory, swift.swift.environ(), f"{FLAT},{options}") as running:
        yield running


@pytest.fixture(scope="module")
def seeded_mount(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    with flat(swift, tmp_path_factory, f"multiple_containers_seed=2,{MAKES}") as running:
        yield running


@pytest.fixture(scope="module")
def tenant_mount(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    with flat(swift, tmp_path_factory, f"multi_tenant,{MAKES}") as running:
        yield running


@pytest.fixture
def account(swift: FaultySwift) -> FaultySwift:
    """Return a Swift in which there is nothing yet."""
    swift.reset()
    return swift


@pytest.fixture
def seeded(account: FaultySwift, seeded_mount: Mounted) -> Iterator[Mounted]:
    """Lend the mount of a store of many containers, made as they are needed."""
    yield seeded_mount
    os.listdir(seeded_mount.path)  # else it goes on showing what the next test does not have


@pytest.fixture
def tenant(account: FaultySwift, tenant_mount: Mounted) -> Iterator[Mounted]:
    """Lend the mount of a store where each image has a container of its own."""
    yield tenant_mount
    os.listdir(tenant_mount.path)


# ── with Glance's own driver ───────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module", params=[0, 2], ids=["one container", "many containers"])
def glance(
    openstack: Cloud, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GlanceStore, int, Mounted]]:
    """Run Glance's driver, and mount its store with the same options."""
    seed: int = request.param
    options = GlanceOptions(
        multiple_containers_seed=seed, large_object_size=2, large_object_chunk_size=1
    )
    environ = openstack.environ(user="glance", project="service")
    given = f"{FLAT},multiple_containers_seed={seed},{MAKES}"
    with (
        openstack.glance(f"glance-{seed}", options) as store,
        mounted(tmp_path_factory.mktemp("glance"), environ, given) as running,
    ):
        yield store, seed, running


@pytest.mark.parametrize("size", [100_000, 3 * GLANCE_MB + 5], ids=["plain", "dlo"])
def test_what_the_driver_wrote_shows_and_reads(
    glance: tuple[GlanceStore, int, Mounted], size: int
) -> None:
    store, seed, mount = glance
    image_id, data = new_id(), random.Random(size).randbytes(size)

    location = store.add(image_id, data).location

    path = mount.path / image_id
    assert [name for name in os.listdir(mount.path) if name.startswith(image_id)] == [image_id]
    assert path.read_bytes() == data
    assert path.stat().st_size == size
    where = f"{container_of(image_id, seed)}/{image_id}"
    assert os.getxattr(path, "user.swift.location").decode().endswith(where)
    assert location.endswith(where)


@pytest.mark.parametrize("size", [1000, 300_000], ids=["plain", "slo"])
def test_what_is_created_the_driver_reads_and_deletes(
    glance: tuple[GlanceStore, int, Mounted], tmp_path: Path, size: int
) -> None:
    store, seed, mount = glance
    image_id, data = new_id(), random.Random(size).randbytes(size)
    (tmp_path / "local").write_bytes(data)

    run("cp", tmp_path / "local", mount.path / image_id)
    location = f"swift+config://ref1/{container_of(image_id, seed)}/{image_id}"
    listed = os.listdir(mount.path)
    read = b"".join(store.get(location))
    store.delete(location)

    assert image_id in listed
    assert read == data
    assert image_id not in os.listdir(mount.path)
    assert not (mount.path / image_id).exists()


def test_an_image_of_the_driver_is_removed_with_its_segments(
    glance: tuple[GlanceStore, int, Mounted], openstack: Cloud
) -> None:
    store, seed, mount = glance
    image_id = new_id()
    store.add(image_id, b"x" * (3 * GLANCE_MB))

    (mount.path / image_id).unlink()

    session = openstack.session(user="glance", project="service")
    with contextlib.closing(swiftclient.Connection(session=session)) as client:
        rows = client.get_container(container_of(image_id, seed))[1]
    assert [row["name"] for row in rows if row["name"].startswith(image_id)] == []
    assert image_id not in os.listdir(mount.path)


def test_an_image_that_glance_owns_is_not_changed(
    glance: tuple[GlanceStore, int, Mounted],
) -> None:
    store, _, mount = glance
    image_id = new_id()
    store.add(image_id, b"x" * 1000)

    with pytest.raises(PermissionError):
        (mount.path / image_id).write_bytes(b"y")

    assert (mount.path / image_id).read_bytes() == b"x" * 1000


# ── what is shown ──────────────────────────────────────────────────────────────────────────


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


# ── what is created ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1000, 300_000])
def test_a_new_image_goes_where_the_driver_would_put_it(
    account: FaultySwift, seeded: Mounted, size: int
) -> None:
    image_id, data = new_id(), random.Random(size).randbytes(size)

    (seeded.path / image_id).write_bytes(data)

    assert stored(account, container_of(image_id, 2), image_id) == data
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

    assert stored(account, "glance", path.name) == b"new"
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
    assert "there is no container 'glance_cd' (-o create_container_on_put)" in log
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


# ── what is renamed ────────────────────────────────────────────────────────────────────────


def test_a_plain_image_is_renamed_into_another_container(
    account: FaultySwift, seeded: Mounted
) -> None:
    old, new = seeded.path / new_id("ab"), seeded.path / new_id("cd")
    old.write_bytes(b"x" * 1000)

    old.rename(new)

    assert os.listdir(seeded.path) == [new.name]
    assert stored(account, "glance_cd", new.name) == b"x" * 1000
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
    assert stored(account, "glance_cd", new.name) == b"x" * 300_000 + b"y" * 100


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
