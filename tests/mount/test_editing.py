"""Images edited in place through the kernel: what is uploaded, and what Swift has then."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.edited import (
    DATA,
    SEGMENT,
    edit,
    objects,
    objects_after_edits,
    segments_of,
    stored,
)
from tests.support.mounts import Mounted, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


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

    after = objects_after_edits(swift, f"{container}_segments")
    expected = DATA[:offset] + b"\xff" * size + DATA[offset + size :]
    assert stored(swift, container, "slo") == slo.read_bytes() == expected
    assert len(after) == len(before)
    assert len(set(after) - set(before)) == touched


def test_appending_keeps_the_segments_that_are_there(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    before = objects(swift, f"{container}_segments")

    run("bash", "-c", f"echo more >> {slo}")

    after = objects_after_edits(swift, f"{container}_segments")
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
    assert len(objects_after_edits(swift, f"{container}_segments")) == len(segments_of(slo))


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
    assert len(objects_after_edits(swift, f"{container}_segments")) == len(kept) + is_longer


def test_a_truncated_segment_is_named_by_range_and_not_uploaded_again(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    before = objects(swift, f"{container}_segments")

    os.truncate(slo, 5 * SEGMENT - 3)

    assert objects_after_edits(swift, f"{container}_segments") == before[:5]


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
    assert os.listdir(mount.path / container) == ["dlo"]  # also while what was replaced waits
    assert objects_after_edits(swift, container) == ["dlo", "dlo-00000", "dlo-00002"]
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
