"""ACLs of containers through the kernel: who reads and writes once they are set."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import swiftclient

from swiftimgfs.store.acls import Acls, set_acls
from tests.support.acls import acls_of
from tests.support.mounts import Mounted, mounted, run, run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cloud import Cloud
    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

OPTIONS = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"
LARGE = random.Random(1).randbytes(300_000)
ACL = "user.swift.acl"
WRITABLE = ("read", "write", "public", "read_tenants", "write_tenants")


@dataclass(frozen=True, slots=True)
class Account:
    """One user's view of project demo's account, outside the mount."""

    client: swiftclient.Connection

    def read(self, path: Path) -> bytes | int:
        """Return an image's bytes, or the status of the refusal."""
        try:
            body: bytes = self.client.get_object(path.parent.name, path.name)[1]
        except swiftclient.ClientException as exc:
            return int(exc.http_status)
        return body

    def write(self, path: Path, data: bytes) -> int:
        """Return the status of storing an image."""
        try:
            self.client.put_object(path.parent.name, path.name, data)
        except swiftclient.ClientException as exc:
            return int(exc.http_status)
        return 201

    def acls(self, container: str) -> Acls:
        """Return what Swift has stored."""
        return acls_of(self.client, container)


@pytest.fixture(scope="module")
def project(openstack: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """The mount of project demo."""
    directory = tmp_path_factory.mktemp("demo")
    with mounted(directory, openstack.environ(), OPTIONS) as running:
        yield running


@pytest.fixture(scope="module")
def account_of(openstack: Cloud) -> Iterator[Callable[[str], Account]]:
    with contextlib.ExitStack() as stack:

        def connect(user: str) -> Account:
            token = openstack.session(user, user).get_token()
            client = swiftclient.Connection(
                preauthurl=openstack.storage_url("demo"), preauthtoken=token, retries=0
            )
            return Account(stack.enter_context(contextlib.closing(client)))

        yield connect


@pytest.fixture(scope="module")
def owner(account_of: Callable[[str], Account]) -> Account:
    return account_of("demo")


@pytest.fixture(scope="module")
def other(account_of: Callable[[str], Account]) -> Account:
    """A user of project other."""
    return account_of("other")


@pytest.fixture(scope="module")
def tenant(openstack: Cloud) -> str:
    """The id of project other."""
    return openstack.keystone.project_id("other")


@pytest.fixture
def images(project: Mounted) -> Path:
    """A new container with a large image in it."""
    path = project.path / f"c{uuid.uuid4().hex[:12]}"
    path.mkdir()
    (path / "image").write_bytes(LARGE)
    return path


def set_attribute(path: Path, name: str, value: str) -> None:
    assert run_all("setfattr", "-n", f"{ACL}.{name}", "-v", value, path) == ""


def remove_attribute(path: Path, name: str) -> None:
    assert run_all("setfattr", "-x", f"{ACL}.{name}", path) == ""


def attributes_of(path: Path) -> dict[str, str]:
    """Return the attributes that getfattr lists about ACLs."""
    lines = run("getfattr", "--absolute-names", "-d", "-m", f"^{ACL}", path).splitlines()
    pairs = (line.removeprefix(f"{ACL}.").split("=", 1) for line in lines if "=" in line)
    return {name: value.strip('"') for name, value in pairs}


def errno_of_setting(path: Path, name: str, value: bytes) -> int | None:
    with pytest.raises(OSError) as caught:
        os.setxattr(path, name, value)
    return caught.value.errno


# ── who reads, who writes ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value"), [("read_tenants", "{tenant}"), ("read", "{tenant}:*"), ("public", "1")]
)
def test_a_large_image_is_read_by_whom_the_container_is_opened_to_until_it_is_closed(
    images: Path, other: Account, tenant: str, name: str, value: str
) -> None:
    image = images / "image"
    before = other.read(image)

    set_attribute(images, name, value.format(tenant=tenant))
    opened = other.read(image)
    remove_attribute(images, name)

    assert (before, opened, other.read(image)) == (403, LARGE, 403)


def test_public_0_closes_a_public_container(images: Path, other: Account) -> None:
    set_attribute(images, "public", "1")
    set_attribute(images, "public", "0")

    assert other.read(images / "image") == 403


def test_readers_may_not_write_and_writers_may(
    images: Path, other: Account, tenant: str
) -> None:
    set_attribute(images, "read_tenants", tenant)
    as_reader = other.write(images / "theirs", b"x")

    set_attribute(images, "write_tenants", tenant)
    as_writer = other.write(images / "theirs", b"x")
    read = (images / "theirs").read_bytes()
    remove_attribute(images, "write_tenants")

    assert (as_reader, as_writer, read) == (403, 201, b"x")
    assert other.write(images / "theirs", b"y") == 403


