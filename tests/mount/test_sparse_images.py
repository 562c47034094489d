"""Zeros of an image: holes cost nothing, whoever made them."""

from __future__ import annotations

import contextlib
import json
import random
from typing import TYPE_CHECKING

import pytest

from tests.support.edited import DATA, SEGMENT, edit, objects, objects_after_edits, stored
from tests.support.mounts import Mounted, mounted, run

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

MIB = 1 << 20


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
    assert len(objects_after_edits(swift, f"{container}_segments")) == 5


def test_zeros_that_are_written_cost_nothing(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "zeros"

    run("dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=20", "status=none")

    assert file.stat().st_blocks == 0
    assert len(objects(swift, f"{container}_segments")) == 1
    assert stored(swift, container, "zeros") == bytes(20 << 20)


def test_an_image_of_one_object_takes_its_zeros_too(mount: Mounted, container: str) -> None:
    file = mount.path / container / "small"
    with file.open("wb") as writer:
        writer.truncate(3 * SEGMENT)
        writer.write(b"some")

    assert file.stat().st_blocks * 512 == 3 * SEGMENT


def test_what_becomes_one_object_again_takes_its_zeros_too(
    mount: Mounted, container: str
) -> None:
    file = mount.path / container / "shrunk"
    with file.open("wb") as writer:
        writer.truncate(100 * SEGMENT)
    assert file.stat().st_blocks == 0

    with file.open("wb") as writer:
        writer.truncate(SEGMENT)

    assert file.stat().st_blocks * 512 == SEGMENT


def write_pieces(file: Path, size: int, count: int) -> int:
    """Write `count` pieces of 4 KiB all over a new image; return their bytes."""
    data = random.Random(count).randbytes(4096)
    with file.open("wb") as writer:
        writer.truncate(size)
        for number in range(count):
            writer.seek(number * (size // count) + 5 * len(data))
            writer.write(data)
    return count * len(data)


def rows_of(client: Any, container: str, name: str) -> list[int]:
    """Return how long each row of a manifest is."""
    manifest = client.get_object(container, name, query_string="multipart-manifest=get")[1]
    lengths = []
    for row in json.loads(manifest):
        first, _, last = row.get("range", f"0-{row['bytes'] - 1}").partition("-")
        lengths.append(int(last) - int(first) + 1)
    return lengths


def test_a_few_small_pieces_of_data_are_all_that_is_stored(
    swift: FaultySwift, client: Any, container: str, tmp_path: Path
) -> None:
    with mounted(tmp_path, swift.swift.environ()) as running:
        file = running.path / container / "disk"
        data = write_pieces(file, 1 << 30, 20)

        assert file.stat().st_blocks * 512 <= 3 * data
        rows = client.get_container(f"{container}_segments")[1]
        zeros = [row["bytes"] for row in rows if row["name"].endswith("zeros")]
        assert sum(row["bytes"] for row in rows) - sum(zeros) <= 3 * data
        assert sum(zeros) <= 2 * MIB
        assert min(rows_of(client, container, "disk")) < MIB


def test_many_small_pieces_are_not_read_at_one_a_second_through_the_manifest(
    swift: FaultySwift, client: Any, container: str, tmp_path: Path
) -> None:
    with mounted(tmp_path, swift.swift.environ()) as running:
        file = running.path / container / "disk"
        write_pieces(file, 200 * MIB, 60)

    rows = rows_of(client, container, "disk")
    assert len([row for row in rows if row < MIB]) <= 13  # 10 at once, one a second of 64 MiB
    assert sum(rows) == 200 * MIB
    expected = tmp_path / "local"
    write_pieces(expected, 200 * MIB, 60)
    assert stored(swift, container, "disk") == expected.read_bytes()
