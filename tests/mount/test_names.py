"""Names through the kernel: directories, renames, removals, and what must not be touched."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from swiftimgfs.mount_process import start_mount
from tests.support.attributes import settle
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted, run, run_all
from tests.support.stored import content, names_in, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


def test_a_container_is_made_and_removed_like_a_directory(
    swift: FaultySwift, mount: Mounted
) -> None:
    path = mount.path / f"new{uuid.uuid4().hex}"

    path.mkdir()
    listed = os.listdir(mount.path)
    path.rmdir()

    assert path.name in listed
    assert not path.exists()


def test_a_container_is_made_with_a_storage_policy(swift: FaultySwift, tmp_path: Path) -> None:
    name = f"new{uuid.uuid4().hex}"
    with mounted(tmp_path, swift.swift.environ(), "storage_policy=policy-0") as mount:
        (mount.path / name).mkdir()

    requests = [r for r in swift.control.journal() if r.method == "PUT" and name in r.path]
    assert [r.headers.get("x-storage-policy") for r in requests] == ["policy-0"]
    with contextlib.closing(swift.connect()) as client:
        assert client.head_container(name)["x-storage-policy"] == "Policy-0"
        client.delete_container(name)
    state = {**os.environ, **swift.swift.environ(), "XDG_STATE_HOME": str(tmp_path / "state")}
    options = ["-o", "storage_policy=gold"]
    refused = start_mount(["env:", str(mount.path), *options], state, is_detached=True)
    assert not refused.is_serving
    assert "the cluster has no 'gold', but Policy-0" in refused.message


def test_a_container_with_images_is_not_removed(mount: Mounted, container: str) -> None:
    (mount.path / container / "x").write_bytes(b"x")

    with pytest.raises(OSError) as caught:
        (mount.path / container).rmdir()

    assert caught.value.errno == errno.ENOTEMPTY


def test_removing_a_container_removes_the_empty_one_that_we_made_for_segments(
    swift: FaultySwift, mount: Mounted
) -> None:
    path = mount.path / f"new{uuid.uuid4().hex}"
    path.mkdir()
    for letter in b"xy":  # what the first version was made of waits to be deleted
        (path / "x").write_bytes(bytes([letter]) * 300_000)
    (path / "x").unlink()
    assert f"{path.name}_segments" not in os.listdir(mount.path)

    path.rmdir()

    client = swift.connect()
    names = [row["name"] for row in client.get_account()[1]]
    assert path.name not in names
    assert f"{path.name}_segments" not in names
    client.close()


def test_slashes_in_names_are_directories(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    client = swift.connect()
    client.put_object(container, "a/b/c", b"deep")

    assert (mount.path / container / "a" / "b" / "c").read_bytes() == b"deep"
    assert os.listdir(mount.path / container) == ["a"]
    assert os.listdir(mount.path / container / "a") == ["b"]
    client.close()


def test_an_empty_directory_is_kept_by_a_marker(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    (mount.path / container / "d").mkdir()

    assert names_in(swift, container) == ["d/"]
    assert os.listdir(mount.path / container) == ["d"]
    (mount.path / container / "d").rmdir()
    assert names_in(swift, container) == []


def test_removing_a_directory_leaves_the_image_that_it_shadowed(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    with contextlib.closing(swift.connect()) as client:
        client.put_object(container, "x", b"image")
        client.put_object(container, "x/inside", b"inside")

    run("rm", "-r", mount.path / container / "x")

    assert names_in(swift, container) == ["x"]
    assert (mount.path / container / "x").read_bytes() == b"image"


def test_moving_a_directory_says_nothing(
    mount: Mounted, container: str, tmp_path: Path
) -> None:
    (mount.path / container / "d").mkdir()
    (mount.path / container / "d" / "x").write_bytes(b"x")

    moved = run_all("mv", mount.path / container / "d", mount.path / container / "e")
    run("cp", "-a", mount.path / container / "e" / "x", tmp_path / "x")
    back = run_all("cp", "-a", tmp_path / "x", mount.path / container / "y")

    assert moved == back == ""


def test_a_tree_is_removed_by_rm(swift: FaultySwift, mount: Mounted, container: str) -> None:
    client = swift.connect()
    for name in ("t/a", "t/b/c", "t/b/d"):
        client.put_object(container, name, b"x")

    run("rm", "-r", mount.path / container / "t")

    assert names_in(swift, container) == []
    client.close()


@pytest.mark.parametrize("size", [10, 400_000])
def test_rename_moves_no_segment(
    swift: FaultySwift, mount: Mounted, container: str, size: int
) -> None:
    (mount.path / container / "old").write_bytes(b"r" * size)
    segments = names_in(swift, f"{container}_segments") if size > 262_144 else []

    (mount.path / container / "old").rename(mount.path / container / "new")

    assert content(swift, container, "new") == b"r" * size
    assert names_in(swift, container) == ["new"]
    assert os.listdir(mount.path / container) == ["new"]
    if segments:
        assert names_in(swift, f"{container}_segments") == segments


def test_rename_over_an_image_replaces_it_and_its_segments(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    (mount.path / container / "old").write_bytes(b"1" * 400_000)
    (mount.path / container / "new").write_bytes(b"2" * 300_000)

    (mount.path / container / "old").replace(mount.path / container / "new")

    assert content(swift, container, "new") == b"1" * 400_000
    wait_for(lambda: len(names_in(swift, f"{container}_segments")) == 7)


def test_an_open_image_lives_through_its_rename(mount: Mounted, container: str) -> None:
    path = mount.path / container / "old"
    path.write_bytes(bytes(range(256)) * 20_000)
    with path.open("rb", buffering=0) as file:
        path.rename(mount.path / container / "new")
        read = os.pread(file.fileno(), 256, 256 * 19_000)

    assert read == bytes(range(256))


def test_an_image_renamed_while_it_is_written_has_the_new_name(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "old"
    with path.open("wb", buffering=0) as file:
        file.write(b"x" * 100)
        path.rename(mount.path / container / "new")
        file.write(b"y" * 100)

    assert names_in(swift, container) == ["new"]
    assert content(swift, container, "new") == b"x" * 100 + b"y" * 100


@pytest.mark.parametrize("size", [10, 400_000])
def test_a_removed_image_can_be_read_to_its_last_close(
    swift: FaultySwift, mount: Mounted, container: str, size: int
) -> None:
    path = mount.path / container / "x"
    path.write_bytes(b"z" * size)

    with path.open("rb", buffering=0) as file:
        path.unlink()
        gone = not path.exists()
        listed = os.listdir(mount.path / container)
        read = os.pread(file.fileno(), size, 0)

    assert gone
    assert listed == []
    assert read == b"z" * size


def test_a_name_that_would_become_a_segment_of_an_image_is_refused(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    image_id = str(uuid.uuid4())
    client = swift.connect()
    client.put_object(container, f"{image_id}-00001", b"segment")
    client.put_object(
        container, image_id, b"", headers={"X-Object-Manifest": f"{container}/{image_id}-"}
    )

    with pytest.raises(PermissionError):
        (mount.path / container / f"{image_id}-notes").write_bytes(b"x")

    assert os.listdir(mount.path / container) == [image_id]
    assert (mount.path / container / image_id).read_bytes() == b"segment"
    client.close()


def test_names_that_posix_cannot_hold_are_not_shown(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    with contextlib.closing(swift.connect()) as connection:
        storage_url, token = connection.get_auth()
    address = urlsplit(storage_url)
    client = http.client.HTTPConnection(address.netloc)  # swiftclient resolves the dots
    for name in ("good", "a//b", "..", "./x", "d/../e", "y" * 300):
        headers = {"X-Auth-Token": token}
        client.request("PUT", f"{address.path}/{container}/{name}", b"x", headers)
        client.getresponse().read()
    client.close()

    assert sorted(os.listdir(mount.path / container)) == ["a", "d", "good"]
    assert os.listdir(mount.path / container / "a") == []
    assert os.listdir(mount.path / container / "d") == []


def test_unicode_and_odd_characters_survive(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    names = ["ü ? & % # +", "日本", "new\nline", "quote'\""]
    for name in names:
        (mount.path / container / name).write_bytes(name.encode() * 50_000)

    assert sorted(os.listdir(mount.path / container)) == sorted(names)
    for name in names:
        assert content(swift, container, name) == name.encode() * 50_000
        (mount.path / container / name).rename(mount.path / container / f"{name}2")
        (mount.path / container / f"{name}2").unlink()
    assert names_in(swift, f"{container}_segments") == []


def test_a_name_that_is_not_utf_8_is_not_there_and_cannot_be_made(
    mount: Mounted, container: str
) -> None:
    (mount.path / container / "x").write_bytes(b"x")
    directory = os.fsencode(mount.path / container)
    name, known = directory + b"/\xff\xfe", directory + b"/x"

    looked_for = {
        "stat": lambda: os.stat(name),
        "open": lambda: os.open(name, os.O_RDONLY),
        "unlink": lambda: os.unlink(name),
        "rmdir": lambda: os.rmdir(name),
        "rename it": lambda: os.rename(name, known),
        "in the root": lambda: os.stat(os.fsencode(mount.path) + b"/\xff"),
    }
    made = {
        "create": lambda: os.open(name, os.O_CREAT | os.O_WRONLY),
        "mkdir": lambda: os.mkdir(name),
        "symlink": lambda: os.symlink(b"x", name),
        "rename to it": lambda: os.rename(known, name),
        "a container": lambda: os.mkdir(os.fsencode(mount.path) + b"/\xff"),
    }

    assert {what: errno_of(call) for what, call in looked_for.items()} == dict.fromkeys(
        looked_for, errno.ENOENT
    )
    assert {what: errno_of(call) for what, call in made.items()} == dict.fromkeys(
        made, errno.EINVAL
    )
    assert os.listdir(mount.path / container) == ["x"]
    assert run("find", directory.decode(), "-name", "x*") == f"{directory.decode()}/x\n"


def errno_of(call: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


def test_a_marker_that_holds_bytes_counts_as_hidden_and_keeps_its_directory(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    with contextlib.closing(swift.connect()) as client:
        client.put_object(container, "d/", b"bytes")
        client.put_object(container, "e/", b"", content_type="application/directory")
        client.put_object(container, "f", b"shadowed")
        client.put_object(container, "f/inside", b"x")
    hidden = {
        name: os.getxattr(mount.path / container / name, "user.swift.hidden")
        for name in ("d", "e", "f", "")
    }
    with pytest.raises(OSError) as caught:
        (mount.path / container / "d").rmdir()

    assert hidden == {"d": b"1", "e": b"0", "f": b"0", "": b"1"}
    assert caught.value.errno == errno.ENOTEMPTY
    (mount.path / container / "e").rmdir()
    assert names_in(swift, container) == ["d/", "f", "f/inside"]


def test_files_beside_containers_links_and_devices_are_refused(
    mount: Mounted, container: str
) -> None:
    (mount.path / container / "x").write_bytes(b"x")

    with pytest.raises(PermissionError):
        (mount.path / "file").write_bytes(b"x")
    with pytest.raises(PermissionError):
        (mount.path / container / "link").hardlink_to(mount.path / container / "x")
    with pytest.raises(PermissionError):
        (mount.path / container / "link").symlink_to("missing")
    with pytest.raises(PermissionError):
        os.mkfifo(mount.path / container / "fifo")


def test_mtime_and_mode_are_stored_and_a_dlo_stays_one(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    client = swift.connect()
    client.put_object(container, "s/1", b"one")
    client.put_object(container, "dlo", b"", headers={"X-Object-Manifest": f"{container}/s/"})
    path = mount.path / container / "dlo"

    os.utime(path, (1_300_000_000.125, 1_300_000_000.125))
    path.chmod(0o640)
    settle(path)

    headers = client.head_object(container, "dlo")
    assert headers["x-object-meta-mtime"] == "1300000000.125000000"
    assert headers["x-object-meta-mode"] == "0640"
    assert path.read_bytes() == b"one"
    assert path.stat().st_mtime == 1_300_000_000.125
    assert path.stat().st_mode & 0o7777 == 0o640
    client.close()


def test_attributes_say_where_an_image_is_and_who_may_read(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    client = swift.connect()
    client.post_container(container, {"X-Container-Read": "other:other"})
    (mount.path / container / "x").write_bytes(b"x")
    path = mount.path / container

    where = f"swift+{swift.swift.storage_url}/{container}"
    assert os.getxattr(path, "user.swift.location").decode() == where
    assert os.getxattr(path / "x", "user.swift.location").decode() == f"{where}/x"
    assert os.getxattr(path / "x", "user.swift.etag") == b"9dd4e461268c8034f5c8564e155c67a6"
    assert os.getxattr(path, "user.swift.acl.read") == b"other:other"
    assert os.listxattr(path) == ["user.swift.acl.read"]
    with pytest.raises(OSError) as missing:
        os.getxattr(path, "user.swift.acl.write")
    with pytest.raises(OSError) as foreign:
        os.getxattr(path, "security.selinux")
    assert missing.value.errno == errno.ENODATA
    assert foreign.value.errno == errno.EOPNOTSUPP
    client.close()


def test_statfs_answers_from_memory_though_swift_does_not(
    swift: FaultySwift, mount: Mounted
) -> None:
    swift.control.inject(Fault(method="HEAD", count=None, hold="before"))

    usages = [os.statvfs(mount.path) for _ in range(100)]

    swift.control.clear()
    assert all(usage.f_bavail > 0 for usage in usages)
