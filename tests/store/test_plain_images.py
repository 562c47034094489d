"""Images of one object: stored, asked for, read by the range, changed and deleted."""

from __future__ import annotations

import pytest

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.store.large_objects import Segment
from swiftimgfs.store.metadata import changes_of
from swiftimgfs.store.request import Payload
from tests.support.fault_control import Fault
from tests.support.store_reads import BODY, Buffer, fetch, md5, read, requests

NAMES = ["plain", "a/b/c", "größe ü", "what?&=#;+", "100%25", "dots/..x/y", '"quoted"', "a//b"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_plain_image_comes_back_under_any_name(store, pool, name):
    put = await store.put_object("c", name, Payload([BODY[:100], BODY[100:]]), {})

    info = await store.head_image("c", name)
    image = await store.resolve(info)

    assert (put.etag, put.size) == (info.etag, info.size) == (md5(BODY), len(BODY))
    assert (info.manifest, image.parts) == (None, ())
    assert await read(store, pool, image.layout) == BODY
    assert [row.name for row in await store.list_all("c", "")] == [name]


async def test_an_empty_image_has_an_empty_layout(store):
    await store.put_object("c", "o", b"", {})

    image = await store.resolve(await store.head_image("c", "o"))

    assert (image.info.size, image.layout.size) == (0, 0)


async def test_what_a_put_tells_is_what_a_head_tells(store):
    headers = {"Content-Type": "x/y", "X-Object-Meta-Mtime": "12.5"}

    put = await store.put_object("c", "o", b"abc", headers)
    head = await store.head_image("c", "o")

    assert (put.etag, put.size, put.content_type) == (head.etag, head.size, "x/y")
    assert put.mtime_ns == head.mtime_ns == 12_500_000_000
    assert dict(put.metadata) == dict(head.metadata) == {"mtime": "12.5"}


@pytest.mark.parametrize(("container", "name"), [("c", "none"), ("none", "o")])
async def test_what_is_not_there_is_not_found_at_once(faulty, store, container, name):
    with pytest.raises(errors.NotFoundError):
        await store.head_image(container, name)

    assert len(requests(faulty, "HEAD")) == 1


async def test_a_new_image_does_not_take_a_taken_name(store):
    await store.put_object("c", "o", b"first", {}, is_new=True)

    with pytest.raises(errors.ExistsError):
        await store.put_object("c", "o", b"second", {}, is_new=True)

    assert (await store.head_image("c", "o")).etag == md5(b"first")


async def test_any_range_is_exactly_that_range(faulty, store):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 1000, len(BODY))

    data = await fetch(store, source, 10)

    assert data == BODY[1000:1010]
    (asked,) = requests(faulty, "GET", "/c/o")
    assert (asked.range, asked.headers["if-match"]) == ("bytes=1000-1009", f'"{info.etag}"')


async def test_what_a_target_has_already_is_not_asked_for_again(faulty, store):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    buffer = Buffer(100)
    buffer.arrived(40)

    await store.fetch_range(Stored("c", "o", info.etag, 1040, len(BODY)), buffer, 5)

    assert bytes(buffer.view) == bytes(40) + BODY[1040:1100]
    assert [r.range for r in requests(faulty, "GET", "/c/o")] == ["bytes=1040-1099"]


async def test_another_version_of_an_image_is_not_read(store):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    await store.put_object("c", "o", b"x" * len(BODY), {})

    with pytest.raises(errors.ImageChangedError):
        await fetch(store, Stored("c", "o", info.etag, 0, len(BODY)), 10)


async def test_bytes_that_are_gone_mean_that_the_image_changed(store):
    with pytest.raises(errors.ImageChangedError):
        await fetch(store, Stored("c", "gone", md5(b""), 0, 10), 10)


async def test_an_image_that_became_shorter_is_not_read_short(store):
    info = await store.put_object("c", "o", b"0123456789", {})

    with pytest.raises(errors.ImageChangedError):
        await fetch(store, Stored("c", "o", info.etag, 0, 20), 20)


async def test_an_answer_without_the_range_is_not_taken_for_it(faulty, store):
    info = await store.put_object("c", "o", b"0123456789", {})
    faulty.control.inject(Fault(method="GET", target="/c/o", status=200, body="0123456789"))

    with pytest.raises(errors.ImageChangedError):
        await fetch(store, Stored("c", "o", info.etag, 5, 10), 2)


async def test_deleting_is_once(store):
    await store.put_object("c", "o", b"x", {})

    await store.delete_object("c", "o")

    with pytest.raises(errors.NotFoundError):
        await store.delete_object("c", "o")


async def test_metadata_is_replaced_and_the_rest_is_kept(store):
    headers = {"Content-Type": "x/y", "X-Object-Meta-Old": "1", "Cache-Control": "no-cache"}
    await store.put_object("c", "o", b"abc", headers)
    info = await store.head_image("c", "o")

    await store.change_image("c", "o", changes_of({"old": None, "new": "2"}))

    after = await store.head_image("c", "o")
    assert (dict(after.metadata), after.content_type) == ({"new": "2"}, "x/y")
    assert after.kept_headers == info.kept_headers == {"cache-control": "no-cache"}


async def test_a_copied_plain_image_has_the_same_bytes(store):
    await store.put_object("c", "o", Payload([BODY]), {})

    await store.copy_image(await store.head_image("c", "o"), "c", "copy", {})

    assert (await store.head_image("c", "copy")).etag == md5(BODY)


async def test_a_copy_of_what_is_gone_or_into_nowhere_tells_which(store):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    whole = Segment("c", "o", info.size, info.etag, 0, info.size)

    with pytest.raises(errors.NotFoundError):
        await store.copy_object(whole, "no-such-container", "copy", {})
    await store.delete_object("c", "o")
    with pytest.raises(errors.ImageChangedError, match="gone before it was copied"):
        await store.copy_object(whole, "c", "copy", {})


async def test_a_location_is_where_the_image_is(faulty, store):
    location = store.location("c", "a b")

    assert location == f"swift+{faulty.swift.storage_url}/c/a%20b"
