"""Zeros of an image: holes cost nothing, whoever made them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.support.edited import DATA, SEGMENT, edit, objects, objects_after_edits, stored
from tests.support.mounts import Mounted, run

if TYPE_CHECKING:
    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


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
