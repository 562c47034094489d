"""Images edited in place through the kernel: what is uploaded, and what Swift has then."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import random
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

SEGMENT = 65_536
DATA = random.Random(1).randbytes(10 * SEGMENT + 1000)


def objects(swift: FaultySwift, container: str) -> list[str]:
    with contextlib.closing(swift.connect()) as client:
        names = [row["name"] for row in client.get_account()[1]]
        if container not in names:
            return []
        return [row["name"] for row in client.get_container(container)[1]]


def stored(swift: FaultySwift, container: str, name: str) -> bytes:
    with contextlib.closing(swift.connect()) as client:
        body: bytes = client.get_object(container, name)[1]
        return body


def segments_of(file: Path) -> list[dict[str, object]]:
    """Return the rows of a large image that are objects, and no holes."""
    found: list[dict[str, object]] = json.loads(os.getxattr(file, "user.swift.segments"))
    return [row for row in found if "name" in row]


def edit(file: Path, offset: int, data: bytes) -> None:
    fd = os.open(file, os.O_WRONLY)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


@pytest.fixture
def slo(mount: Mounted, container: str) -> Path:
    """Return an image of eleven segments."""
    file = mount.path / container / "slo"
    file.write_bytes(DATA)
    return file


@pytest.mark.parametrize(
    ("offset", "size", "touched"),
    [(0, 1, 1), (SEGMENT - 1, 2, 2), (3 * SEGMENT, SEGMENT, 1), (10 * SEGMENT + 999, 1, 1)],
)
def test_an_edit_uploads_only_the_segments_that_it_touches(
    swift: FaultySwift,
    slo: Path,
    container: str,
    offset: int,
    size: int,
    touched: int,
) -> None:
    before = objects(swift, f"{container}_segments")

    edit(slo, offset, b"\xff" * size)

    after = objects(swift, f"{container}_segments")
    expected = DATA[:offset] + b"\xff" * size + DATA[offset + size :]
    assert stored(swift, container, "slo") == slo.read_bytes() == expected
    assert len(after) == len(before)
    assert len(set(after) - set(before)) == touched


def test_appending_keeps_the_segments_that_are_there(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    before = objects(swift, f"{container}_segments")

    run("bash", "-c", f"echo more >> {slo}")

    after = objects(swift, f"{container}_segments")
    assert stored(swift, container, "slo") == DATA + b"more\n"
    assert len(set(before) & set(after)) == 10


def test_several_appenders_lose_no_line(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "log"
    lines = [f"{number}:{'x' * 50}\n" for number in range(200)]

    def append(mine: list[str]) -> None:
        fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for line in mine:
            os.write(fd, line.encode())
        os.close(fd)

    threads = [threading.Thread(target=append, args=(lines[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    written = stored(swift, container, "log").decode().splitlines(keepends=True)
    assert sorted(written) == sorted(lines)


def test_many_short_appends_do_not_make_many_segments(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    for number in range(30):
        run("bash", "-c", f"echo {number} >> {slo}")

    assert (
        stored(swift, container, "slo") == DATA + "".join(f"{n}\n" for n in range(30)).encode()
    )
    assert len(segments_of(slo)) <= 12
    assert len(objects(swift, f"{container}_segments")) == len(segments_of(slo))


@pytest.mark.parametrize(
    "size", [0, 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT - 3, 11 * SEGMENT, 30 * SEGMENT + 7]
)
def test_truncating_keeps_what_is_before_and_adds_zeros(
    swift: FaultySwift, slo: Path, container: str, size: int
) -> None:
    run("truncate", "-s", size, slo)

    assert stored(swift, container, "slo") == slo.read_bytes() == DATA[:size].ljust(size, b"\0")
    kept = {str(segment["name"]) for segment in segments_of(slo)} if size else set()
    is_longer = size > len(DATA)  # by zeros, which are one object more
    assert len(objects(swift, f"{container}_segments")) == len(kept) + is_longer


def test_a_truncated_segment_is_named_by_range_and_not_uploaded_again(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    before = objects(swift, f"{container}_segments")

    os.truncate(slo, 5 * SEGMENT - 3)

    assert objects(swift, f"{container}_segments") == before[:5]


@pytest.mark.parametrize("size", [10, 60_000])
def test_a_small_plain_image_is_put_again_as_a_whole(
    swift: FaultySwift, mount: Mounted, container: str, size: int
) -> None:
    file = mount.path / container / "plain"
    file.write_bytes(DATA[:size])

    edit(file, 5, b"edit")

    assert stored(swift, container, "plain") == DATA[:5] + b"edit" + DATA[9:size]
    assert objects(swift, container) == ["plain"]
    assert objects(swift, f"{container}_segments") == []


def test_a_large_plain_image_becomes_segments_of_which_only_the_touched_is_uploaded(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    with contextlib.closing(swift.connect()) as client:
        client.put_object(container, "plain", DATA)
    file = mount.path / container / "plain"

    edit(file, 4 * SEGMENT + 5, b"edit")

    at = 4 * SEGMENT + 5
    assert stored(swift, container, "plain") == DATA[:at] + b"edit" + DATA[at + 4 :]
    assert file.read_bytes() == DATA[:at] + b"edit" + DATA[at + 4 :]
    assert len(objects(swift, f"{container}_segments")) == 2  # the copy, and the new one
    assert sum(int(str(segment["size"])) for segment in segments_of(file)) == len(DATA)
    edit(file, 0, b"again")
    assert stored(swift, container, "plain")[:at] == b"again" + DATA[5:at]
    file.unlink()
    assert objects(swift, f"{container}_segments") == objects(swift, container) == []


def test_an_edited_dlo_is_an_slo_of_its_segments(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    with contextlib.closing(swift.connect()) as client:
        for number in range(3):
            part = DATA[number * SEGMENT : (number + 1) * SEGMENT]
            client.put_object(container, f"dlo-{number:05d}", part)
        headers = {"X-Object-Manifest": f"{container}/dlo-", "X-Object-Meta-Kept": "yes"}
        client.put_object(container, "dlo", b"", headers=headers)
    file = mount.path / container / "dlo"

    edit(file, SEGMENT + 1, b"edit")

    expected = DATA[: SEGMENT + 1] + b"edit" + DATA[SEGMENT + 5 : 3 * SEGMENT]
    assert stored(swift, container, "dlo") == file.read_bytes() == expected
    assert objects(swift, container) == ["dlo", "dlo-00000", "dlo-00002"]
    assert os.getxattr(file, "user.swift.manifest") == b"slo"
    with contextlib.closing(swift.connect()) as client:
        assert client.head_object(container, "dlo")["x-object-meta-kept"] == "yes"


def test_an_slo_of_parts_manifests_and_data_is_edited_without_losing_any(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    with contextlib.closing(swift.connect()) as client:
        for name, data in (
            ("s1", DATA[:1000]),
            ("s2", DATA[1000:3000]),
            ("s3", DATA[3000:9000]),
        ):
            client.put_object(f"{container}", name, data)
        inner = [{"path": f"/{container}/s2", "range": "10-1009"}, {"path": f"/{container}/s1"}]
        query = "multipart-manifest=put"
        client.put_object(container, "inner", json.dumps(inner), query_string=query)
        outer = [
            {"path": f"/{container}/s1", "range": "100-"},
            {"path": f"/{container}/inner", "range": "500-1499"},
            {"data": "aGVsbG8="},
            {"path": f"/{container}/s3"},
        ]
        client.put_object(container, "outer", json.dumps(outer), query_string=query)
        before: bytes = client.get_object(container, "outer")[1]
    file = mount.path / container / "outer"
    assert file.read_bytes() == before

    edit(file, len(before) - 10, b"edit")

    expected = before[:-10] + b"edit" + before[-6:]
    assert stored(swift, container, "outer") == file.read_bytes() == expected


def test_readers_see_at_once_what_a_writer_beside_them_writes(slo: Path) -> None:
    with slo.open("rb", buffering=0) as reader:
        os.pread(reader.fileno(), 100, 0)
        fd = os.open(slo, os.O_WRONLY)
        for number in range(20):
            os.pwrite(fd, bytes([number]) * 10, 5)
            assert os.pread(reader.fileno(), 20, 0) == (
                DATA[:5] + bytes([number]) * 10 + DATA[15:20]
            )
        os.close(fd)
        assert os.pread(reader.fileno(), 20, 0)[5:15] == bytes([19]) * 10


def test_a_mapping_that_is_written_is_stored(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    with slo.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[100:104] = b"mmap"
        mapping[7 * SEGMENT : 7 * SEGMENT + 4] = b"mmap"
        mapping.flush()

    stored_now = stored(swift, container, "slo")
    assert stored_now[100:104] == stored_now[7 * SEGMENT : 7 * SEGMENT + 4] == b"mmap"
    assert len(stored_now) == len(DATA)


def test_an_image_that_is_unlinked_while_it_is_written_can_still_be_read_and_is_gone_then(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    fd = os.open(slo, os.O_RDWR)
    os.pwrite(fd, b"edit", 10)
    slo.unlink()
    os.pwrite(fd, b"more", 5 * SEGMENT)

    read = os.pread(fd, len(DATA), 0)
    os.close(fd)

    expected = bytearray(DATA)
    expected[10:14], expected[5 * SEGMENT : 5 * SEGMENT + 4] = b"edit", b"more"
    assert read == bytes(expected)
    assert objects(swift, container) == []
    for _ in range(50):
        if not objects(swift, f"{container}_segments"):
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert objects(swift, f"{container}_segments") == []


def test_a_new_image_is_exclusive_if_that_is_asked_for(slo: Path) -> None:
    with pytest.raises(OSError) as caught:
        os.close(os.open(slo, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    assert caught.value.errno == errno.EEXIST


def test_what_an_edit_does_not_touch_keeps_its_attributes(
    slo: Path,
) -> None:
    os.chmod(slo, 0o640)
    os.utime(slo, (1e9, 1e9))

    edit(slo, 5, b"edit")

    assert slo.stat().st_mode & 0o777 == 0o640
    assert slo.stat().st_mtime > 1.7e9


def test_a_time_that_is_set_after_the_last_write_is_kept(slo: Path) -> None:
    fd = os.open(slo, os.O_WRONLY)
    os.pwrite(fd, b"edit", 5)
    os.utime(fd, (1e9, 1e9))
    os.close(fd)

    assert slo.stat().st_mtime == 1e9


# ── zeros ──────────────────────────────────────────────────────────────────────────────


def test_a_huge_empty_image_costs_one_segment_and_is_read_as_zeros(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "huge"

    run("truncate", "-s", "3G", file)

    assert file.stat().st_size == 3 << 30
    assert file.stat().st_blocks == 0
    assert len(objects(swift, f"{container}_segments")) == 1
    with file.open("rb") as reader:
        reader.seek(2 << 30)
        assert reader.read(1 << 20) == bytes(1 << 20)
    with contextlib.closing(swift.connect()) as client:
        part = client.get_object(
            container, "huge", headers={"Range": "bytes=2147483648-2147483747"}
        )
        assert part[1] == bytes(100)


def test_data_in_a_sparse_image_is_all_that_is_uploaded(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "sparse"
    with file.open("wb") as writer:
        writer.truncate(1 << 30)
        for offset in (0, 100 << 20, (1 << 30) - SEGMENT):
            writer.seek(offset)
            writer.write(DATA[:SEGMENT])

    assert file.stat().st_blocks * 512 == 3 * SEGMENT
    assert len(objects(swift, f"{container}_segments")) == 4
    edit(file, 500 << 20, DATA[:SEGMENT])
    assert file.stat().st_blocks * 512 == 4 * SEGMENT
    with file.open("rb") as reader:
        for offset in (0, 100 << 20, 500 << 20, (1 << 30) - SEGMENT):
            reader.seek(offset)
            assert reader.read(SEGMENT) == DATA[:SEGMENT]
            assert reader.read(SEGMENT).strip(b"\0") == b""
    assert len(objects(swift, f"{container}_segments")) == 5


def test_zeros_that_are_written_cost_nothing(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "zeros"

    run("dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=20", "status=none")

    assert file.stat().st_blocks == 0
    assert len(objects(swift, f"{container}_segments")) == 1
    assert stored(swift, container, "zeros") == bytes(20 << 20)


# ── tools ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a sparse raw image with some data, as qemu-img has it."""
    file = tmp_path / "raw"
    with file.open("wb") as writer:
        for offset in (0, 3_000_000, 5_000_000):
            writer.seek(offset)
            writer.write(random.Random(offset).randbytes(500_000))
        writer.truncate(16 << 20)
    return file


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_qemu_img_converts_into_the_mount(
    mount: Mounted, container: str, raw: Path, kind: str
) -> None:
    target = mount.path / container / f"image.{kind}"

    run("qemu-img", "convert", "-f", "raw", "-O", kind, raw, target)

    run("qemu-img", "compare", "-f", "raw", "-F", kind, raw, target)


