"""What testers found who had not seen the code; each was wrong once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.store.records import SEGMENT_CONTAINER_MARK
from tests.support.mounts import mounted, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.mounts import Mounted

pytestmark = pytest.mark.mount

LARGE = os.urandom(600_000)
OPTIONS = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT])
def test_who_only_looks_at_an_image_that_is_being_written_does_not_store_a_half(
    mount: Mounted, swift: FaultySwift, container: str, flags: int
) -> None:
    path = mount.path / container / "image"
    path.write_bytes(b"old")
    client = swift.connect()
    with path.open("wb") as image:
        image.write(b"n" * 100_000)
        image.flush()

        os.close(os.open(path, flags))

        assert client.get_object(container, "image")[1] == b"old"
        image.write(b"n" * 100_000)
    assert client.get_object(container, "image")[1] == b"n" * 200_000
    client.close()


def test_a_truncation_by_name_is_stored_though_only_a_reader_has_the_image_open(
    mount: Mounted, swift: FaultySwift, container: str
) -> None:
    path = mount.path / container / "image"
    path.touch()
    writer = os.open(path, os.O_WRONLY)
    reader = os.open(path, os.O_RDWR)
    os.write(writer, b"0123456789")
    os.close(writer)

    os.truncate(path, 4)
    os.close(reader)

    client = swift.connect()
    assert client.get_object(container, "image")[1] == b"0123"
    client.close()


def test_an_image_that_is_renamed_while_it_is_written_is_not_stored_by_halves(
    mount: Mounted, swift: FaultySwift, container: str
) -> None:
    path = mount.path / container / "image"
    path.write_bytes(b"old")
    client = swift.connect()
    with path.open("wb") as image:
        image.write(b"n" * 100_000)
        image.flush()

        path.rename(path.with_name("renamed"))

        assert client.get_object(container, "renamed")[1] == b"old"
        image.write(b"n" * 100_000)
    assert client.get_object(container, "renamed")[1] == b"n" * 200_000
    assert os.listdir(path.parent) == ["renamed"]
    client.close()


def test_a_large_image_that_another_host_made_small_is_read_as_it_is_now(
    mount: Mounted, swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    secret = b"TOP-SECRET=hunter2\n"
    path = mount.path / container / "image"
    path.write_bytes(LARGE)
    with mounted(tmp_path, swift.swift.environ(), f"{OPTIONS},attr_timeout=30") as other:
        seen = other.path / container / "image"
        assert seen.stat().st_size == len(LARGE)
        path.write_bytes(secret)

        assert seen.read_bytes() == secret

    assert b"hunter2" not in other.log.read_bytes()


def test_tar_restores_images_with_extended_attributes(
    mount: Mounted, container: str, tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(b"x" * 1000)
    os.setxattr(tmp_path / "image", "user.k", b"v")
    run("tar", "--xattrs", "-C", tmp_path, "-cf", tmp_path / "a.tar", "image")

    run("tar", "-C", mount.path / container, "-xf", tmp_path / "a.tar")
    os.mknod(mount.path / container / "made", stat.S_IFREG | 0o640)

    assert (mount.path / container / "image").read_bytes() == b"x" * 1000
    assert (mount.path / container / "made").stat().st_size == 0
    with pytest.raises(PermissionError):
        os.mkfifo(mount.path / container / "fifo")


def test_rsync_and_cp_into_the_root_succeed(
    mount: Mounted, container: str, tmp_path: Path
) -> None:
    (tmp_path / "from" / container).mkdir(parents=True)
    (tmp_path / "from" / container / "image").write_bytes(b"x")

    run("rsync", "-a", f"{tmp_path}/from/", f"{mount.path}/")
    run("cp", "-a", f"{tmp_path}/from/.", mount.path)
    os.utime(mount.path, (1, 1))

    assert (mount.path / container / "image").read_bytes() == b"x"


def test_segments_do_not_go_into_somebody_s_own_container(
    mount: Mounted, swift: FaultySwift, container: str
) -> None:
    client = swift.connect()
    client.put_container(f"{container}_segments", {"X-Container-Read": "private:*"})
    client.put_object(f"{container}_segments", "photo", b"mine")

    path = mount.path / container / "image"
    path.write_bytes(LARGE)

    assert [row["name"] for row in client.get_container(f"{container}_segments")[1]] == [
        "photo"
    ]
    assert os.listdir(path.parent) == ["image"]
    assert path.read_bytes() == LARGE
    path.unlink()
    assert client.get_container(container)[1] == []
    client.close()


def test_a_segment_container_gets_the_acls_that_were_set_behind_our_back(
    mount: Mounted, swift: FaultySwift, container: str
) -> None:
    client = swift.connect()
    (mount.path / container / "first").write_bytes(LARGE)
    client.post_container(container, {"X-Container-Read": "friends:*"})

    (mount.path / container / "second").write_bytes(LARGE)

    headers = client.head_container(f"{container}_segments")
    assert headers["x-container-read"] == "friends:*"
    assert SEGMENT_CONTAINER_MARK.lower() in headers
    client.close()


def test_a_directory_that_somebody_mounts_from_gives_us_no_modules(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    (tmp_path / "trio.py").write_text("import os; os.mkdir('ran')")
    (tmp_path / "mnt").mkdir()
    program = [
        os.path.join(os.path.dirname(sys.executable), "swiftimgfs"),
        "mount",
        "env:",
        "mnt",
    ]

    done = subprocess.run(
        [*program, "-o", f"log_file={tmp_path}/log"],
        cwd=tmp_path,
        env={**os.environ, **swift.swift.environ()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    try:
        assert done.returncode == 0, done
        assert not (tmp_path / "ran").exists()
    finally:
        run("fusermount3", "-u", tmp_path / "mnt")


def test_mounting_without_standard_streams_returns(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    (tmp_path / "mnt").mkdir()
    command = f"{sys.executable} -P -m swiftimgfs mount env: {tmp_path}/mnt"
    shell = f"{command} -o log_file={tmp_path}/log <&- >&- 2>&-"

    done = subprocess.run(
        ["sh", "-c", shell],
        env={**os.environ, **swift.swift.environ()},
        check=False,
        timeout=60,
    )
    try:
        assert done.returncode == 0
        assert container in os.listdir(tmp_path / "mnt")
    finally:
        run("fusermount3", "-u", tmp_path / "mnt")
