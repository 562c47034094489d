"""Images that others wrote, read through the kernel."""

from __future__ import annotations

import errno
import os
import random
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import attribute
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted, run
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

SWIFT_CLI = Path(sys.executable).parent / "swift"


def upload(swift: FaultySwift, container: str, file: Path, *arguments: str) -> None:
    """Upload with the swift CLI, under the file's own name."""
    who = ["-A", swift.swift.auth_url, "-U", swift.swift.user, "-K", swift.swift.key]
    name = ["--object-name", file.name]
    run(SWIFT_CLI, *who, "upload", container, file, *name, *arguments)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "image.raw"
    file.write_bytes(os.urandom(3_000_001))  # bytes that no cache has seen
    return file


@pytest.mark.parametrize(
    ("arguments", "manifest"),
    [((), None), (("-S", "500000"), "slo"), (("-S", "500000", "--use-dlo"), "dlo")],
    ids=["plain", "slo", "dlo"],
)
def test_what_the_swift_cli_uploads_is_read_byte_for_byte(
    swift: FaultySwift, mount: Mounted, container: str, image: Path, arguments, manifest
) -> None:
    upload(swift, container, image, *arguments)

    file = mount.path / container / image.name

    assert file.read_bytes() == image.read_bytes()
    assert file.stat().st_size == image.stat().st_size
    assert os.listdir(mount.path / container) == [image.name]
    if manifest:
        assert os.getxattr(file, "user.swift.manifest").decode() == manifest
        assert f"{container}_segments" not in os.listdir(mount.path)


def test_any_range_of_a_segmented_image_is_right(
    swift: FaultySwift, mount: Mounted, container: str, image: Path
) -> None:
    upload(swift, container, image, "-S", "70001")
    expected = image.read_bytes()
    chance = random.Random(2)

    with (mount.path / container / image.name).open("rb", buffering=0) as file:
        for _ in range(200):
            offset, size = chance.randrange(len(expected) + 10), chance.randrange(300_000)
            assert os.pread(file.fileno(), size, offset) == expected[offset : offset + size]


def test_the_mtime_that_the_swift_cli_stored_is_shown(
    swift: FaultySwift, mount: Mounted, container: str, image: Path
) -> None:
    os.utime(image, (1_500_000_000.25, 1_500_000_000.25))

    upload(swift, container, image)

    assert (mount.path / container / image.name).stat().st_mtime == 1_500_000_000.25


def test_a_connection_that_breaks_is_resumed_at_the_next_byte(
    swift: FaultySwift, mount: Mounted, container: str, image: Path
) -> None:
    upload(swift, container, image)
    swift.control.clear()
    swift.control.inject(Fault(method="GET", target=image.name, count=2, cut_after=100_000))

    data = (mount.path / container / image.name).read_bytes()

    assert data == image.read_bytes()
    harmed = [r for r in swift.control.journal() if r.method == "GET" and r.harmed]
    assert len(harmed) == 2


def test_names_are_looked_at_while_transfers_take_all_connections(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    client = swift.connect()
    for name in ("slow-1", "slow-2", "other"):
        client.put_object(container, name, name.encode())
    client.close()
    options = "connections=2,attr_timeout=0,list_timeout=0,timeout=60"

    with mounted(tmp_path, swift.swift.environ(), options) as running:
        root = running.path / container
        swift.control.inject(
            Fault(method="GET", target=f"{container}/slow", count=None, hold="before")
        )
        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(run, "cat", root / name) for name in ("slow-1", "slow-2")]
            try:
                wait_for(lambda: sum(r.held for r in swift.control.journal()) == len(readers))
                began = time.monotonic()
                assert (root / "other").stat().st_size == len("other")
                assert sorted(os.listdir(root)) == ["other", "slow-1", "slow-2"]
                assert time.monotonic() - began < 1.5  # then a GET is given up, and makes room
            finally:
                swift.control.clear()
            assert [reader.result() for reader in readers] == ["slow-1", "slow-2"]


def test_an_image_that_cannot_be_fetched_is_an_error_and_never_short(
    swift: FaultySwift, mount: Mounted, container: str, image: Path
) -> None:
    upload(swift, container, image)
    os.listdir(mount.path / container)
    swift.control.inject(Fault(method="GET", target=image.name, count=None, status=403))

    with pytest.raises(OSError) as caught:
        (mount.path / container / image.name).read_bytes()

    assert caught.value.errno in {errno.EACCES, errno.EIO}


