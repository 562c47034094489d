"""Symbolic links through the kernel: ours, and symlinks that others made in Swift."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.attributes import settle
from tests.support.mounts import Mounted, mounted, run
from tests.support.stored import content, names_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

LARGE = os.urandom(300_000)
TARGETS = {"theirs": "image", "dangling": "missing"}
OF_THE_ANSWER = {"date", "x-trans-id", "x-openstack-request-id"}


def put_link(client: Any, container: str, name: str, target: str, account: str = "") -> None:
    headers = {"X-Symlink-Target": target}
    headers |= {"X-Symlink-Target-Account": account} if account else {}
    client.put_object(container, name, b"", headers=headers)


def headers_of(client: Any, container: str, name: str) -> dict[str, str]:
    """Return what is stored with an object, of a link with the link itself."""
    headers = client.head_object(container, name, query_string="symlink=get")
    return {key: value for key, value in headers.items() if key not in OF_THE_ANSWER}


@pytest.mark.parametrize("text", ["image", "./image", "../{container}/image", "{path}"])
def test_ln_makes_a_symlink_of_swifts(
    client: Any, container: str, directory: Path, text: str
) -> None:
    (directory / "image").write_bytes(b"bytes")
    written = text.format(container=container, path=directory / "image")

    run("ln", "-s", written, directory / "link")

    head = client.head_object(container, "link", query_string="symlink=get")
    assert head["x-symlink-target"] == f"{container}/image"
    assert client.get_object(container, "link")[1] == b"bytes"
    assert run("readlink", directory / "link") == f"{written}\n"
    assert (directory / "link").read_bytes() == b"bytes"
    assert (directory / "link").lstat().st_size == len(written)
    assert sorted(os.listdir(directory)) == ["image", "link"]
    assert run("find", directory, "-type", "l") == f"{directory}/link\n"


@pytest.mark.parametrize("text", ["missing", "d", "/etc/passwd", "../../../etc/passwd", "link"])
def test_a_link_to_what_is_no_image_of_the_store_is_refused(directory: Path, text: str) -> None:
    (directory / "d").mkdir()

    with pytest.raises(PermissionError):
        os.symlink(text, directory / "link")  # any text

    assert os.listdir(directory) == ["d"]


def test_a_link_over_a_name_that_is_taken_is_refused(directory: Path) -> None:
    (directory / "image").write_bytes(b"bytes")
    (directory / "taken").write_bytes(b"taken")

    with pytest.raises(FileExistsError):
        (directory / "taken").symlink_to("image")

    assert (directory / "taken").read_bytes() == b"taken"


def test_symlinks_that_others_made_are_links(
    swift: FaultySwift, client: Any, container: str, other: str, directory: Path
) -> None:
    client.put_object(other, "a/b", b"bytes")
    put_link(client, container, "d/far", f"{other}/a/b")
    put_link(client, container, "dangling", f"{container}/missing")
    put_link(client, container, "foreign", "there/image", "AUTH_elsewhere")

    texts = {name: os.readlink(directory / name) for name in ("d/far", "dangling", "foreign")}

    assert texts == {
        "d/far": f"../../{other}/a/b",
        "dangling": "missing",
        "foreign": "/v1/AUTH_elsewhere/there/image",
    }
    assert (directory / "d" / "far").read_bytes() == b"bytes"
    for name in ("dangling", "foreign"):
        assert stat.S_ISLNK((directory / name).lstat().st_mode)
        assert not (directory / name).exists()
        (directory / name).unlink()
    (directory / "d" / "far").write_bytes(b"written through the link")
    assert content(swift, other, "a/b") == b"written through the link"
    assert names_in(swift, container) == ["d/far"]


def test_removing_a_link_removes_nothing_else(
    swift: FaultySwift, container: str, directory: Path
) -> None:
    (directory / "image").write_bytes(LARGE)
    run("ln", "-s", "image", directory / "link")

    run("rm", directory / "link")

    assert names_in(swift, container) == ["image"]
    assert (directory / "image").read_bytes() == LARGE


def test_a_link_is_moved_and_replaced_as_a_link(
    swift: FaultySwift, container: str, other: str, directory: Path, mount: Mounted
) -> None:
    (directory / "image").write_bytes(LARGE)
    (directory / "second").write_bytes(b"second")
    run("ln", "-s", "image", directory / "link")

    run("mv", directory / "link", mount.path / other / "link")

    moved = mount.path / other / "link"
    assert os.readlink(moved) == f"../{container}/image"
    assert moved.read_bytes() == LARGE
    run("mv", directory / "second", moved)
    assert not moved.is_symlink()
    assert moved.read_bytes() == b"second"
    assert (directory / "image").read_bytes() == LARGE
    assert names_in(swift, container) == ["image"]


def test_links_are_copied_by_cp_and_rsync(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "image").write_bytes(b"bytes")
    (tmp_path / "t" / "link").symlink_to("./image")
    os.utime(tmp_path / "t" / "link", (1e9, 1e9), follow_symlinks=False)

    run("cp", "-a", tmp_path / "t", directory)
    again = run("rsync", "-aiO", tmp_path / "t", directory)
    run("cp", "-a", directory / "t", tmp_path / "back")

    assert again == ""
    for copy in (directory / "t", tmp_path / "back"):
        assert os.readlink(copy / "link") == "./image"
        assert (copy / "link").lstat().st_mtime == 1e9
        assert (copy / "link").read_bytes() == b"bytes"


@pytest.mark.parametrize("kind", ["ours", "theirs", "static", "dangling"])
def test_what_is_changed_of_a_link_changes_neither_where_it_leads_nor_what_is_there(
    client: Any, container: str, directory: Path, kind: str
) -> None:
    (directory / "image").write_bytes(b"bytes")
    before = headers_of(client, container, "image")
    match kind:
        case "ours":
            run("ln", "-s", "./image", directory / "link")
        case "static":
            headers = {
                "X-Symlink-Target": f"{container}/image",
                "X-Symlink-Target-Etag": before["etag"],
            }
            client.put_object(container, "link", b"", headers=headers)
        case _:
            put_link(client, container, "link", f"{container}/{TARGETS[kind]}")
    link = headers_of(client, container, "link")
    text = os.readlink(directory / "link")

    run("touch", "-h", "-d", "@1000000000", directory / "link")
    os.lchown(directory / "link", -1, 12345)
    with pytest.raises(PermissionError):  # of Linux itself: a link has none of user.*
        os.setxattr(directory / "link", "user.k", b"v", follow_symlinks=False)
    settle(directory)
    run("mv", directory / "link", directory / "moved")

    moved = headers_of(client, container, "moved")
    of_links = {key: value for key, value in link.items() if key.startswith("x-symlink")}
    assert {key: moved.get(key) for key in of_links} == of_links
    assert headers_of(client, container, "image") == before
    status = (directory / "moved").lstat()
    assert (status.st_mtime, status.st_gid) == (1_000_000_000, 12345)
    assert os.readlink(directory / "moved") == text


def test_what_is_changed_through_a_link_is_changed_of_the_image(
    client: Any, container: str, directory: Path
) -> None:
    (directory / "image").write_bytes(b"bytes")
    run("ln", "-s", "image", directory / "link")
    before = headers_of(client, container, "link")

    (directory / "link").chmod(0o640)
    run("touch", "-d", "@1000000000", directory / "link")
    run("setfattr", "-n", "user.k", "-v", "v", directory / "link")
    settle(directory / "image")

    headers = client.head_object(container, "image")
    assert headers["x-object-meta-mode"] == "0640"
    assert headers["x-object-meta-xattr-k"] == "v"
    assert (directory / "image").stat().st_mtime == 1_000_000_000
    assert headers_of(client, container, "link") == before


def test_a_link_to_one_version_of_a_large_image_is_a_link_in_listings_too(
    client: Any, container: str, directory: Path
) -> None:
    (directory / "image").write_bytes(LARGE)
    manifest = client.get_object(container, "image", query_string="multipart-manifest=get")[0]
    headers = {
        "X-Symlink-Target": f"{container}/image",
        "X-Symlink-Target-Etag": manifest["etag"],
    }
    client.put_object(container, "link", b"", headers=headers)

    with os.scandir(directory) as entries:
        kinds = {entry.name: entry.is_symlink() for entry in entries}

    assert kinds == {"image": False, "link": True}
    assert os.readlink(directory / "link") == "image"
    assert (directory / "link").read_bytes() == LARGE


def test_a_link_that_leads_out_of_what_is_mounted_leads_nowhere(
    swift: FaultySwift, client: Any, container: str, other: str, tmp_path: Path
) -> None:
    client.put_object(container, "d/image", b"bytes")
    put_link(client, container, "d/inside", f"{container}/d/image")
    put_link(client, container, "d/outside", f"{other}/passwd")
    source = f"env::{container}/d"
    with mounted(tmp_path, swift.swift.environ(), "timeout=10", source) as mount:
        account = swift.swift.storage_url.rpartition("/")[2]
        assert os.readlink(mount.path / "inside") == "image"
        outside = os.readlink(mount.path / "outside")
        assert outside == f"/v1/{account}/{other}/passwd"
        run("ln", "-s", mount.path / "image", mount.path / "made")
        assert (mount.path / "made").read_bytes() == b"bytes"


def test_a_name_that_another_host_made_a_link_is_one_at_the_next_look(
    client: Any, container: str, directory: Path
) -> None:
    (directory / "x").write_bytes(b"image")
    (directory / "y").write_bytes(b"target")
    put_link(client, container, "x", f"{container}/y")

    assert (directory / "x").read_bytes() == b"target"
    with pytest.raises(OSError) as caught:
        os.open(directory / "x", os.O_RDONLY | os.O_NOFOLLOW)
    assert caught.value.errno == errno.ELOOP
