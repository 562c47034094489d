"""Commits: what they ask Swift for, what they replace, and what they do not."""

from __future__ import annotations

import pytest

from swiftimgfs import errors
from swiftimgfs.writing.options import WriteOptions
from tests.support.writers import BODY, SEGMENT, names, parts_of, stored, write_all


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
    replaced = [name for _, name in late.doomed.objects] if late else []
    assert sorted(names(client)) == sorted([*parts_of(kept), *replaced])


async def test_a_commit_tells_what_it_replaced(open_writer, client, store):
    first = open_writer()
    await write_all(first, BODY)
    old = (await first.commit()).image
    second = open_writer(base=await store.resolve(await store.head_image("c", "image")))

    await second.write(0, b"small")
    committed = await second.commit()

    assert stored(client) == b"small"
    assert committed.doomed.objects == list(old.parts)


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
