"""A disk cache of real mounts: what it spares, who shares it, and what cannot spoil it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.mount_process import start_mount
from swiftimgfs.reading.block_files import VERIFIED, name_of
from swiftimgfs.reading.disk_cache import DISK_BLOCK, DiskCache
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

MIB = 1024**2
SEGMENT = 700_001
OPTIONS = "attr_timeout=0,list_timeout=0,timeout=10,segment_size=1M"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def mount_anew(swift: FaultySwift, tmp_path_factory, cache: Path):
    """Return a function that mounts, once more each time, with the same disk cache."""

    def go(options: str = ""):
        extra = ",".join(filter(None, [OPTIONS, f"cache_dir={cache}", options]))
        return mounted(tmp_path_factory.mktemp("cached"), swift.swift.environ(), extra)

    return go


@pytest.fixture
def image(swift: FaultySwift, container: str) -> bytes:
    """Make an SLO named `image`, of segments of random bytes."""
    data = os.urandom(4 * MIB + 4321)
    put_slo(swift, container, "image", data)
    return data


def put_slo(swift: FaultySwift, container: str, name: str, data: bytes, flaw: int = -1) -> None:
    """Store an SLO; with a flaw, that segment's bytes are others than its etag says."""
    client = swift.connect()
    rows = []
    for number, start in enumerate(range(0, len(data), SEGMENT)):
        segment = f".s/{name}/{number:03}"
        client.put_object(container, segment, data[start : start + SEGMENT])
        rows.append({"path": f"/{container}/{segment}"})
    query = "multipart-manifest=put"
    client.put_object(container, name, json.dumps(rows), query_string=query)
    client.close()


def gets_of_data(swift: FaultySwift) -> list[str]:
    """Return the GETs of objects' bytes since the journal was cleared."""
    return [
        f"{request.path} {request.range}"
        for request in swift.control.journal()
        if request.method == "GET"
        and request.range
        and "multipart-manifest" not in request.query
    ]


def blocks(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if "ledger" not in path.name]