def test_qemu_io_writes_into_an_image_of_the_mount(
    mount: Mounted, container: str, raw: Path, tmp_path: Path
) -> None:
    target, local = mount.path / container / "image.qcow2", tmp_path / "local.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, local)
    run("cp", local, target)
    steps = ["-c", "write -P 7 1M 300k", "-c", "write -z 3M 200k", "-c", "write -P 9 15M 64k"]

    for file in (local, target):
        run("qemu-io", "-f", "qcow2", *steps, file)

    run("qemu-img", "compare", local, target)
    run("qemu-img", "check", target)


def test_dd_without_truncating_changes_a_part(slo: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"p" * 3000)

    run("dd", f"if={part}", f"of={slo}", "bs=1000", "seek=50", "conv=notrunc", "status=none")

    assert slo.read_bytes() == DATA[:50_000] + b"p" * 3000 + DATA[53_000:]


def test_rsync_in_place_changes_a_part(slo: Path, tmp_path: Path) -> None:
    source = tmp_path / "slo"
    changed = bytearray(DATA)
    changed[200_000:200_100] = b"c" * 100
    source.write_bytes(changed)

    run("rsync", "-aI", "--inplace", "--no-whole-file", source, slo)

    assert slo.read_bytes() == bytes(changed)


def test_a_mapping_that_outlives_its_descriptor_is_stored(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    script = (
        "import mmap, os, sys;"
        "fd = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd);"
        "m[70000:70004] = b'late'"
    )
    run("python3", "-c", script, slo)

    for _ in range(50):
        if stored(swift, container, "slo")[70000:70004] == b"late":
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert stored(swift, container, "slo")[70000:70004] == b"late"


@pytest.mark.parametrize("size", [10, 300_000])
def test_an_image_renamed_over_another_before_it_is_stored_replaces_it_when_it_is(
    swift: FaultySwift, mount: Mounted, container: str, size: int
) -> None:
    target, temporary = mount.path / container / "x", mount.path / container / "x.tmp"
    target.write_bytes(DATA[:size])
    with temporary.open("wb", buffering=0) as file:
        file.write(b"new" * size)
        temporary.rename(target)
        during = stored(swift, container, "x")

    assert during == DATA[:size]
    assert stored(swift, container, "x") == target.read_bytes() == b"new" * size
    assert objects(swift, container) == ["x"]
    in_use = {str(s["name"]) for s in segments_of(target)} if size > 10 else set()
    assert len(objects(swift, f"{container}_segments")) == len(in_use)


def test_a_plain_image_that_is_unlinked_while_it_is_edited_can_still_be_read(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "x"
    file.write_bytes(DATA[:50_000])
    fd = os.open(file, os.O_RDWR)
    os.pwrite(fd, b"edit", 5)
    file.unlink()

    read = os.pread(fd, 50_000, 0)
    os.close(fd)

    assert read == DATA[:5] + b"edit" + DATA[9:50_000]
    for _ in range(50):
        if not objects(swift, container):
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert objects(swift, container) == []
