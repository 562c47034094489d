"""Extended attributes: got, set, listed and removed, and what Swift cannot hold."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import LARGE, META, attributes_of, errno_of_setting, posts, settle
from tests.support.mounts import Mounted, run, run_all

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount
LATER = str(2**32)


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
