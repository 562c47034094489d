"""New images: DLOs and objects as the driver stores them, and nothing else is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from swiftimgfs import errors
from swiftimgfs.store.records import Manifest
from tests.support.glance_writers import BODY, OPTIONS, SEGMENT, segments_of
from tests.support.writers import write_all


async def test_a_large_image_is_a_dlo(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    committed = await writer.commit()

    assert world.stored() == BODY
    assert world.names() == [world.image_id, *segments_of(world.image_id, 7)]
    info = await world.store.head_image(world.container, world.image_id)
    assert committed.image.info.dlo == info.dlo == (world.container, f"{world.image_id}-")
    assert (committed.image.info.manifest, info.size) == (Manifest.DLO, len(BODY))
    assert committed.image.info.etag == info.etag
    assert committed.doomed.objects == []
    await writer.close()
    assert world.stored() == BODY


async def test_nothing_is_sent_that_the_driver_does_not_send(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    await writer.commit()

    claim, *puts = world.requests("PUT")
    assert (claim.path.rpartition("/")[2], claim.bytes_received) == (
        f"{world.image_id}-00001",
        0,
    )
    assert len(puts) == 8
    for put in puts:
        assert "content-type" not in put.headers
        assert not [name for name in put.headers if name.startswith("x-object-meta-")]
    sizes = sorted(put.bytes_received for put in puts if "etag" in put.headers)
    assert sizes == [len(BODY) % SEGMENT] + [SEGMENT] * 6
    assert "x-object-manifest" in puts[-1].headers


@pytest.mark.parametrize("size", [1, SEGMENT, 2 * SEGMENT - 1])
async def test_an_image_below_the_threshold_is_one_object(open_writer, world, size):
    writer = open_writer()
    await write_all(writer, BODY[:size])
    await writer.commit()

    assert world.stored() == BODY[:size]
    assert world.names() == [world.image_id]


async def test_an_empty_image_is_a_manifest_of_nothing(open_writer, world):
    await open_writer().commit()

    assert world.stored() == b""
    assert world.names() == [world.image_id]
    assert (await world.store.head_image(world.container, world.image_id)).dlo == (
        world.container,
        f"{world.image_id}-",
    )


async def test_an_empty_file_is_no_image_of_glance(open_writer, world):
    await open_writer(name="notes").commit()

    info = await world.store.head_image(world.container, "notes")
    assert (world.stored("notes"), info.manifest) == (b"", None)


async def test_an_image_that_does_not_fit_here_is_stored_as_one_of_unknown_size(
    open_writer, world
):
    options = replace(OPTIONS, large_object_size=10**9)
    writer = open_writer(options=options)
    await write_all(writer, BODY * 4)
    await writer.commit()

    assert world.stored() == BODY * 4
    assert world.names() == [
        world.image_id,
        *segments_of(world.image_id, -(-len(BODY * 4) // SEGMENT)),
    ]


async def test_holes_are_stored_as_zeros(open_writer, world):
    writer = open_writer()
    await writer.truncate(3 * SEGMENT + 5)
    await writer.write(5 * SEGMENT, b"x")
    await writer.truncate(6 * SEGMENT + 1)
    await writer.commit()

    data = bytearray(6 * SEGMENT + 1)
    data[5 * SEGMENT] = ord("x")
    assert world.stored() == data
    assert world.names() == [world.image_id, *segments_of(world.image_id, 7)]


async def test_what_was_cut_off_is_gone_before_the_manifest_is_there(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    await trio.testing.wait_all_tasks_blocked(0.2)
    await writer.truncate(2 * SEGMENT + 1)
    await writer.commit()

    assert world.stored() == BODY[: 2 * SEGMENT + 1]
    assert world.names() == [world.image_id, *segments_of(world.image_id, 3)]


async def test_an_image_that_is_given_up_leaves_nothing(open_writer, world):
    writer = open_writer()
    await write_all(writer, BODY)
    await writer.close()

    assert world.names() == []


async def test_glance_has_no_names_for_more_segments(open_writer):
    writer = open_writer()

    _, name = await writer._format.place(99_998 * SEGMENT, 0)
    assert name.endswith("-99999")
    with pytest.raises(errors.TooLargeError, match="chunk_size"):
        await writer._format.place(99_999 * SEGMENT, 0)
    await writer.close()
