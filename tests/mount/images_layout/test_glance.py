"""One flat directory beside Glance's own driver, of one container and of many."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING

import pytest
import swiftclient

from tests.support.flat_images import FLAT, MAKES, container_of, new_id
from tests.support.glance import GLANCE_MB, GlanceOptions, GlanceStore
from tests.support.mounts import Mounted, mounted, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cloud import Cloud

pytestmark = pytest.mark.mount


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