@pytest.mark.parametrize(
    ("name", "value", "acls"),
    [
        ("public", "1", set_acls(public=True)),
        ("public", "0", set_acls()),
        ("read_tenants", "t1, t2", set_acls(read_tenants=("t1", "t2"))),
        ("write_tenants", "t1,t2", set_acls(write_tenants=("t1", "t2"))),
    ],
)
def test_the_headers_are_those_of_glance_s_driver(
    images: Path, owner: Account, name: str, value: str, acls: Acls
) -> None:
    set_attribute(images, name, value)

    assert owner.acls(images.name) == acls
    assert owner.acls(f"{images.name}_segments") == acls


# ── as attributes ──────────────────────────────────────────────────────────────────────


def test_a_container_without_acls_lists_none_and_is_not_public(images: Path) -> None:
    assert attributes_of(images) == {}
    assert os.getxattr(images, f"{ACL}.public") == b"0"
    for name in ("read", "write", "read_tenants", "write_tenants"):
        with pytest.raises(OSError) as caught:
            os.getxattr(images, f"{ACL}.{name}")
        assert caught.value.errno == errno.ENODATA


def test_tenants_are_listed_as_swift_and_as_glance_says_it(images: Path) -> None:
    set_attribute(images, "read_tenants", "t1,t2")
    set_attribute(images, "write", " t3:* ,, t4:* ")

    assert attributes_of(images) == {
        "read": "t1:*,t2:*",
        "read_tenants": "t1,t2",
        "write": "t3:*,t4:*",
        "write_tenants": "t3,t4",
    }


def test_public_and_tenants_end_each_other(images: Path) -> None:
    set_attribute(images, "read_tenants", "t1")
    set_attribute(images, "public", "1")
    public = attributes_of(images)
    set_attribute(images, "read_tenants", "t1")

    assert public == {"read": "*:*", "public": "1"}
    assert attributes_of(images) == {"read": "t1:*", "read_tenants": "t1"}


def test_public_0_leaves_tenants_alone(images: Path) -> None:
    set_attribute(images, "read_tenants", "t1")
    set_attribute(images, "public", "0")

    assert attributes_of(images) == {"read": "t1:*", "read_tenants": "t1"}


def test_an_acl_with_others_than_tenants_has_no_tenants(images: Path) -> None:
    set_attribute(images, "read", ".referrer : *.example.com, t1:u1")

    assert attributes_of(images) == {"read": ".r:.example.com,t1:u1"}


@pytest.mark.parametrize("name", WRITABLE)
def test_what_is_not_there_cannot_be_removed(images: Path, owner: Account, name: str) -> None:
    if name == "public":  # it always says something
        remove_attribute(images, name)
    else:
        with pytest.raises(OSError) as caught:
            os.removexattr(images, f"{ACL}.{name}")
        assert caught.value.errno == errno.ENODATA

    assert owner.acls(images.name) == Acls("", "")


@pytest.mark.parametrize(
    ("name", "acl"),
    [("read_tenants", "a:*,b:u1,.r:.example.com"), ("write_tenants", "a:b,c:*")],
)
def test_removing_tenants_that_are_told_otherwise_changes_nothing(
    images: Path, owner: Account, name: str, acl: str
) -> None:
    raw = name.removesuffix("_tenants")
    set_attribute(images, raw, acl)

    with pytest.raises(OSError) as caught:
        os.removexattr(images, f"{ACL}.{name}")

    assert caught.value.errno == errno.ENODATA
    assert getattr(owner.acls(images.name), raw) == acl


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("read", b".r:"),
        ("read", b".unknown:x"),
        ("write", b".r:*"),
        ("read", b"\xff"),
        ("write", b"t1:*\nX-Container-Meta-Bad: 1"),
        ("public", b"yes"),
        ("public", b""),
        ("read_tenants", b"*"),
        ("write_tenants", b"t1:u1"),
    ],
)
def test_what_is_no_acl_is_invalid_and_changes_nothing(
    images: Path, owner: Account, name: str, value: bytes
) -> None:
    set_attribute(images, "read_tenants", "t1")

    assert errno_of_setting(images, f"{ACL}.{name}", value) == errno.EINVAL
    assert owner.acls(images.name) == Acls("t1:*", "")


@pytest.mark.parametrize("acl", [".r:bad::", ".r:a:b,.rlistings", "t1:u1:x", "::", "a b"])
def test_what_swift_keeps_though_it_means_nobody_is_kept_and_told_as_it_is(
    images: Path, owner: Account, acl: str
) -> None:
    set_attribute(images, "read", acl)

    assert owner.acls(images.name) == Acls(acl, "")
    assert os.getxattr(images, f"{ACL}.read").decode() == acl


