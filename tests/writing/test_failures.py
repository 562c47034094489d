"""Uploads that are refused, given up or not answered, and who has to wait."""

from __future__ import annotations

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.store.records import SEGMENT_CONTAINER_MARK
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
