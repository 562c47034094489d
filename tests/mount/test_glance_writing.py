"""`large_object=glance`: what Swift holds afterwards is what Glance's driver would have put.

The driver itself is the oracle: it stores the same bytes under the same name in another
container, and every object, size, byte and header is compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import swiftclient

from tests.support.glance import GLANCE_MB, GlanceOptions, GlanceStore
from tests.support.mounts import Mounted, mounted, run
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cloud import Cloud

pytestmark = pytest.mark.mount

OPTIONS = (
    "large_object=glance,swift_store_large_object_size=2,large_object_chunk_size=1,"
    "attr_timeout=0,list_timeout=0,timeout=10"
)
# Of when and by whom; Swift makes them up for every object anew.
OF_THE_REQUEST = {"date", "last-modified", "x-timestamp", "x-trans-id", "connection"}
OF_THE_REQUEST |= {"x-openstack-request-id"}


@dataclass
class Account:
    """Glance's account as a client sees it, and what it holds."""

    client: swiftclient.Connection
    made: set[str] = field(default_factory=set)

    def objects(self, container: str, prefix: str) -> dict[str, tuple[dict[str, str], bytes]]:
        """Return headers and bytes of every object, a manifest's being none, by name."""
        _, rows = self.client.get_container(container, prefix=prefix, full_listing=True)
        return {row["name"]: self.object(container, row["name"]) for row in rows}

    def object(self, container: str, name: str) -> tuple[dict[str, str], bytes]:
        headers, body = self.client.get_object(
            container, name, query_string="multipart-manifest=get"
        )
        kept = {k: v for k, v in headers.items() if k not in OF_THE_REQUEST}
        return kept, body

    def names(self, container: str) -> list[str]:
        return [row["name"] for row in self.client.get_container(container)[1]]


@pytest.fixture(scope="module")
def oracle(openstack: Cloud) -> Iterator[GlanceStore]:
    options = GlanceOptions(container="oracle", large_object_size=2, large_object_chunk_size=1)
    with openstack.glance("oracle", options) as store:
        yield store


@pytest.fixture(scope="module")
def glance(openstack: Cloud) -> Iterator[GlanceStore]:
    options = GlanceOptions(large_object_size=2, large_object_chunk_size=1)
    with openstack.glance("glance", options) as store:
        yield store


@pytest.fixture(scope="module")
def account(openstack: Cloud) -> Iterator[Account]:
    session = openstack.session(user="glance", project="service")
    with contextlib.closing(swiftclient.Connection(session=session)) as client:
        client.put_container("glance")
        client.put_container("images")
        yield Account(client)


