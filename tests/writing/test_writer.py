"""An image written in order is in Swift as a whole after a commit, or not at all."""

from __future__ import annotations

import math

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.store.records import SEGMENT_CONTAINER_MARK, Manifest
from swiftimgfs.writing.options import WriteOptions
from tests.support.fault_control import Fault
from tests.support.writers import (
    BODY,
    OPTIONS,
    SEGMENT,
    names,
    parts_of,
    settled,
    stored,
    write_all,
)

# ── what is stored ─────────────────────────────────────────────────────────────────────


async def test_a_small_image_is_one_object(open_writer, client, store):
    writer = open_writer()

    await write_all(writer, BODY[:100], step=30)
    committed = await writer.commit()

    assert stored(client) == BODY[:100]
    assert (committed.image.parts, committed.replaced) == ((), [])
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


# ── commits ────────────────────────────────────────────────────────────────────────────


async def test_a_commit_of_what_swift_has_already_asks_nothing(open_writer, faulty):
    writer = open_writer()
    await write_all(writer, BODY)
    await writer.commit()
    faulty.control.clear()

    committed = await writer.commit()

    assert committed is None
    assert faulty.control.journal() == []


@pytest.mark.parametrize("first", [0, 100, SEGMENT, 5000, 2 * SEGMENT])
@pytest.mark.parametrize("last", [200, SEGMENT + 1, len(BODY)])
async def test_a_commit_before_the_last_write_is_followed_by_another(
    open_writer, client, store, first, last
):
    first = min(first, last)
    writer = open_writer()

    await writer.write(0, BODY[:first])
    early = await writer.commit()
    seen = stored(client)
    await writer.write(first, BODY[first:last])
    late = await writer.commit()

    assert (seen, stored(client)) == (BODY[:first], BODY[:last])
    info = await store.head_image("c", "image")
    kept = (late or early).image
    assert info.etag == kept.info.etag
    # What the second replaced is for its caller to delete: nothing else is left over.
    replaced = [name for _, name in late.replaced] if late else []
    assert sorted(names(client)) == sorted([*parts_of(kept), *replaced])


async def test_a_commit_tells_what_it_replaced(open_writer, client, store):
    first = open_writer()
    await write_all(first, BODY)
    old = (await first.commit()).image
    second = open_writer(base=await store.resolve(await store.head_image("c", "image")))

    await second.write(0, b"small")
    committed = await second.commit()

    assert stored(client) == b"small"
    assert committed.replaced == list(old.parts)


async def test_an_image_changed_by_somebody_else_is_not_replaced(open_writer, client, store):
    client.put_object("c", "image", b"theirs")
    writer = open_writer(base=await store.resolve(await store.head_image("c", "image")))
    await write_all(writer, BODY)
    client.put_object("c", "image", b"theirs, newer")

    with pytest.raises(errors.ImageChangedError):
        await writer.commit()
    await writer.close()

    assert stored(client) == b"theirs, newer"
    assert names(client) == []


@pytest.mark.parametrize("size", [100, len(BODY)])
async def test_an_image_made_by_somebody_else_meanwhile_is_not_replaced(
    open_writer, client, size
):
    writer = open_writer()
    await write_all(writer, BODY[:size])
    client.put_object("c", "image", b"theirs")

    with pytest.raises(errors.ImageChangedError):
        await writer.commit()
    await writer.close()

    assert stored(client) == b"theirs"
    assert names(client) == []


@pytest.mark.parametrize("size", [100, len(BODY)])
async def test_the_last_writer_wins_if_that_is_asked_for(open_writer, client, size):
    options = WriteOptions(
        segment_size=SEGMENT, large_object_size=SEGMENT, last_writer_wins=True
    )
    writer = open_writer(options=options)
    await write_all(writer, BODY[:size])
    client.put_object("c", "image", b"theirs")

    await writer.commit()

    assert stored(client) == BODY[:size]


async def test_an_image_deleted_by_somebody_else_is_stored_again(open_writer, client, store):
    client.put_object("c", "image", b"theirs")
    writer = open_writer(base=await store.resolve(await store.head_image("c", "image")))
    await write_all(writer, BODY)
    client.delete_object("c", "image")

    await writer.commit()

    assert stored(client) == BODY


# ── failures ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, errors.StoreRefusedError),
        (403, errors.AccessDeniedError),
        (507, errors.StoreFullError),
        (503, errors.StoreUnavailableError),
    ],
)
async def test_a_segment_that_was_not_stored_is_told_at_the_commit(
    open_writer, faulty, client, store, status, failure
):
    faulty.control.inject(
        Fault(
            method="PUT",
            target="c_segments/.*/00000000$",
            status=status,
            count=None,
            headers={"Retry-After": "0"},
        )
    )
    writer = open_writer()
    await writer.write(0, BODY[: SEGMENT + 10])

    with pytest.raises(failure):
        await writer.commit()
    faulty.control.clear()

    with pytest.raises(errors.NotFoundError):
        await store.head_image("c", "image")
    await writer.close()
    assert names(client) == []


async def test_a_commit_that_failed_can_be_tried_again(open_writer, faulty, client):
    faulty.control.inject(Fault(method="PUT", target="c_segments/", status=507, count=None))
    writer = open_writer()
    await writer.write(0, BODY[: SEGMENT + 10])
    with pytest.raises(errors.StoreFullError):
        await writer.commit()
    faulty.control.clear()

    committed = await writer.commit()

    assert stored(client) == BODY[: SEGMENT + 10]
    assert sorted(names(client)) == sorted(parts_of(committed.image))


