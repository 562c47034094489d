"""Images written through the kernel, looked at with Swift's own client."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, run
from tests.support.stored import content, names_in, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("size", [0, 1, 65_536, 262_143])
def test_a_small_image_is_one_object(
    swift: FaultySwift, mount: Mounted, container: str, tmp_path: Path, size: int
) -> None:
    local = tmp_path / "x"
    local.write_bytes(random.Random(size).randbytes(size))

    run("cp", local, mount.path / container / "x")

    assert content(swift, container, "x") == local.read_bytes()
    assert names_in(swift, container) == ["x"]


@pytest.mark.parametrize("size", [262_144, 327_680, 1_000_001])
def test_a_larger_image_is_an_slo_whose_segments_are_hidden(
    swift: FaultySwift, mount: Mounted, container: str, tmp_path: Path, size: int
) -> None:
    local = tmp_path / "x"
    local.write_bytes(random.Random(size).randbytes(size))

    run("cp", local, mount.path / container / "x")

    assert content(swift, container, "x") == local.read_bytes()
    file = mount.path / container / "x"
    assert file.read_bytes() == local.read_bytes()
    segments = json.loads(os.getxattr(file, "user.swift.segments"))
    assert [s["size"] for s in segments[:-1]] == [65_536] * (len(segments) - 1)
    assert len(names_in(swift, f"{container}_segments")) == len(segments) == -(-size // 65_536)
    assert f"{container}_segments" not in os.listdir(mount.path)


def test_removing_an_image_removes_its_segments(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "x"
    file.write_bytes(b"x" * 500_000)
    assert names_in(swift, f"{container}_segments")

    file.unlink()

    assert names_in(swift, container) == names_in(swift, f"{container}_segments") == []
    assert not file.exists()


def test_overwriting_a_large_image_removes_the_segments_of_the_old_one(
    swift: FaultySwift, mount: Mounted, container: str, tmp_path: Path
) -> None:
    file = mount.path / container / "x"
    file.write_bytes(b"x" * 500_000)
    before = names_in(swift, f"{container}_segments")
    local = tmp_path / "new"
    local.write_bytes(b"y" * 300_000)

    run("cp", local, file)

    assert content(swift, container, "x") == b"y" * 300_000
    wait_for(lambda: not set(before) & set(names_in(swift, f"{container}_segments")))
    assert len(names_in(swift, f"{container}_segments")) == 5


def test_until_close_everybody_sees_the_old_image(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "x"
    path.write_bytes(b"old")

    with path.open("wb") as file:
        file.write(b"n" * 1_000_000)
        file.flush()
        during = content(swift, container, "x")

    assert during == b"old"
    assert content(swift, container, "x") == b"n" * 1_000_000


def test_shell_redirections_follow_each_other(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "x"

    for number in range(20):
        script = (
            f"echo a > {path}; > {path}; test ! -s {path}; (echo {number}; echo b) > {path}"
        )
        run("bash", "-ec", script)

        assert path.read_text() == f"{number}\nb\n"
    assert content(swift, container, "x") == b"19\nb\n"


def test_emptying_an_image_is_stored(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "x"
    path.write_bytes(b"old")

    subprocess.run(f": > {path}", shell=True, check=True)
    os.listdir(mount.path / container)

    assert content(swift, container, "x") == b""


def test_an_error_of_the_upload_is_told_at_close_and_nothing_is_left(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    client = swift.connect()
    client.post_container(container, {"X-Container-Meta-Quota-Bytes": "10"})
    file = (mount.path / container / "x").open("wb", buffering=0)
    file.write(b"x" * 1000)

    with pytest.raises(OSError) as caught:
        file.close()

    assert caught.value.errno == errno.EDQUOT
    assert names_in(swift, container) == []
    client.close()


def test_an_image_that_could_not_be_stored_is_kept_by_the_journal(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    swift.control.inject(Fault(method="PUT", target="multipart-manifest=put", status=403))
    file = (mount.path / container / "x").open("wb", buffering=0)
    file.write(b"x" * 300_000)

    with pytest.raises(OSError) as caught:
        file.close()
    run("sync", "-f", mount.path)

    assert caught.value.errno == errno.EACCES
    for _ in range(50):
        if "its bytes are kept: swiftimgfs retry" in mount.log.read_text():
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert "its bytes are kept: swiftimgfs retry" in mount.log.read_text()
    assert len(names_in(swift, f"{container}_segments")) == 5
    assert not (mount.path / container / "x").exists()


def test_bytes_can_be_written_again_before_the_close(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    fd = os.open(mount.path / container / "x", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"0123456789")

    os.pwrite(fd, b"x", 3)
    os.close(fd)

    assert content(swift, container, "x") == b"012x456789"


def test_holes_of_a_sparse_copy_are_zeros(
    swift: FaultySwift, mount: Mounted, container: str, tmp_path: Path
) -> None:
    local = tmp_path / "sparse"
    with local.open("wb") as file:
        file.seek(900_000)
        file.write(b"data")
        file.truncate(2_000_000)

    run("cp", "--sparse=always", local, mount.path / container / "sparse")

    assert content(swift, container, "sparse") == local.read_bytes()


def test_what_is_written_can_be_read_before_it_is_stored(
    mount: Mounted, container: str
) -> None:
    data = random.Random(5).randbytes(400_000)

    with (mount.path / container / "x").open("w+b", buffering=0) as file:
        file.write(data)
        read = os.pread(file.fileno(), len(data), 0)

    assert read == data


def test_rsync_copies_once_and_then_nothing(
    swift: FaultySwift, mount: Mounted, container: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "small").write_bytes(b"small")
    (source / "deep" / "large").write_bytes(random.Random(3).randbytes(600_000))
    os.utime(source / "small", (1_400_000_000.5, 1_400_000_000.5))
    target = mount.path / container
    run("rsync", "-a", "--delete", f"{source}/", f"{target}/")

    second = run("rsync", "-a", "--delete", "--itemize-changes", f"{source}/", f"{target}/")

    assert (target / "deep" / "large").read_bytes() == (source / "deep" / "large").read_bytes()
    assert (target / "small").stat().st_mtime == 1_400_000_000.5
    assert [line for line in second.splitlines() if line.startswith(("<", ">"))] == []


def test_an_image_changed_by_another_host_meanwhile_is_not_overwritten(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "x"
    path.write_bytes(b"old")
    file = path.open("wb", buffering=0)
    file.write(b"ours")
    client = swift.connect()
    client.put_object(container, "x", b"theirs")

    with pytest.raises(OSError) as caught:
        file.close()

    assert caught.value.errno == errno.ESTALE
    assert content(swift, container, "x") == b"theirs"
    client.close()


def test_a_lost_answer_to_the_manifest_loses_nothing(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    data = random.Random(6).randbytes(300_000)
    swift.control.inject(Fault(method="PUT", target="multipart-manifest=put", lose_answer=True))

    (mount.path / container / "x").write_bytes(data)

    assert content(swift, container, "x") == data


def test_a_token_that_is_refused_meanwhile_is_renewed(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    swift.control.forget_tokens()

    (mount.path / container / "x").write_bytes(b"x" * 300_000)

    assert content(swift, container, "x") == b"x" * 300_000


def test_one_write_after_the_other_is_stored_however_fast(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "x"

    for number in range(30):
        path.write_bytes(f"{number}".encode())

    assert content(swift, container, "x") == b"29"


def test_who_empties_an_image_that_is_being_written_empties_it_for_all(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "x"
    with path.open("wb", buffering=0) as file:
        file.write(b"first")
        path.open("wb").close()
        file.write(b"second")

    assert path.read_bytes() == bytes(5) + b"second"
    assert content(swift, container, "x") == bytes(5) + b"second"


@pytest.mark.parametrize("size", [9, 3_000_000])
def test_who_reads_an_image_that_is_overwritten_gets_no_byte_of_another_version(
    mount: Mounted, container: str, tmp_path: Path, size: int
) -> None:
    path, local = mount.path / container / "x", tmp_path / "new"
    path.write_bytes(b"o" * size)
    local.write_bytes(b"n" * (size // 2))
    with path.open("rb", buffering=0) as file:
        os.pread(file.fileno(), 1, 0)
        run("cp", local, path)
        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), size, 0)
        while_open = path.read_bytes()

    assert caught.value.errno == errno.ESTALE
    assert while_open == path.read_bytes() == local.read_bytes()
