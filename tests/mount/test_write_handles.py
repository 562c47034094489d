"""Several handles on one image, as a local disk has them: every write is seen at once."""

from __future__ import annotations

import errno
import mmap
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.stored import content, orphans

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.mounts import Mounted

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
SEGMENT = 64 * 1024  # of the mount that all tests share
OLD = random.Random("old").randbytes(5 * SEGMENT + 123)


@pytest.fixture
def image(mount: Mounted, container: str) -> Path:
    """An image of several segments, stored."""
    path = mount.path / container / "image"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def descriptors() -> Iterator[list[int]]:
    """Descriptors that are closed in any case."""
    opened: list[int] = []
    yield opened
    for descriptor in opened:
        os.close(descriptor)


def test_two_appenders_lose_no_line_of_each_other(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "log"
    script = (
        "import os, sys\n"
        "for n in range(60):\n"
        "    d = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "    os.write(d, f'{sys.argv[2]} {n}\\n'.encode() * 20)\n"
        "    if n % 20: os.close(d)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]

    lines = path.read_text().splitlines()

    for name in "ab":
        mine = [line for line in lines if line.startswith(name)]
        assert mine == [f"{name} {n}" for n in range(60) for _ in range(20)]
    assert content(swift, container, "log") == path.read_bytes()


def test_what_one_handle_writes_another_one_reads_at_once(
    image: Path, descriptors: list[int]
) -> None:
    chance, expected = random.Random(3), bytearray(OLD)
    writer, buffered = os.open(image, os.O_WRONLY), os.open(image, os.O_RDONLY)
    direct = os.open(image, os.O_RDONLY | os.O_DIRECT)
    descriptors += [writer, buffered, direct]

    for _ in range(200):
        offset, size = chance.randrange(len(OLD) - 9_000), chance.randrange(1, 9_000)
        data = chance.randbytes(size)
        expected[offset : offset + size] = data
        os.pwrite(writer, data, offset)
        start = max(0, offset - 5_000)
        wanted = bytes(expected[start : start + 20_000])
        assert os.pread(buffered, 20_000, start) == wanted
        aligned = offset // 4096 * 4096
        assert os.pread(direct, 4096, aligned) == bytes(expected[aligned : aligned + 4096])


def test_a_mapping_and_a_handle_see_what_the_other_writes(
    swift: FaultySwift, container: str, image: Path, descriptors: list[int]
) -> None:
    expected = bytearray(OLD)
    mapped_by, handle = os.open(image, os.O_RDWR), os.open(image, os.O_RDWR)
    descriptors += [mapped_by, handle]
    with mmap.mmap(mapped_by, len(OLD)) as mapped:
        for n, offset in enumerate(range(1000, len(OLD) - 5000, 20_011)):
            by_map, by_handle = bytes([n + 1]) * 3000, bytes([n + 101]) * 1500
            mapped[offset : offset + 3000] = by_map
            mapped.flush()
            expected[offset : offset + 3000] = by_map
            assert os.pread(handle, 3000, offset) == by_map
            os.pwrite(handle, by_handle, offset + 700)
            expected[offset + 700 : offset + 2200] = by_handle
            assert mapped[offset : offset + 3000] == expected[offset : offset + 3000]
    os.fsync(handle)

    assert content(swift, container, "image") == bytes(expected)


def test_what_is_mapped_and_dirty_is_stored_with_the_last_close(
    swift: FaultySwift, container: str, image: Path
) -> None:
    descriptor = os.open(image, os.O_RDWR)
    mapped = mmap.mmap(descriptor, len(OLD))
    mapped[SEGMENT - 2 : SEGMENT + 2] = b"abcd"
    mapped.close()
    os.close(descriptor)

    found = content(swift, container, "image")

    assert found == OLD[: SEGMENT - 2] + b"abcd" + OLD[SEGMENT + 2 :]


def test_an_image_is_read_while_it_is_written(
    mount: Mounted, container: str, descriptors: list[int]
) -> None:
    path = mount.path / container / "image"
    data = random.Random(4).randbytes(3_000_000)
    descriptors.append(os.open(path, os.O_WRONLY | os.O_CREAT))
    script = (
        "import os, sys, time\n"
        "d, done = os.open(sys.argv[1], os.O_RDONLY), 0\n"
        "while done < 3_000_000:\n"
        "    data = os.pread(d, 100_000, done)\n"
        "    sys.stdout.buffer.write(data)\n"
        "    done += len(data)\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=-1)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(reader.communicate, timeout=60)
        for offset in range(0, len(data), 70_000):
            os.write(descriptors[0], data[offset : offset + 70_000])

        assert read.result()[0] == data


def test_an_image_is_unlinked_while_it_is_dirty(
    swift: FaultySwift, container: str, image: Path, descriptors: list[int]
) -> None:
    descriptor = os.open(image, os.O_RDWR)
    os.pwrite(descriptor, b"x" * SEGMENT * 2, SEGMENT // 2)
    image.unlink()
    os.pwrite(descriptor, b"y" * 10, 0)

    assert os.pread(descriptor, SEGMENT, 0) == b"y" * 10 + OLD[10 : SEGMENT // 2] + b"x" * (
        SEGMENT // 2
    )
    os.fsync(descriptor)
    os.close(descriptor)
    assert content(swift, container, "image") is None
    assert orphans(swift, container, ["image"]) == []


def test_a_new_image_of_the_same_name_is_not_touched_by_the_unlinked_one(
    swift: FaultySwift, container: str, image: Path
) -> None:
    descriptor = os.open(image, os.O_RDWR)
    os.pwrite(descriptor, b"old" * 1000, 0)
    image.unlink()
    image.write_bytes(b"new")
    os.pwrite(descriptor, b"older", 7)
    os.close(descriptor)

    assert content(swift, container, "image") == b"new" == image.read_bytes()
    assert orphans(swift, container, ["image"]) == []


def test_an_exclusive_create_is_for_one(mount: Mounted, container: str) -> None:
    path = mount.path / container / "image"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY

    def create(_: int) -> int:
        try:
            descriptor = os.open(path, flags)
        except OSError as failure:
            return failure.errno or 0
        os.write(descriptor, b"mine")
        os.close(descriptor)
        return 0

    with ThreadPoolExecutor(4) as pool:
        told = sorted(pool.map(create, range(4)))

    assert told == [0, errno.EEXIST, errno.EEXIST, errno.EEXIST]
    assert path.read_bytes() == b"mine"


def test_an_exclusive_create_of_what_another_host_made_meanwhile_fails(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "image"
    os.listdir(mount.path / container)
    client = swift.connect()
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    client.put_object(container, "image", b"theirs")
    client.close()
    os.write(descriptor, b"mine")

    with pytest.raises(OSError) as caught:
        os.close(descriptor)

    assert caught.value.errno in {errno.EEXIST, errno.ESTALE}
    assert content(swift, container, "image") == b"theirs"


def test_two_writers_of_one_image_share_it(
    swift: FaultySwift, container: str, image: Path
) -> None:
    first, second = os.open(image, os.O_RDWR), os.open(image, os.O_WRONLY)
    os.pwrite(first, b"first", 10)
    os.pwrite(second, b"second", 3 * SEGMENT)
    os.close(second)
    os.pwrite(first, b"third", len(OLD) + 100)
    assert os.pread(first, 6, 3 * SEGMENT) == b"second"
    os.close(first)

    expected = bytearray(OLD + bytes(100) + b"third")
    expected[10:15], expected[3 * SEGMENT : 3 * SEGMENT + 6] = b"first", b"second"
    assert content(swift, container, "image") == bytes(expected)
    assert orphans(swift, container, ["image"]) == []


def test_a_shell_that_edits_in_place_stores_one_segment_and_one_manifest(
    swift: FaultySwift, container: str, image: Path
) -> None:
    swift.control.clear()
    subprocess.run(
        ["dd", f"of={image}", "bs=1000", "seek=70", "conv=notrunc", "status=none"],
        input=b"z" * 1000,
        check=True,
    )

    puts = [
        request
        for request in swift.control.journal()
        if request.method == "PUT" and request.path.count("/") > 3
    ]
    assert content(swift, container, "image") == OLD[:70_000] + b"z" * 1000 + OLD[71_000:]
    assert [("multipart-manifest=put" in request.query) for request in puts] == [False, True]
    assert sum(request.bytes_received for request in puts[:1]) == SEGMENT


def test_a_sparse_image_costs_its_data(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "sparse"
    data = random.Random(8).randbytes(SEGMENT)
    swift.control.clear()
    with path.open("wb", buffering=0) as file:
        file.truncate(1000 * SEGMENT)
        os.pwrite(file.fileno(), data, 500 * SEGMENT)

    stored = sum(
        request.bytes_received
        for request in swift.control.journal()
        if request.method == "PUT" and "multipart-manifest" not in request.query
    )
    most = 2 * SEGMENT + MIB  # the data where segments are not aligned to it, and the zeros
    assert stored <= most
    assert path.stat().st_blocks * 512 <= most
    with path.open("rb") as file:
        assert os.pread(file.fileno(), SEGMENT + 20, 500 * SEGMENT - 10) == bytes(
            10
        ) + data + bytes(10)
    assert content(swift, container, "sparse") == bytes(500 * SEGMENT) + data + bytes(
        499 * SEGMENT
    )
    assert orphans(swift, container, ["sparse"]) == []