async def test_a_segment_that_was_not_stored_ends_writing_early(open_writer, faulty):
    faulty.control.inject(Fault(method="PUT", target="c_segments/", status=507, count=None))
    writer = open_writer()
    await writer.write(0, BODY[:SEGMENT])
    await settled(writer)

    with pytest.raises(errors.StoreFullError):
        await writer.write(SEGMENT, BODY[SEGMENT : 2 * SEGMENT])
    with pytest.raises(errors.StoreFullError):
        await writer.commit()

    await writer.close()


async def test_a_segment_that_is_stored_at_the_third_try_is_stored(open_writer, faulty, client):
    faulty.control.inject(
        Fault(
            method="PUT",
            target="c_segments/",
            status=503,
            count=2,
            headers={"Retry-After": "0"},
        )
    )
    writer = open_writer()

    await write_all(writer, BODY)
    await writer.commit()

    assert stored(client) == BODY


async def test_an_image_given_up_leaves_no_segment_behind(open_writer, client):
    writer = open_writer()
    await write_all(writer, BODY)

    await writer.close()

    assert names(client) == []


async def test_an_image_given_up_after_a_commit_keeps_what_was_committed(open_writer, client):
    writer = open_writer()
    await writer.write(0, BODY[:5000])
    await writer.commit()
    await writer.write(5000, BODY[5000:])
    await settled(writer)

    await writer.close()

    assert stored(client) == BODY[:5000]


async def test_closing_after_a_commit_deletes_nothing(open_writer, client):
    writer = open_writer()
    await write_all(writer, BODY)
    await writer.commit()

    await writer.close()

    assert stored(client) == BODY


async def test_a_refused_manifest_leaves_the_image_to_be_tried_again(
    open_writer, faulty, client
):
    faulty.control.inject(Fault(method="PUT", target="/c/image", status=400))
    writer = open_writer()
    await write_all(writer, BODY)
    with pytest.raises(errors.StoreRefusedError):
        await writer.commit()

    committed = await writer.commit()

    assert stored(client) == BODY
    assert sorted(names(client)) == sorted(parts_of(committed.image))


@pytest.fixture(params=["new", "replacing"])
async def base(request, client, store):
    """What a writer replaces: nothing, or an image."""
    if request.param == "new":
        return None
    client.put_object("c", "image", b"old")
    return await store.resolve(await store.head_image("c", "image"))


@pytest.mark.parametrize("size", [0, 100, len(BODY)])
async def test_a_commit_whose_answer_was_lost_is_a_commit(
    open_writer, faulty, client, base, size
):
    faulty.control.inject(Fault(method="PUT", target="/c/image", lose_answer=True))
    writer = open_writer(base=base)
    await write_all(writer, BODY[:size])

    committed = await writer.commit()

    assert stored(client) == BODY[:size]
    assert committed.image.layout.size == committed.image.info.size == size
    assert committed.image.info.etag == client.head_object("c", "image")["etag"].strip('"')
    assert sorted(names(client)) == sorted(parts_of(committed.image))


async def test_a_manifest_whose_every_answer_was_lost_is_a_commit_once_it_is_there(
    open_writer, faulty, client
):
    faulty.control.inject(Fault(method="PUT", target="/c/image", lose_answer=True, count=None))
    writer = open_writer()
    await write_all(writer, BODY)

    await writer.commit()
    await writer.close()

    assert stored(client) == BODY


async def test_a_small_image_whose_every_answer_was_lost_is_a_commit_once_it_is_there(
    open_writer, faulty, client
):
    faulty.control.inject(Fault(method="PUT", target="/c/image", lose_answer=True, count=None))
    writer = open_writer()
    await writer.write(0, b"small")

    committed = await writer.commit()

    assert stored(client) == b"small"
    assert committed.image.info.size == 5
    assert not writer.is_dirty


async def test_segments_whose_manifest_may_be_stored_are_not_deleted(
    open_writer, faulty, client
):
    faulty.control.inject(Fault(method="PUT", target="/c/image", lose_answer=True, count=None))
    faulty.control.inject(
        Fault(
            method="HEAD",
            target="/c/image",
            status=503,
            count=None,
            headers={"Retry-After": "0"},
        )
    )
    writer = open_writer()
    await write_all(writer, BODY)

    with pytest.raises(errors.StoreUnavailableError):
        await writer.commit()
    await writer.close()
    faulty.control.clear()

    assert stored(client) == BODY


async def test_a_lost_answer_of_a_segment_is_a_stored_segment(open_writer, faulty, client):
    faulty.control.inject(Fault(method="PUT", target="c_segments/", lose_answer=True, skip=1))
    writer = open_writer()

    await write_all(writer, BODY)
    committed = await writer.commit()

    assert stored(client) == BODY
    assert sorted(names(client)) == sorted(parts_of(committed.image))


# ── back-pressure ──────────────────────────────────────────────────────────────────────


async def test_writing_waits_while_too_many_bytes_wait_for_swift(open_writer, faulty, client):
    client.put_container("c_segments", {SEGMENT_CONTAINER_MARK: "segments"})
    faulty.control.inject(Fault(method="PUT", target="c_segments/", delay=0.5, count=None))
    writer = open_writer()

    with trio.move_on_after(0.2) as scope:
        await write_all(writer, BODY)

    assert scope.cancelled_caught
    assert writer.size <= OPTIONS.spool_size + SEGMENT
    await writer.close()
