"""How many requests changes by name cost, and when they are sent."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import LARGE, META, attributes_of, posts, settle
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted, run
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


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
    told = f"metadata not stored image={directory.name}/image reason=POST: 403 "
    assert told in mount.log.read_text()
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
