"""What a writer stores of what was written: one object, or segments and an SLO."""

from __future__ import annotations

import math

import pytest

from swiftimgfs import errors
from swiftimgfs.store.records import Manifest
from tests.support.writers import BODY, SEGMENT, names, parts_of, settled, stored, write_all


async def test_a_small_image_is_one_object(open_writer, client, store):
    writer = open_writer()

    await write_all(writer, BODY[:100], step=30)
    committed = await writer.commit()

    assert stored(client) == BODY[:100]
    assert (committed.image.parts, committed.doomed.objects) == ((), [])
    assert committed.image.info.etag == (await store.head_image("c", "image")).etag
    assert not writer.is_dirty
    assert writer.is_stored


async def test_an_empty_image_is_stored_too(open_writer, client):
    committed = await open_writer().commit()

    assert stored(client) == b""
    assert committed.image.layout.size == 0


async def test_a_large_image_is_stored_in_segments(open_writer, client, store, content):
    writer = open_writer()

    await write_all(writer, BODY)
    committed = await writer.commit()

    info = await store.head_image("c", "image")
    assert stored(client) == BODY
    assert (info.manifest, info.etag) == (Manifest.SLO, committed.image.info.etag)
    assert sorted(names(client)) == sorted(parts_of(committed.image))
    assert (await store.resolve(info)).layout.extents == committed.image.layout.extents
    assert await content(committed.image.layout) == BODY


async def test_segments_are_called_and_typed_as_the_swift_cli_does(open_writer, client):
    writer = open_writer()

    await write_all(writer, BODY)
    await writer.commit()

    rows = client.get_container("c_segments")[1]
    assert {row["content_type"] for row in rows} == {"application/swiftclient-segment"}
    assert all(row["name"].startswith("image/slo/") for row in rows)


@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_an_image_is_whole_at_the_border_of_a_segment(
    open_writer, client, segments, more
):
    size = segments * SEGMENT + more
    writer = open_writer()

    await write_all(writer, BODY[:size], step=1024)
    committed = await writer.commit()

    assert stored(client) == BODY[:size]
    is_large = size >= SEGMENT
    assert len(committed.image.parts) == (math.ceil(size / SEGMENT) if is_large else 0)
    assert sorted(names(client)) == sorted(parts_of(committed.image))


async def test_one_write_may_hold_several_segments(open_writer, client):
    writer = open_writer()

    await writer.write(0, BODY)
    await writer.commit()

    assert stored(client) == BODY


async def test_a_segment_container_is_made_with_the_acls_of_the_images(
    open_writer, client, store
):
    acls = {"X-Container-Read": ".r:*,.rlistings", "X-Container-Write": "demo:reader"}
    client.post_container("c", acls)
    writer = open_writer()

    await write_all(writer, BODY)
    await writer.commit()

    info = await store.head_container("c_segments")
    assert (info.read_acl, info.write_acl) == (".r:*,.rlistings", "demo:reader")
    assert info.is_our_segment_container


async def test_a_segment_container_that_is_there_stays_as_it_is(open_writer, client, store):
    client.put_container("c_segments", {"X-Container-Read": "demo:reader"})
    writer = open_writer()

    await write_all(writer, BODY)
    await writer.commit()

    info = await store.head_container("c_segments")
    assert (info.read_acl, info.is_our_segment_container) == ("demo:reader", False)


async def test_a_small_image_makes_no_segment_container(open_writer, client):
    writer = open_writer()

    await writer.write(0, b"small")
    await writer.commit()

    assert [row["name"] for row in client.get_account()[1]] == ["c"]


@pytest.mark.parametrize("gap", [1, SEGMENT, 3 * SEGMENT + 7])
async def test_a_gap_is_filled_with_zeros(open_writer, client, gap):
    writer = open_writer()

    await writer.write(0, b"head")
    await writer.write(4 + gap, b"tail")
    await writer.commit()

    assert stored(client) == b"head" + bytes(gap) + b"tail"


async def test_an_image_is_extended_with_zeros_and_shortened(open_writer, client):
    writer = open_writer()
    await writer.write(0, BODY[:5000])

    await writer.truncate(4500)
    await writer.truncate(9000)
    await writer.commit()

    assert stored(client) == BODY[:4500] + bytes(4500)


async def test_what_was_uploaded_can_be_taken_back(open_writer, client):
    writer = open_writer()
    await writer.write(0, BODY[:9000])
    await settled(writer)

    await writer.truncate(4000)
    await writer.commit()

    assert stored(client) == BODY[:4000]


async def test_headers_go_with_the_image(open_writer, store):
    writer = open_writer()
    writer.change_headers({"content-type": "x/y", "x-object-meta-mtime": "12.5"})

    await write_all(writer, BODY)
    await writer.commit()

    info = await store.head_image("c", "image")
    assert (info.content_type, dict(info.metadata)) == ("x/y", {"mtime": "12.5"})


async def test_what_was_written_can_be_read_before_and_after_the_commit(open_writer, content):
    writer = open_writer()

    await write_all(writer, BODY)
    before = await content(writer.layout())
    await writer.commit()
    after = await content(writer.layout())

    assert (before, after) == (BODY, BODY)


async def test_nobody_sees_an_image_before_its_commit(open_writer, store):
    writer = open_writer()
    await write_all(writer, BODY)
    await settled(writer)

    with pytest.raises(errors.NotFoundError):
        await store.head_image("c", "image")

    await writer.close()