def test_files_and_other_names_take_no_attributes(images: Path) -> None:
    (images / "directory").mkdir()

    for path in (images / "image", images / "directory"):
        assert errno_of_setting(path, f"{ACL}.read", b"t1:*") == errno.EOPNOTSUPP
    for name in ("user.swift.location", f"{ACL}.admin", "user.swift.mine", "trusted.mine"):
        assert errno_of_setting(images, name, b"x") == errno.EOPNOTSUPP
        with pytest.raises(OSError) as caught:
            os.removexattr(images, name)
        assert caught.value.errno == errno.EOPNOTSUPP


def test_cp_a_copies_the_acls_of_a_container_without_a_word(
    images: Path, owner: Account
) -> None:
    set_attribute(images, "read_tenants", "t1,t2")
    set_attribute(images, "write_tenants", "t3")
    copy = images.with_name(f"{images.name}-copy")

    assert run_all("cp", "-a", images, copy) == ""

    assert owner.acls(copy.name) == Acls("t1:*,t2:*", "t3:*")
    assert owner.acls(f"{copy.name}_segments") == Acls("t1:*,t2:*", "t3:*")
    assert (copy / "image").read_bytes() == LARGE


def test_a_container_that_is_the_mount_point_has_them_too(
    openstack: Cloud, images: Path, owner: Account, tmp_path: Path
) -> None:
    with mounted(tmp_path, openstack.environ(), OPTIONS, f"env::{images.name}") as running:
        set_attribute(running.path, "public", "1")

    assert owner.acls(images.name) == Acls("*:*", "")


# ── segments ───────────────────────────────────────────────────────────────────────────


def test_a_segment_container_made_later_has_the_acls_of_its_images(
    project: Mounted, owner: Account, other: Account, tenant: str
) -> None:
    path = project.path / f"c{uuid.uuid4().hex[:12]}"
    path.mkdir()
    set_attribute(path, "read_tenants", tenant)
    set_attribute(path, "write_tenants", "t1")

    (path / "image").write_bytes(LARGE)

    assert owner.acls(f"{path.name}_segments") == Acls(f"{tenant}:*", "t1:*")
    assert other.read(path / "image") == LARGE


def test_segments_of_the_swift_cli_are_opened_with_their_image(
    project: Mounted, owner: Account, other: Account, tenant: str
) -> None:
    name = f"c{uuid.uuid4().hex[:12]}"
    for container in (name, f"{name}_segments"):
        owner.client.put_container(container)
    owner.client.put_object(f"{name}_segments", "image/1", b"segment")
    rows = json.dumps([{"path": f"{name}_segments/image/1"}])
    owner.client.put_object(name, "image", rows, query_string="multipart-manifest=put")

    set_attribute(project.path / name, "read_tenants", tenant)

    assert other.read(project.path / name / "image") == b"segment"


def test_a_neighbour_that_only_has_the_name_stays_closed(
    project: Mounted, owner: Account, other: Account
) -> None:
    path = project.path / f"c{uuid.uuid4().hex[:12]}"
    neighbour = path.with_name(f"{path.name}_segments")
    for each in (path, neighbour):
        each.mkdir()
        (each / "image").write_bytes(b"ordinary")

    set_attribute(path, "public", "1")

    assert other.read(path / "image") == b"ordinary"
    assert other.read(neighbour / "image") == 403
    assert owner.acls(neighbour.name) == Acls("", "")


# ── somebody else's account ────────────────────────────────────────────────────────────


@pytest.fixture
def foreign(swift: FaultySwift, tmp_path: Path) -> Iterator[Mounted]:
    """A mount of somebody else's account, by a user who may do all but what its owner may."""
    grant = json.dumps({"read-write": ["other:other"]})
    client = swift.connect()
    client.post_account({"X-Account-Access-Control": grant})
    with contextlib.closing(swift.connect(user="other:other", key="other")) as other:
        environ = {
            "OS_STORAGE_URL": swift.swift.storage_url,
            "OS_AUTH_TOKEN": other.get_auth()[1],
        }
    with mounted(tmp_path, environ, OPTIONS) as running:
        yield running
    client.post_account({"X-Account-Access-Control": ""})
    client.close()


def test_what_swift_drops_silently_is_eperm_and_changes_nothing(
    swift: FaultySwift, foreign: Mounted, container: str
) -> None:
    client = swift.connect()
    client.post_container(container, {"X-Container-Read": "demo:reader"})
    path = foreign.path / container

    for name, value in (("read", b"x:*"), ("write", b"x:*"), ("public", b"0")):
        assert errno_of_setting(path, f"{ACL}.{name}", value) == errno.EPERM
    for name in WRITABLE:
        with pytest.raises(OSError) as caught:
            os.removexattr(path, f"{ACL}.{name}")
        assert caught.value.errno == (errno.EPERM if name == "public" else errno.ENODATA)

    headers = client.head_container(container)
    assert headers["x-container-read"] == "demo:reader"
    assert "x-container-write" not in headers
    assert "Swift dropped the ACL" in foreign.log.read_text()
    client.close()
