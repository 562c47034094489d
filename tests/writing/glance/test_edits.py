"""Images that change: new segments, and whoever reads the version before reads on."""

from __future__ import annotations

import pytest

from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.store.records import Manifest
from tests.support.glance_writers import BODY, SEGMENT
from tests.support.writers import write_all


@pytest.fixture
async def image(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    committed = await writer.commit()
    await writer.close()
    world.swift.control.clear()
    return committed.image


async def test_an_edit_sends_one_segment_and_has_the_others_copied(image, world, edit):
    writer = await edit()
    await writer.write(2 * SEGMENT + 7, b"changed")
    assert world.stored() == BODY
    committed = await writer.commit()

    changed = BODY[: 2 * SEGMENT + 7] + b"changed" + BODY[2 * SEGMENT + 14 :]
    assert world.stored() == changed
    assert [r.bytes_received for r in world.requests("PUT")] == [SEGMENT, 0]
    assert len(world.requests("COPY")) == 6
    assert committed.image.info.manifest is Manifest.DLO
    assert sorted(committed.doomed.objects) == sorted(image.parts)
    await world.delete_replaced(committed)
    assert world.stored() == changed
    assert len(world.names()) == 8
    assert not [name for name in world.names() if name.startswith(f"{world.image_id}-")]


async def test_who_reads_the_version_before_reads_on(image, world, edit, fetcher):
    writer = await edit()
    await writer.write(0, b"X" * len(BODY))
    await writer.commit()

    before = await ImageReader(fetcher).read(image.layout, 0, image.layout.size)

    assert bytes(before) == BODY
    assert world.stored() == b"X" * len(BODY)


async def test_each_commit_has_segments_of_its_own(open_writer, world):
    writer = open_writer()
    data = b""
    for number in range(4):
        await writer.write(len(data), bytes([number]) * 5000)
        data += bytes([number]) * 5000
        committed = await writer.commit()
        assert world.stored() == data
        await world.delete_replaced(committed)
        assert world.stored() == data
    assert len(world.names()) == 1 + 5
    await writer.close()
    assert world.stored() == data


@pytest.mark.parametrize("size", [0, 1, 2 * SEGMENT, 2 * SEGMENT + 1, 9 * SEGMENT])
async def test_an_image_is_cut_and_made_longer(image, world, edit, size):
    writer = await edit()
    await writer.truncate(size)
    committed = await writer.commit()
    await world.delete_replaced(committed)

    assert world.stored() == BODY[:size].ljust(size, b"\0")
    assert len(world.names()) == 1 + -(-size // SEGMENT)


async def test_new_headers_alone_copy_nothing(image, world, edit):
    writer = await edit()
    writer.change_headers({"x-object-meta-mode": "0600"})
    committed = await writer.commit()

    assert committed.doomed.objects == []
    assert world.requests("COPY") == []
    assert len(world.requests("PUT")) == 1
    assert (await world.store.head_image(world.container, world.image_id)).metadata[
        "mode"
    ] == "0600"
    assert world.stored() == BODY


async def test_segments_of_other_sizes_are_laid_out_anew(world, edit):
    """Some begin in the middle of ours, and two in one of ours."""
    sizes = [1000, 1000, 7000, 500, 9000]
    data = b""
    for number, size in enumerate(sizes):
        piece = bytes([65 + number]) * size
        world.put(f"{world.image_id}-{number + 1:05d}", piece)
        data += piece
    header = f"{world.container}/{world.image_id}-"
    world.put(world.image_id, x_object_manifest=header)

    writer = await edit()
    await writer.write(5000, b"changed")
    await writer.write(18_000, b"changed")
    committed = await writer.commit()
    await world.delete_replaced(committed)

    changed = bytearray(data)
    changed[5000:5007] = changed[18_000:18_007] = b"changed"
    assert world.stored() == changed
    assert len(world.names()) == 1 + len(committed.image.parts)


async def test_of_a_plain_image_only_the_change_is_sent(world, edit):
    world.put(world.image_id, BODY)
    world.swift.control.clear()

    writer = await edit()
    await writer.write(3 * SEGMENT, b"changed")
    committed = await writer.commit()

    changed = bytearray(BODY)
    changed[3 * SEGMENT : 3 * SEGMENT + 7] = b"changed"
    assert world.stored() == changed
    assert sum(r.bytes_received for r in world.requests("PUT")) == SEGMENT
    assert committed.image.info.manifest is Manifest.DLO
    assert len(world.names()) == 1 + 3


async def test_a_small_plain_image_stays_one(world, edit):
    world.put(world.image_id, BODY[:3000])

    writer = await edit()
    await writer.write(1000, b"changed")
    await writer.commit()

    assert world.stored() == BODY[:1000] + b"changed" + BODY[1007:3000]
    assert world.names() == [world.image_id]