def test_an_image_replaced_while_it_is_open_is_never_mixed(
    swift: FaultySwift, mount: Mounted, container: str, tmp_path: Path
) -> None:
    client = swift.connect()
    client.put_object(container, "x", b"a" * 6_000_000)
    with (mount.path / container / "x").open("rb", buffering=0) as file:
        first = os.pread(file.fileno(), 4096, 0)
        client.put_object(container, "x", b"b" * 6_000_000)

        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), 4096, 5_500_000)

    assert first == b"a" * 4096
    assert caught.value.errno == errno.ESTALE
    assert (mount.path / container / "x").read_bytes() == b"b" * 6_000_000
    client.close()


def test_opening_one_image_many_times_at_once_is_one_version(
    swift: FaultySwift, mount: Mounted, container: str, image: Path
) -> None:
    upload(swift, container, image, "-S", "500000")
    path = mount.path / container / image.name
    swift.control.inject(
        Fault(method="GET", target="multipart-manifest=get", count=8, delay=0.3)
    )

    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda _: path.read_bytes(), range(8)))

    assert read == [image.read_bytes()] * 8


def test_an_image_that_grew_elsewhere_is_not_filled_up_with_zeros(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    client = swift.connect()
    for number in range(3):
        client.put_object(container, f"s/{number}", bytes([65 + number]) * 1_000_000)
    header = {"X-Object-Manifest": f"{container}/s/"}
    client.put_object(container, "dlo", b"", headers=header)
    path = mount.path / container / "dlo"
    with path.open("rb", buffering=0) as file:
        os.pread(file.fileno(), 1, 0)
        client.put_object(container, "s/3", b"D" * 1_000_000)
        assert path.stat().st_size == 4_000_000

        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), 1_000_000, 2_500_000)

    assert caught.value.errno == errno.ESTALE
    assert path.read_bytes()[2_999_999:3_000_001] == b"CD"
    client.close()


def test_an_empty_dlo_and_an_empty_object_are_empty_files(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    client = swift.connect()
    client.put_object(container, "plain", b"")
    client.put_object(
        container, "dlo", b"", headers={"X-Object-Manifest": f"{container}/nothing-"}
    )

    assert (mount.path / container / "plain").read_bytes() == b""
    assert (mount.path / container / "dlo").read_bytes() == b""
    client.close()


def test_qemu_img_works_on_a_qcow2_in_the_mount(mount: Mounted, container: str, tmp_path: Path):
    raw, local, back = tmp_path / "disk.raw", tmp_path / "disk.qcow2", tmp_path / "back.raw"
    with raw.open("wb") as file:
        file.truncate(20 * 1024**2)
        for offset in (0, 5_000_000, 19_000_000):
            file.seek(offset)
            file.write(random.Random(offset).randbytes(700_000))
    run("qemu-img", "convert", "-O", "qcow2", raw, local)
    remote = mount.path / container / "disk.qcow2"

    run("cp", local, remote)

    assert remote.read_bytes() == local.read_bytes()
    assert "file format: qcow2" in run("qemu-img", "info", remote)
    assert "No errors" in run("qemu-img", "check", remote)
    assert "identical" in run("qemu-img", "compare", remote, raw)
    run("qemu-img", "convert", "-O", "raw", remote, back)
    assert back.read_bytes() == raw.read_bytes()


def test_an_image_says_when_and_how_far_it_was_verified(
    swift: FaultySwift, mount: Mounted, container: str, image: Path
) -> None:
    upload(swift, container, image)
    large = image.rename(image.with_name("large.raw"))
    upload(swift, container, large, "-S", "1000000")
    plain, segmented = (mount.path / container / name for name in ("image.raw", "large.raw"))
    assert attribute(plain, "user.swift.verified") is None
    assert attribute(segmented, "user.swift.verified") is None

    begin = datetime.now(UTC).replace(microsecond=0)
    with segmented.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for offset in range(0, 1_000_000, 50_000):
            os.pread(file.fileno(), 50_000, offset)
    partly = os.getxattr(segmented, "user.swift.verified").decode()
    plain.read_bytes()
    segmented.read_bytes()

    whole = os.getxattr(plain, "user.swift.verified").decode()
    all_of_it = os.getxattr(segmented, "user.swift.verified").decode()
    assert re.fullmatch(r"\S+Z segments [123]/4", partly)
    assert all_of_it.endswith("Z segments 4/4")
    assert whole.endswith("Z whole")
    for text in (partly, whole, all_of_it):
        assert begin <= datetime.fromisoformat(text.split()[0]) <= datetime.now(UTC)