def used(cache: Path) -> int:
    """Return what the files take of the disk, as near as anybody can tell while they change."""
    total = 0
    for entry in os.scandir(cache):
        try:
            total += -(-entry.stat().st_size // 4096) * 4096
        except FileNotFoundError:
            continue
    return total - 4096


def held_of(cache: Path, data: bytes) -> int:
    """Return how many blocks of an image's segments are there, verified."""
    held = DiskCache(cache, 1024 * MIB)
    count = 0
    for start in range(0, len(data), SEGMENT):
        segment = data[start : start + SEGMENT]
        etag = hashlib.md5(segment).hexdigest()
        numbers = range(-(-len(segment) // DISK_BLOCK))
        count += sum(held.has(etag, len(segment), n, VERIFIED) for n in numbers)
    held.close()
    return count


@pytest.mark.parametrize("verify", ["on", "off"])
def test_a_remount_reads_without_any_get_of_data(
    swift: FaultySwift, container: str, image: bytes, mount_anew, verify: str
) -> None:
    with mount_anew(f"verify={verify}") as first:
        assert (first.path / container / "image").read_bytes() == image

    with mount_anew(f"verify={verify}") as second:
        swift.control.clear()
        assert (second.path / container / "image").read_bytes() == image
        assert gets_of_data(swift) == []


def test_random_reads_are_found_again_too(
    swift: FaultySwift, container: str, image: bytes, mount_anew
) -> None:
    places = random.Random(1).sample(range(0, len(image) - 4096, 4096), 12)

    def read_all(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        for place in places:
            assert os.pread(descriptor, 4096, place) == image[place : place + 4096]
        os.close(descriptor)

    with mount_anew() as first:
        read_all(first.path / container / "image")
    with mount_anew() as second:
        swift.control.clear()
        read_all(second.path / container / "image")
        assert gets_of_data(swift) == []


def test_a_renamed_image_and_one_edited_elsewhere_keep_what_is_the_same(
    swift: FaultySwift, container: str, image: bytes, mount_anew
) -> None:
    with mount_anew() as first:
        assert (first.path / container / "image").read_bytes() == image
        (first.path / container / "image").rename(first.path / container / "renamed")

    edited = bytearray(image)
    edited[3 * SEGMENT : 3 * SEGMENT + 4] = b"edit"
    put_slo(swift, container, "edited", bytes(edited))
    with mount_anew() as second:
        swift.control.clear()
        assert (second.path / container / "renamed").read_bytes() == image
        assert gets_of_data(swift) == []

        assert (second.path / container / "edited").read_bytes() == edited
        assert {get.split()[0][-3:] for get in gets_of_data(swift)} == {"003"}


def test_two_mounts_share_a_directory_at_once(
    swift: FaultySwift, container: str, image: bytes, mount_anew, cache: Path
) -> None:
    """Their limit is so low that blocks come and go all the time."""
    other = os.urandom(3 * MIB)
    put_slo(swift, container, "other", other)
    expected = {"image": image, "other": other}
    limit = 4 * MIB
    options = f"cache_size={limit},memory_limit=8M"
    most = [0]

    def read(mount: Mounted, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(5):
            name = chance.choice(["image", "other"])
            data = expected[name]
            path = mount.path / container / name
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            start = chance.choice([0, 0, chance.randrange(len(data))])
            with os.fdopen(descriptor, "rb") as file:
                file.seek(start)
                assert file.read() == data[start:]
            most[0] = max(most[0], used(cache))

    with (
        mount_anew(options) as first,
        mount_anew(options) as second,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(read, (first, second, first, second), range(4)))

    assert limit // 2 < most[0] <= limit
    assert used(cache) <= limit


def test_the_limit_holds_while_a_larger_image_is_read_and_open(
    swift: FaultySwift, container: str, image: bytes, mount_anew, cache: Path
) -> None:
    limit, most = 2 * MIB, 0
    with (
        mount_anew(f"cache_size={limit}") as mount,
        (mount.path / container / "image").open("rb", buffering=0) as file,
    ):
        for start in range(0, len(image), SEGMENT):
            assert os.pread(file.fileno(), SEGMENT, start) == image[start : start + SEGMENT]
            most = max(most, used(cache))

    assert limit // 2 < used(cache) <= limit
    assert most <= limit


def test_damaged_cut_and_foreign_files_cost_a_get_and_nothing_else(
    swift: FaultySwift, container: str, image: bytes, mount_anew, cache: Path
) -> None:
    with mount_anew() as first:
        assert (first.path / container / "image").read_bytes() == image
    files = sorted(blocks(cache))
    content = bytearray(files[0].read_bytes())
    content[100] ^= 1
    files[0].write_bytes(content)
    os.truncate(files[1], 1000)
    files[2].unlink()
    files[2].mkdir()

    with mount_anew() as second:
        swift.control.clear()
        assert (second.path / container / "image").read_bytes() == image
        assert len(gets_of_data(swift)) == 3
    files[2].rmdir()


def test_a_segment_that_is_wrong_never_gets_to_the_disk(
    swift: FaultySwift, container: str, image: bytes, mount_anew, cache: Path
) -> None:
    target = r"/\.s/image/001$"
    swift.control.inject(Fault(method="GET", target=target, count=None, corrupt_at=12345))
    with mount_anew() as mount, (mount.path / container / "image").open("rb") as file:
        with pytest.raises(OSError) as caught:
            file.read()
        assert caught.value.errno == errno.EIO
    swift.control.clear()

    etag = hashlib.md5(image[SEGMENT : 2 * SEGMENT]).hexdigest()
    stems = {name_of(etag, SEGMENT, n).partition(".")[0] for n in range(6)}
    assert not stems & {path.name.partition(".")[0] for path in blocks(cache)}
    assert blocks(cache)
    with mount_anew() as again:
        assert (again.path / container / "image").read_bytes() == image


def test_a_mount_that_is_killed_leaves_a_cache_that_serves(
    swift: FaultySwift, container: str, image: bytes, mount_anew, cache: Path
) -> None:
    with mount_anew() as first:
        assert (first.path / container / "image").read_bytes() == image
        wait_for(lambda: held_of(cache, image) == len(blocks(cache)) > 0)
        first.process.kill()

    with mount_anew() as second:
        swift.control.clear()
        assert (second.path / container / "image").read_bytes() == image
        assert gets_of_data(swift) == []


def test_a_cache_that_goes_away_is_no_failure_of_the_reader(
    swift: FaultySwift, container: str, image: bytes, mount_anew, cache: Path
) -> None:
    with mount_anew() as mount:
        shutil.rmtree(cache)
        assert (mount.path / container / "image").read_bytes() == image
        wait_for(lambda: "disk cache fails" in mount.log.read_text())


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("mnt/cache", "is in the mount itself"),
        ("file", "cannot be used: not a directory"),
        ("open", "others can write in it"),
        ("open/cache", "/open, and so put another directory in its place"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_before_there_is_a_mount(
    swift: FaultySwift, tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "mnt").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    options = f"log_file={tmp_path / 'log'},cache_dir={tmp_path / place}"

    started = start_mount(
        ["env:", str(tmp_path / "mnt"), "-o", options],
        {**os.environ, **swift.swift.environ()},
        is_detached=True,
    )

    assert not started.is_serving
    assert reason in started.message
    assert started.process.wait(20) == 2
    assert not os.path.ismount(tmp_path / "mnt")
