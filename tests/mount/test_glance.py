"""Images of Glance's own driver read through the mount, and ours read by that driver."""

from __future__ import annotations

import os
import random
import uuid
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.mount_process import start_mount
from tests.support.glance import GlanceOptions
from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cloud import Cloud
    from tests.support.glance import GlanceStore

pytestmark = pytest.mark.mount

GLANCE_MB = 1_024_000  # the driver's unit


@pytest.fixture(scope="module")
def glance_mount(
    openstack: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    """Mount Glance's account with its own Keystone user."""
    environ = openstack.environ(user="glance", project="service")
    options = "segment_size=64K,attr_timeout=0,list_timeout=0"
    with mounted(tmp_path_factory.mktemp("glance"), environ, options) as running:
        yield running


@pytest.fixture(scope="module", params=[0, 2], ids=["one container", "many containers"])
def glance(
    openstack: Cloud, request: pytest.FixtureRequest
) -> Iterator[tuple[GlanceStore, int]]:
    options = GlanceOptions(
        multiple_containers_seed=request.param, large_object_size=2, large_object_chunk_size=1
    )
    with openstack.glance(f"glance-{request.param}", options) as store:
        yield store, request.param


def container_of(image_id: str, seed: int) -> str:
    return f"glance_{image_id[:seed]}" if seed else "glance"


@pytest.mark.parametrize(
    ("size", "manifest"), [(100_000, None), (4 * GLANCE_MB, "dlo"), (3 * GLANCE_MB + 5, "dlo")]
)
def test_what_glance_wrote_is_read_byte_for_byte(
    glance: tuple[GlanceStore, int], glance_mount: Mounted, size: int, manifest: str | None
) -> None:
    store, seed = glance
    image_id, data = str(uuid.uuid4()), random.Random(size).randbytes(size)
    store.add(image_id, data)

    directory = glance_mount.path / container_of(image_id, seed)
    path = directory / image_id

    assert path.read_bytes() == data
    assert path.stat().st_size == size
    assert [name for name in os.listdir(directory) if name.startswith(image_id)] == [image_id]
    if manifest:
        assert os.getxattr(path, "user.swift.manifest").decode() == manifest


@pytest.mark.parametrize("size", [1000, 300_000])
def test_what_we_wrote_glance_reads_and_deletes(
    openstack: Cloud, glance: tuple[GlanceStore, int], glance_mount: Mounted, size: int
) -> None:
    store, seed = glance
    image_id, data = str(uuid.uuid4()), random.Random(size).randbytes(size)
    container = container_of(image_id, seed)
    (glance_mount.path / container).mkdir(exist_ok=True)
    (glance_mount.path / container / image_id).write_bytes(data)
    location = f"swift+config://ref1/{container}/{image_id}"

    read = b"".join(store.get(location))
    store.delete(location)

    assert read == data
    assert not (glance_mount.path / container / image_id).exists()


def test_unlink_removes_what_glance_wrote_with_its_segments(
    glance: tuple[GlanceStore, int], glance_mount: Mounted
) -> None:
    store, seed = glance
    image_id = str(uuid.uuid4())
    store.add(image_id, b"x" * (3 * GLANCE_MB))
    directory = glance_mount.path / container_of(image_id, seed)

    (directory / image_id).unlink()

    assert [name for name in os.listdir(directory) if name.startswith(image_id)] == []


def test_an_image_that_glance_owns_is_not_changed(
    glance: tuple[GlanceStore, int], glance_mount: Mounted
) -> None:
    store, seed = glance
    image_id = str(uuid.uuid4())
    store.add(image_id, b"x" * 1000)
    path = glance_mount.path / container_of(image_id, seed) / image_id

    with pytest.raises(PermissionError):
        path.write_bytes(b"y")
    with pytest.raises(PermissionError):
        os.truncate(path, 0)
    with pytest.raises(PermissionError):
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with open(path, "r+b", buffering=0) as file, pytest.raises(PermissionError):
        file.write(b"y")  # who opens it to read and write may yet only read

    assert path.read_bytes() == b"x" * 1000


def test_a_cloud_of_clouds_yaml_is_mounted_by_its_name(
    openstack: Cloud, tmp_path: Path
) -> None:
    variables = openstack.environ(user="demo", project="demo")
    file = tmp_path / "clouds.yaml"
    file.write_text(
        f"""
clouds:
  mycloud:
    region_name: {variables["OS_REGION_NAME"]}
    auth:
      auth_url: {variables["OS_AUTH_URL"]}
      username: {variables["OS_USERNAME"]}
      password: {variables["OS_PASSWORD"]}
      project_name: {variables["OS_PROJECT_NAME"]}
      user_domain_name: {variables["OS_USER_DOMAIN_NAME"]}
      project_domain_name: {variables["OS_PROJECT_DOMAIN_NAME"]}
"""
    )

    with mounted(tmp_path, {"OS_CLIENT_CONFIG_FILE": str(file)}, source="mycloud") as running:
        (running.path / "mine").mkdir()
        (running.path / "mine" / "x").write_bytes(b"x")
        location = os.getxattr(running.path / "mine" / "x", "user.swift.location").decode()

    assert location == f"swift+{openstack.storage_url('demo')}/mine/x"


def test_who_may_only_read_is_refused_by_swift(openstack: Cloud, tmp_path: Path) -> None:
    owner = openstack.environ(user="demo", project="demo")
    (tmp_path / "owner").mkdir()
    (tmp_path / "reader").mkdir()
    with mounted(tmp_path / "owner", owner) as running:
        (running.path / "shared").mkdir()
        (running.path / "shared" / "x").write_bytes(b"x")

    reader = openstack.environ(user="reader", project="demo")
    with mounted(tmp_path / "reader", reader) as running:
        read = (running.path / "shared" / "x").read_bytes()
        with pytest.raises(PermissionError):
            (running.path / "shared" / "y").write_bytes(b"y")

    assert read == b"x"


def test_a_wrong_keystone_password_is_one_line(openstack: Cloud, tmp_path: Path) -> None:
    environ = {**openstack.environ(), "OS_PASSWORD": "wrong"}

    started = start_mount(["env:", str(tmp_path)], {**os.environ, **environ}, is_detached=True)

    assert started.process.returncode == 1
    assert "Keystone refused the credentials" in started.message