@pytest.fixture(scope="module")
def mount(
    openstack: Cloud, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    environ = openstack.environ(user="glance", project="service")
    with mounted(tmp_path_factory.mktemp("glance"), environ, OPTIONS) as running:
        yield running


@pytest.fixture(scope="module")
def owner(
    openstack: Cloud, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    """A mount that may also change what Glance wrote."""
    environ = openstack.environ(user="glance", project="service")
    options = f"{OPTIONS},allow_glance_writes"
    with mounted(tmp_path_factory.mktemp("owner"), environ, options) as running:
        yield running


@pytest.fixture
def image_id() -> str:
    return str(uuid.uuid4())


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def in_container(objects: dict[str, tuple[dict[str, str], bytes]], container: str, other: str):
    """Return objects as they would be if they were in the other container."""
    return {
        name: (
            {
                key: value.replace(f"{container}/", f"{other}/", 1)
                if key == "x-object-manifest"
                else value
                for key, value in headers.items()
            },
            body,
        )
        for name, (headers, body) in objects.items()
    }


SIZES = {
    "no bytes": 0,
    "one byte": 1,
    "plain": 1_500_000,
    "just below the threshold": 2 * GLANCE_MB - 1,
    "the threshold": 2 * GLANCE_MB,
    "a short last segment": 2 * GLANCE_MB + 1,
    "whole segments": 5 * GLANCE_MB,
    "more segments than go up at once": 12 * GLANCE_MB + 77,
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_image_is_stored_as_the_driver_stores_it(
    oracle: GlanceStore, account: Account, mount: Mounted, image_id: str, size: int
) -> None:
    data = random_bytes(size)
    added = oracle.add(image_id, data)

    (mount.path / "glance" / image_id).write_bytes(data)

    ours = account.objects("glance", image_id)
    theirs = account.objects("oracle", image_id)
    assert list(ours) == list(theirs)
    assert ours == in_container(theirs, "oracle", "glance")
    assert hashlib.sha512(data).hexdigest() == added.os_hash_value
    assert sum(len(body) for _, body in ours.values()) == size


@pytest.mark.parametrize("size", [0, 1000, 3 * GLANCE_MB + 5])
def test_what_is_stored_glance_reads_and_deletes(
    glance: GlanceStore, account: Account, mount: Mounted, image_id: str, size: int
) -> None:
    data = random_bytes(size)
    (mount.path / "glance" / image_id).write_bytes(data)
    location = f"swift+config://ref1/glance/{image_id}"

    assert b"".join(glance.get(location)) == data
    assert glance.get_size(location) == size
    glance.delete(location)

    assert account.objects("glance", image_id) == {}


# ── what differs from the driver, because it only makes new images ─────────────────────


def glance_deletes(glance: GlanceStore, account: Account, name: str) -> bool:
    """Have Glance delete an image, and return when nothing of it is left; whether it was there."""
    before = account.names("glance")
    parts = [other for other in before if name in other]
    glance.delete(f"swift+config://ref1/glance/{name}")
    wait_for(lambda: not [other for other in account.names("glance") if name in other])
    return parts != []


def test_an_image_is_guarded_from_when_it_is_closed(mount: Mounted, image_id: str) -> None:
    path = mount.path / "glance" / image_id
    path.write_bytes(random_bytes(3 * GLANCE_MB))

    for change in (
        lambda: path.open("r+b"),
        lambda: path.open("ab"),
        lambda: os.truncate(path, 0),
        lambda: path.chmod(0o600),
        lambda: os.utime(path, (1, 1)),
        lambda: os.setxattr(path, "user.swift.meta.img_signature", b"x"),
    ):
        with pytest.raises(PermissionError):
            change_and_close(change)

    assert path.read_bytes() == random_bytes(3 * GLANCE_MB)
    path.unlink()


def change_and_close(change: Callable[[], object]) -> None:
    opened = change()
    if isinstance(opened, io.IOBase):
        with opened as file:
            file.write(b"x")


def test_what_somebody_sets_is_stored_with_the_image(
    account: Account, mount: Mounted, image_id: str
) -> None:
    with (mount.path / "glance" / image_id).open("wb") as file:
        file.write(random_bytes(2 * GLANCE_MB))
        os.fchmod(file.fileno(), 0o640)
        os.utime(file.fileno(), (12, 34))

    headers, _ = account.object("glance", image_id)
    assert headers["x-object-meta-mode"] == "0640"
    assert headers["x-object-meta-mtime"] == "34.000000000"


def test_touch_makes_an_image_and_sets_its_time(
    glance: GlanceStore, account: Account, mount: Mounted, image_id: str
) -> None:
    """It closes a duplicate of its descriptor, which stores the image, and then sets the time."""
    path = mount.path / "glance" / image_id

    run("touch", "-d", "@1000000000", path)

    headers, _ = account.object("glance", image_id)
    assert headers["x-object-meta-mtime"] == "1000000000.000000000"
    assert (path.stat().st_size, path.stat().st_mtime) == (0, 1_000_000_000)
    assert glance_deletes(glance, account, image_id)


def test_an_image_of_glance_is_edited_and_stays_glances(
    glance: GlanceStore, account: Account, mount: Mounted, owner: Mounted, image_id: str
) -> None:
    """Who has it open meanwhile reads it to its end, or is told."""
    data = random_bytes(3 * GLANCE_MB + 5)
    glance.add(image_id, data)
    with (mount.path / "glance" / image_id).open("rb", buffering=0) as reader:
        start = reader.read(1000)
        with (owner.path / "glance" / image_id).open("r+b") as writer:
            writer.seek(2 * GLANCE_MB)
            writer.write(b"changed")
        with contextlib.suppress(OSError):
            while piece := reader.read(100_000):
                start += piece

    assert data.startswith(start)
    changed = data[: 2 * GLANCE_MB] + b"changed" + data[2 * GLANCE_MB + 7 :]
    location = f"swift+config://ref1/glance/{image_id}"
    assert b"".join(glance.get(location)) == changed
    assert (mount.path / "glance" / image_id).read_bytes() == changed
    assert os.getxattr(mount.path / "glance" / image_id, "user.swift.manifest") == b"dlo"
    wait_for(lambda: not [n for n in account.names("glance") if n.startswith(f"{image_id}-")])
    shown = os.listdir(mount.path / "glance")
    assert [name for name in shown if image_id in name] == [image_id]
    assert glance_deletes(glance, account, image_id)


def test_what_was_synced_stays_as_it_is_while_more_is_written(
    glance: GlanceStore, account: Account, mount: Mounted, image_id: str
) -> None:
    first, more = random_bytes(2 * GLANCE_MB + 100), random_bytes(2 * GLANCE_MB + 1)
    with (mount.path / "glance" / image_id).open("wb", buffering=0) as file:
        file.write(first)
        os.fsync(file.fileno())
        file.write(more)
        assert account.client.get_object("glance", image_id)[1] == first
    location = f"swift+config://ref1/glance/{image_id}"

    assert b"".join(glance.get(location)) == first + more
    assert glance_deletes(glance, account, image_id)


def test_an_image_that_was_made_empty_first_is_right(
    glance: GlanceStore, account: Account, owner: Mounted, image_id: str
) -> None:
    """As `qemu-img convert` does, and `touch`."""
    path, data = owner.path / "glance" / image_id, random_bytes(3 * GLANCE_MB)
    path.touch()

    path.write_bytes(data)

    assert b"".join(glance.get(f"swift+config://ref1/glance/{image_id}")) == data
    assert glance_deletes(glance, account, image_id)


def test_files_that_begin_with_each_others_names_are_each_their_own(mount: Mounted) -> None:
    names = ["ubuntu", "ubuntu-", "ubuntu-00001", "ubuntu-22.04.img"]
    images = {name: random_bytes(2 * GLANCE_MB + number) for number, name in enumerate(names)}
    for name, data in images.items():
        (mount.path / "images" / name).write_bytes(data)

    for name, data in images.items():
        assert (mount.path / "images" / name).read_bytes() == data
    assert sorted(os.listdir(mount.path / "images")) == names
    (mount.path / "images" / "ubuntu").unlink()
    assert (mount.path / "images" / "ubuntu-00001").read_bytes() == images["ubuntu-00001"]


def test_a_renamed_image_is_read_and_deleted_by_glance(
    glance: GlanceStore, account: Account, mount: Mounted, image_id: str
) -> None:
    """As `rsync` makes it: under another name first."""
    data = random_bytes(3 * GLANCE_MB)
    (mount.path / "glance" / f".{image_id}.x").write_bytes(data)
    (mount.path / "glance" / f".{image_id}.x").rename(mount.path / "glance" / image_id)

    assert b"".join(glance.get(f"swift+config://ref1/glance/{image_id}")) == data
    assert glance_deletes(glance, account, image_id)


def test_a_mount_that_is_killed_leaves_nothing_of_an_unfinished_image(
    openstack: Cloud, account: Account, image_id: str, tmp_path: Path
) -> None:
    """The next one removes the segments, whose names are the driver's."""
    environ = openstack.environ(user="glance", project="service")
    environ["XDG_STATE_HOME"] = str(tmp_path / "state")
    options = OPTIONS.replace("timeout=10", "timeout=1")
    with mounted(tmp_path, environ, options) as running:
        descriptor = os.open(running.path / "glance" / image_id, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, random_bytes(4 * GLANCE_MB))
        deadline = time.monotonic() + 30
        while not [name for name in account.names("glance") if name == f"{image_id}-00003"]:
            assert time.monotonic() < deadline
        running.process.kill()
        running.process.wait()
        with contextlib.suppress(OSError):
            os.close(descriptor)

    with mounted(tmp_path, environ, options):
        while [name for name in account.names("glance") if image_id in name]:
            assert time.monotonic() < deadline + 30
