"""Extended attributes, mode, owner and time, by the tools that people use, on a real mount."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import settle
from tests.support.embedded_swift import FaultySwift, faulty_swift
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted, run, run_all
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import swiftclient

pytestmark = pytest.mark.mount

LARGE = os.urandom(300_000)
LATER = str(2**32)
META = "x-object-meta-"


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySwift]:
    """Run a Swift with limits of its own, which it tells.

    They are less than what a disk of ext4 takes of all attributes of a file, on which Swift
    would answer 507, and ask that disk no more for a while.
    """
    constraints = {"max_meta_count": 24, "max_meta_overall_size": 2048}
    with faulty_swift(tmp_path_factory.mktemp("swift"), constraints=constraints) as running:
        yield running


@pytest.fixture(scope="module")
def client(swift: FaultySwift) -> Iterator[swiftclient.Connection]:
    with contextlib.closing(swift.connect()) as connection:
        yield connection


@pytest.fixture
def directory(mount: Mounted, container: str) -> Path:
    return mount.path / container


def errno_of_setting(path: Path, name: str, value: bytes) -> int | None:
    with pytest.raises(OSError) as caught:
        os.setxattr(path, name, value)
    return caught.value.errno


def attributes_of(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def posts(swift: FaultySwift, name: str) -> int:
    journal = swift.control.journal()
    return sum(r.method == "POST" and r.target.endswith(f"/{name}") for r in journal)


# ── get, set, list, remove ─────────────────────────────────────────────────────────────


def test_setfattr_and_getfattr_do_what_they_do_on_a_disk(directory: Path) -> None:
    image = directory / "image"
    image.write_bytes(b"x")

    run("setfattr", "-n", "user.origin", "-v", "https://host/a b", image)
    run("setfattr", "-n", "user.bytes", "-v", "0x00ff0a", image)
    run("setfattr", "-n", "user.My_Key", "-v", "", image)
    listed = run("getfattr", "--absolute-names", "-d", image)
    run("setfattr", "-x", "user.origin", image)

    lines = ['user.My_Key=""', "user.bytes=0sAP8K", 'user.origin="https://host/a b"']
    assert sorted(listed.splitlines()[1:4]) == lines
    assert sorted(os.listxattr(image)) == ["user.My_Key", "user.bytes"]
    with pytest.raises(OSError) as gone:
        os.getxattr(image, "user.origin")
    assert gone.value.errno == errno.ENODATA


def test_a_readable_value_is_readable_for_other_clients(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    image = directory / "image"
    image.write_bytes(b"x")

    os.setxattr(image, "user.xdg.origin.url", "https://host/größe".encode())
    settle(image)

    headers = client.head_object(container, "image")
    assert headers[f"{META}xattr-xdg-origin-url"] == "https://host/größe"


def test_create_and_replace_are_honoured(directory: Path) -> None:
    image = directory / "image"
    image.write_bytes(b"x")
    os.setxattr(image, "user.k", b"1", os.XATTR_CREATE)

    with pytest.raises(FileExistsError):
        os.setxattr(image, "user.k", b"2", os.XATTR_CREATE)
    with pytest.raises(OSError) as missing:
        os.setxattr(image, "user.other", b"2", os.XATTR_REPLACE)
    os.setxattr(image, "user.k", b"3", os.XATTR_REPLACE)

    assert missing.value.errno == errno.ENODATA
    assert attributes_of(image) == {"user.k": b"3"}


def test_facts_are_told_and_not_listed_set_or_removed(directory: Path) -> None:
    image = directory / "image"
    image.write_bytes(LARGE)
    image.write_bytes(LARGE)  # with O_TRUNC, which keeps what is stored with it

    def fact(name: str) -> str:
        return os.getxattr(image, f"user.swift.{name}").decode()

    assert os.listxattr(image) == []
    assert fact("manifest") == "slo"
    assert fact("last_modified").endswith(" GMT")
    assert fact("transaction_id").startswith("tx")
    assert fact("os_hash_algo") == "sha256"
    assert sum(row["size"] for row in json.loads(fact("segments"))) == len(LARGE)
    assert errno_of_setting(image, "user.swift.etag", b"x") == errno.EOPNOTSUPP
    assert errno_of_setting(image, "user.swift.unknown", b"x") == errno.EOPNOTSUPP
    assert errno_of_setting(image, "user.swift.meta.os-hash-value", b"x") == errno.EOPNOTSUPP


def test_a_directory_tells_what_swift_says_of_it(
    mount: Mounted, directory: Path, container: str, client: swiftclient.Connection
) -> None:
    client.put_object(container, "a//b", b"x")
    client.put_object(container, "a/c", b"xy")

    def fact(path: Path, name: str) -> str:
        return os.getxattr(path, f"user.swift.{name}").decode()

    assert fact(directory, "object_count") == "2"
    assert fact(directory, "bytes_used") == "3"
    assert fact(directory, "storage_policy")
    assert fact(directory, "hidden") == "0"
    assert fact(directory / "a", "hidden") == "1"
    assert fact(mount.path, "hidden").isdigit()


def test_foreign_namespaces_do_not_exist_and_do_not_fail_a_copy(
    directory: Path, tmp_path: Path
) -> None:
    source = tmp_path / "image"
    source.write_bytes(b"x")
    os.setxattr(source, "user.k", b"v")
    with contextlib.suppress(OSError):  # where the test may not, there is less to copy
        os.setxattr(source, "trusted.k", b"v")
        os.setxattr(source, "security.k", b"v")

    assert run_all("cp", "-a", source, directory / "copy") == ""

    assert attributes_of(directory / "copy") == {"user.k": b"v"}
    for name in ("trusted.k", "security.k"):
        assert errno_of_setting(directory / "copy", name, b"v") == errno.EOPNOTSUPP


# ── what Swift has as metadata, and as headers ─────────────────────────────────────────


def test_metadata_of_an_image_is_read_set_and_removed(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    image = directory / "image"
    client.put_object(
        container, "image", b"x", headers={f"{META}Foo-Bar": "1", f"{META}B": "2"}
    )
    assert attributes_of(image) == {"user.swift.meta.foo-bar": b"1", "user.swift.meta.b": b"2"}
    assert os.getxattr(image, "user.swift.meta.Foo_Bar") == b"1"

    os.setxattr(image, "user.swift.meta.Foo_Bar", "größe".encode())
    os.removexattr(image, "user.swift.meta.b")
    settle(image)

    headers = client.head_object(container, "image")
    metadata = {k: v for k, v in headers.items() if k.startswith(META)}
    assert metadata == {f"{META}foo-bar": "größe"}


def test_metadata_of_a_container_is_read_set_and_removed_and_secrets_stay_hidden(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    prefix = "x-container-meta-"
    secret = {f"{prefix}temp-url-key": "secret", f"{prefix}color": "red", f"{prefix}b": "1"}
    client.post_container(container, secret)

    os.setxattr(directory, "user.swift.meta.color", b"blue")
    os.removexattr(directory, "user.swift.meta.b")
    os.setxattr(directory, "user.k", b"\0")
    shown = attributes_of(directory)
    settle(directory)

    headers = client.head_container(container)
    assert shown == {"user.swift.meta.color": b"blue", "user.k": b"\0"}
    assert (headers[f"{prefix}color"], f"{prefix}b" in headers) == ("blue", False)
    assert headers[f"{prefix}temp-url-key"] == "secret"


def test_content_type_and_the_time_to_delete_at_are_set_and_kept(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    image = directory / "image"
    image.write_bytes(LARGE)
    os.setxattr(image, "user.swift.content_type", b"application/x-qemu-disk")
    os.setxattr(image, "user.swift.delete_at", LATER.encode())
    image.chmod(0o600)
    image.rename(directory / "renamed")
    image = directory / "renamed"
    with image.open("r+b") as file:
        file.write(b"edited")

    headers = client.head_object(container, "renamed")
    assert headers["content-type"] == "application/x-qemu-disk"
    assert headers["x-delete-at"] == LATER
    assert headers["x-static-large-object"] == "True"
    assert image.stat().st_mode & 0o777 == 0o600
    expected = {"user.swift.content_type", "user.swift.delete_at"}
    assert set(os.listxattr(image)) == expected
    os.removexattr(image, "user.swift.delete_at")
    settle(image)
    assert "x-delete-at" not in client.head_object(container, "renamed")


@pytest.mark.parametrize("value", [b"1", b"tomorrow", b"-5", b""])
def test_no_time_to_delete_at_is_refused(directory: Path, value: bytes) -> None:
    (directory / "image").write_bytes(b"x")

    assert errno_of_setting(directory / "image", "user.swift.delete_at", value) == errno.EINVAL


# ── what Swift cannot hold ─────────────────────────────────────────────────────────────


def test_what_swift_cannot_hold_is_refused_before_it_is_sent(
    swift: FaultySwift, directory: Path
) -> None:
    image = directory / "image"
    image.write_bytes(b"x")
    meta = "user.swift.meta.k"
    swift.control.clear()

    assert errno_of_setting(image, meta, b"x" * 257) == errno.E2BIG
    assert errno_of_setting(image, "user." + "n" * 130, b"x") == errno.E2BIG
    assert errno_of_setting(image, meta, b"a\nb") == errno.EINVAL
    assert errno_of_setting(image, meta, b" x") == errno.EINVAL
    assert errno_of_setting(image, meta, b"\xff") == errno.EINVAL
    assert errno_of_setting(image, "user.k", b"x" * 4000) == errno.ENOSPC

    settle(image)
    assert posts(swift, "image") == 0
    os.setxattr(image, "user.k", b"x" * 1200)  # in parts
    settle(image)
    assert os.getxattr(image, "user.k") == b"x" * 1200


def test_when_there_is_no_room_left_what_is_there_stays(directory: Path) -> None:
    image = directory / "image"
    image.write_bytes(b"x")
    with contextlib.suppress(OSError):
        for number in range(30):
            os.setxattr(image, f"user.k{number}", b"v")
    settle(image)

    kept = attributes_of(image)
    assert errno_of_setting(image, "user.more", b"v") == errno.ENOSPC
    assert 10 < len(kept) <= 15
    assert set(kept.values()) == {b"v"}
    image.chmod(0o600)
    image.write_bytes(LARGE)  # what the mount itself keeps has room
    assert attributes_of(image) == kept


# ── tools keep what they copy ──────────────────────────────────────────────────────────


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    for image, size in ((tree / "small", 1000), (tree / "sub" / "large", 300_000)):
        image.write_bytes(LARGE[:size])
        os.setxattr(image, "user.text", "größe".encode())
        os.setxattr(image, "user.Bin_1", bytes(range(256)))
        image.chmod(0o640)
        os.utime(image, ns=(0, 1_600_000_000_123_456_789))
    os.setxattr(tree / "sub", "user.dir", b"d")
    (tree / "sub").chmod(0o750)
    os.utime(tree / "sub", ns=(0, 1_500_000_000_000_000_000))
    return tree


def state_of(path: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for item in sorted(path.rglob("*")):
        stat = item.stat()
        facts = (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns, attributes_of(item))
        found[str(item.relative_to(path))] = facts
    return found


COPIES = {
    "cp": ["cp", "-a", "{0}/.", "{1}"],
    "rsync": ["rsync", "-aX", "{0}/", "{1}/"],
    "tar": ["sh", "-c", "tar --xattrs -C {0} -cf - . | tar --xattrs -C {1} -xf -"],
}


@pytest.mark.parametrize("tool", COPIES)
def test_a_round_trip_keeps_attributes_mode_owner_and_times(
    swift: FaultySwift, directory: Path, tree: Path, tmp_path: Path, tool: str
) -> None:
    there, back = directory / "there", tmp_path / "back"
    there.mkdir()
    back.mkdir()

    def copy(source: Path, target: Path) -> None:
        command = [part.format(source, target) for part in COPIES[tool]]
        assert run_all(*command) == ""

    copy(tree, there)
    assert state_of(there) == state_of(tree)
    for item in there.rglob("*"):
        settle(item)
    with mounted(tmp_path, swift.swift.environ()) as other:  # from Swift, not from memory
        seen = other.path / directory.name / "there"
        copy(seen, back)

    # A listing does not tell what a directory keeps: only who asks for that one gets it.
    assert files_of(back) == files_of(tree)
    assert os.getxattr(back / "sub", "user.dir") == b"d"


def files_of(path: Path) -> dict[str, object]:
    return {name: state for name, state in state_of(path).items() if (path / name).is_file()}


def test_rsync_run_twice_has_nothing_to_do(
    swift: FaultySwift, directory: Path, tree: Path
) -> None:
    run("rsync", "-aX", f"{tree}/", f"{directory}/")
    settle(directory / "small")
    settle(directory / "sub" / "large")
    settle(directory / "sub")
    settle(directory)
    swift.control.clear()

    out = run("rsync", "-aXi", "--delete", f"{tree}/", f"{directory}/")

    assert out == ""
    assert {r.method for r in swift.control.journal()} <= {"GET", "HEAD"}


def test_touch_chmod_and_chown_are_kept(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    image = directory / "image"
    client.put_object(container, "image", b"x", content_type="a/b", headers={f"{META}F": "1"})
    os.setxattr(image, "user.k", b"v")
    run("touch", "-d", "2020-01-02 03:04:05.123456789 UTC", image)
    run("chmod", "0604", image)
    run("chown", "12:34", image)
    settle(image)

    headers = client.head_object(container, "image")
    stat = image.stat()
    assert stat.st_mtime_ns == 1_577_934_245_123_456_789
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o604, 12, 34)
    assert headers[f"{META}mtime"] == "1577934245.123456789"
    assert (headers[f"{META}f"], headers["content-type"]) == ("1", "a/b")
    assert set(os.listxattr(image)) == {
        "user.k",
        "user.swift.meta.f",
        "user.swift.content_type",
    }


# ── how many requests, and when ────────────────────────────────────────────────────────


def test_attributes_set_while_an_image_is_written_travel_with_it(
    swift: FaultySwift, directory: Path, container: str, client: swiftclient.Connection
) -> None:
    with (directory / "image").open("wb") as file:
        file.write(b"x")
        os.setxattr(file.fileno(), "user.k", b"v")
        os.setxattr(file.fileno(), "user.swift.content_type", b"a/b")
        os.fchmod(file.fileno(), 0o600)
        os.fchown(file.fileno(), 1, 2)
        swift.control.clear()

    methods = [r.method for r in swift.control.journal() if r.target.endswith("/image")]
    headers = client.head_object(container, "image")
    assert methods == ["PUT"]
    assert (headers[f"{META}xattr-k"], headers[f"{META}mode"]) == ("v", "0600")
    assert headers["content-type"] == "a/b"


@pytest.mark.alone
def test_changes_after_a_close_are_one_post(
    swift: FaultySwift, container: str, tmp_path: Path, client: swiftclient.Connection
) -> None:
    with mounted(tmp_path, swift.swift.environ()) as running:
        change_by_name(swift, running.path / container / "image")
    headers = client.head_object(container, "image")
    assert (headers[f"{META}uid"], headers[f"{META}xattr-k"]) == ("1", "v")


def change_by_name(swift: FaultySwift, image: Path) -> None:
    image.write_bytes(b"x")
    swift.control.clear()

    image.chmod(0o600)
    os.chown(image, 1, 2)
    os.utime(image, ns=(0, 1_600_000_000_000_000_001))
    os.setxattr(image, "user.k", b"v")
    shown = (image.stat().st_mode & 0o777, image.stat().st_mtime_ns, attributes_of(image))
    wait_for(lambda: posts(swift, "image"))

    assert shown == (0o600, 1_600_000_000_000_000_001, {"user.k": b"v"})
    settle(image)
    assert posts(swift, "image") == 1


def test_a_change_that_fails_is_told_at_fsync_and_not_shown(
    swift: FaultySwift, mount: Mounted, directory: Path
) -> None:
    image = directory / "image"
    image.write_bytes(b"x")
    mode = image.stat().st_mode
    swift.control.clear()
    swift.control.inject(Fault(method="POST", target=f"/{directory.name}/image", status=403))

    image.chmod(0o600)
    with pytest.raises(PermissionError), image.open("rb") as file:
        os.fsync(file.fileno())
    swift.control.clear()

    assert image.stat().st_mode == mode
    assert f"metadata not stored image=/{directory.name}/image" in mount.log.read_text()
    settle(image)  # told once


def test_what_is_not_sent_yet_is_sent_at_unmount(
    swift: FaultySwift, container: str, tmp_path: Path, client: swiftclient.Connection
) -> None:
    with mounted(tmp_path, swift.swift.environ()) as running:
        image = running.path / container / "image"
        image.write_bytes(b"x")
        os.setxattr(image, "user.k", b"v")

    assert client.head_object(container, "image")[f"{META}xattr-k"] == "v"


def test_a_change_followed_by_an_edit_or_a_rename_is_in_the_result(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    image = directory / "image"
    image.write_bytes(LARGE)
    os.setxattr(image, "user.gone", b"0")

    with image.open("r+b") as file:
        os.removexattr(image, "user.gone")  # of what is open, and not written yet
        settle(image)
        os.setxattr(image, "user.before", b"1")
        file.write(b"edited")
    os.setxattr(image, "user.after", b"2")
    image.rename(directory / "renamed")

    headers = client.head_object(container, "renamed")
    assert (headers[f"{META}xattr-before"], headers[f"{META}xattr-after"]) == ("1", "2")
    assert f"{META}xattr-gone" not in headers


def test_a_dlo_stays_one_when_it_is_touched_and_renamed(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    name = f"dlo-{uuid.uuid4().hex[:6]}"
    client.put_object(container, f"seg/{name}/1", b"abc")
    client.put_object(
        container, name, b"", headers={"X-Object-Manifest": f"{container}/seg/{name}/"}
    )

    run("chmod", "600", directory / name)
    os.setxattr(directory / name, "user.k", b"v")
    (directory / name).rename(directory / "renamed")

    headers = client.head_object(container, "renamed")
    assert headers["x-object-manifest"] == f"{container}/seg/{name}/"
    assert (directory / "renamed").read_bytes() == b"abc"
    assert (headers[f"{META}mode"], headers[f"{META}xattr-k"]) == ("0600", "v")
