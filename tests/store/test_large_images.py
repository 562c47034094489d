"""SLOs and DLOs, read as Swift itself reads them, changed and copied."""

from __future__ import annotations

import base64
import json

import pytest

from swiftimgfs import errors
from swiftimgfs.layout import Stored
from swiftimgfs.reading.block_cache import key_of
from swiftimgfs.store.image_store import through_manifest
from swiftimgfs.store.large_objects import Segment, format_dlo_header
from swiftimgfs.store.metadata import changes_of
from swiftimgfs.store.records import Manifest
from tests.support.store_reads import BODY, md5, put_segments, read, requests


def put_raw_manifest(client, container, name, rows):
    body = json.dumps(rows)
    client.put_object(container, name, body, query_string="multipart-manifest=put")


async def test_an_slo_is_its_segments(store, pool):
    segments = await put_segments(store, BODY, b"tail")

    put = await store.put_manifest("c", "slo", segments, {"Content-Type": "x/y"})
    info = await store.head_image("c", "slo")
    image = await store.resolve(info)

    assert info.manifest is put.manifest is Manifest.SLO
    assert (put.etag, put.size) == (info.etag, info.size) == (put.etag, len(BODY) + 4)
    assert image.parts == (("segs", "s/00000000"), ("segs", "s/00000001"))
    assert await read(store, pool, image.layout) == BODY + b"tail"


async def test_the_listing_knows_an_slo_by_its_etag_and_size(store):
    segments = await put_segments(store, BODY)
    put = await store.put_manifest("c", "slo", segments, {})

    (row,) = await store.list_all("c", "")

    assert (row.slo_etag, row.size, row.is_slo) == (put.etag, len(BODY), True)


async def test_a_manifest_does_not_take_a_taken_name(store):
    segments = await put_segments(store, BODY)
    await store.put_object("c", "o", b"", {})

    with pytest.raises(errors.ExistsError):
        await store.put_manifest("c", "o", segments, {}, is_new=True)


async def test_a_manifest_of_segments_that_swift_does_not_have_is_refused(store):
    (segment,) = await put_segments(store, BODY)
    missing = Segment("segs", "missing", 1, md5(b"x"), 0, 1)

    with pytest.raises(errors.ImageChangedError):
        await store.put_manifest("c", "slo", [segment, missing], {})


def put_dlo(client, count):
    for number in range(count):
        client.put_object("segs", f"d o/{number}", bytes([number]) * 10)
    client.put_object("segs", "d o", b"no segment")
    client.put_object("c", "dlo", b"", headers={"X-Object-Manifest": "segs/d%20o/"})


async def test_a_dlo_is_whatever_lies_under_its_prefix(store, pool, client):
    put_dlo(client, 3)

    info = await store.head_image("c", "dlo")
    image = await store.resolve(info)

    assert (info.manifest, info.dlo, info.size) == (Manifest.DLO, ("segs", "d o/"), 30)
    assert image.parts == tuple(("segs", f"d o/{number}") for number in range(3))
    assert await read(store, pool, image.layout) == client.get_object("c", "dlo")[1]


async def test_a_dlo_of_more_segments_than_a_listing_has_rows_is_read_whole(
    store, pool, client
):
    put_dlo(client, 7)

    image = await store.resolve(await store.head_image("c", "dlo"))

    assert len(image.parts) == 7
    assert await read(store, pool, image.layout) == client.get_object("c", "dlo")[1]


@pytest.mark.parametrize("count", [4, 5, 7])
async def test_a_dlo_has_the_size_of_all_its_segments_however_many(store, client, count):
    put_dlo(client, count)  # Swift adds up four of them; of more it does not tell the size

    info = await store.head_image("c", "dlo")

    assert info.size == 10 * count


async def test_metadata_changed_on_a_dlo_leaves_it_a_dlo(store, client):
    client.put_object("segs", "d/1", BODY)
    client.put_object("c", "dlo", b"", headers={"X-Object-Manifest": "segs/d/"})
    info = await store.head_image("c", "dlo")

    await store.change_image(info.container, info.name, changes_of({"mode": "0644"}))

    after = await store.head_image("c", "dlo")
    assert (after.dlo, dict(after.metadata)) == (("segs", "d/"), {"mode": "0644"})
    assert client.get_object("c", "dlo")[1] == BODY


PREFIXES = ["a b-", "what?&-", "100%41-", "100%-", "größe-", "a+b-"]


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_dlo_is_read_under_any_prefix(store, client, prefix):
    client.put_object("segs", f"{prefix}1", BODY)
    manifest = {"X-Object-Manifest": format_dlo_header("segs", prefix)}
    client.put_object("c", "dlo", b"", headers=manifest)

    image = await store.resolve(await store.head_image("c", "dlo"))

    assert image.info.dlo == ("segs", prefix)
    assert image.parts == (("segs", f"{prefix}1"),)


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_metadata_changed_on_a_dlo_leaves_its_segments_under_any_prefix(
    store, client, prefix
):
    client.put_object("segs", f"{prefix}1", BODY)
    manifest = {"X-Object-Manifest": format_dlo_header("segs", prefix)}
    client.put_object("c", "dlo", b"", headers=manifest)

    await store.change_image("c", "dlo", changes_of({"mode": "0644"}))

    assert client.get_object("c", "dlo")[1] == BODY


async def test_headers_with_percent_signs_come_through_a_change_of_metadata(
    faulty, store, client
):
    headers = {
        "X-Object-Meta-Source": "http://host/a%20b%41",
        "Content-Disposition": "attachment; filename*=UTF-8''na%C3%AFve",
    }
    client.put_object("c", "o", b"x", headers=headers)

    await store.change_image("c", "o", changes_of({"mode": "0644"}))

    (sent,) = requests(faulty, "POST", "/c/o")
    assert sent.headers["x-object-meta-source"] == headers["X-Object-Meta-Source"]
    assert sent.headers["content-disposition"] == headers["Content-Disposition"]


async def test_metadata_changed_on_an_slo_leaves_it_an_slo(store):
    segments = await put_segments(store, BODY)
    await store.put_manifest("c", "slo", segments, {})
    info = await store.head_image("c", "slo")

    await store.change_image(info.container, info.name, changes_of({"mode": "0644"}))

    after = await store.head_image("c", "slo")
    assert (after.manifest, after.etag, after.size) == (Manifest.SLO, info.etag, len(BODY))


async def test_rows_with_ranges_and_data_are_read_as_swift_reads_them(store, pool, client):
    client.put_object("segs", "s", BODY)
    rows = [
        {"path": "/segs/s", "range": "1000-1999"},
        {"data": base64.b64encode(b"in between").decode()},
        {"path": "/segs/s", "range": "65000-"},
        {"path": "/segs/s", "range": "-10"},
        {"path": "/segs/s"},
    ]
    put_raw_manifest(client, "c", "slo", rows)

    image = await store.resolve(await store.head_image("c", "slo"))

    whole = client.get_object("c", "slo")[1]
    assert (image.layout.size, image.info.size) == (len(whole), len(whole))
    assert await read(store, pool, image.layout) == whole
    assert image.parts == (("segs", "s"),)


async def test_a_manifest_in_a_manifest_is_read_as_swift_reads_it(store, pool, client):
    for number in range(3):
        client.put_object("segs", f"n/{number}", BODY[number : number + 1000])
    inner = [{"path": f"/segs/n/{number}"} for number in range(3)]
    put_raw_manifest(client, "segs", "inner", inner)
    put_raw_manifest(
        client,
        "c",
        "outer",
        [
            {"path": "/segs/n/2", "range": "5-9"},
            {"path": "/segs/inner"},
            {"path": "/segs/inner", "range": "990-2010"},
        ],
    )

    image = await store.resolve(await store.head_image("c", "outer"))

    whole = client.get_object("c", "outer")[1]
    assert image.layout.size == len(whole)
    assert await read(store, pool, image.layout) == whole
    assert set(image.parts) == {("segs", "inner"), *(("segs", f"n/{n}") for n in range(3))}


@pytest.mark.parametrize(("start", "end"), [(0, 2999), (990, 2010)])
async def test_a_manifest_in_a_manifest_that_is_gone_is_a_segment_of_its_size(
    store, client, start, end
):
    for number in range(3):
        client.put_object("segs", f"n/{number}", BODY[:1000])
    put_raw_manifest(client, "segs", "inner", [{"path": f"/segs/n/{n}"} for n in range(3)])
    rows = [{"path": "/segs/inner", "range": f"{start}-{end}"}, {"path": "/segs/n/1"}]
    put_raw_manifest(client, "c", "outer", rows)
    client.delete_object("segs", "inner")

    image = await store.resolve(await store.head_image("c", "outer"))

    lost, rest = image.layout.extents
    assert (lost.size, lost.source.start, lost.source.object) == (
        end + 1 - start,
        start,
        "inner",
    )
    assert (rest.size, rest.source.object) == (1000, "n/1")
    assert image.parts == (("segs", "inner"), ("segs", "n/1"))
    assert image.lost == (("segs", "inner"),)


async def test_a_manifest_that_a_dlo_lists_and_that_is_gone_is_a_segment(
    store, client, monkeypatch: pytest.MonkeyPatch
):
    put_dlo(client, 2)
    put_raw_manifest(client, "segs", "d o/9", [{"path": "/segs/d o/1"}])

    async def gone(container: str, name: str):
        raise errors.NotFoundError(f"{container}/{name}")

    monkeypatch.setattr(store, "slo_rows", gone)
    image = await store.resolve(await store.head_image("c", "dlo"))

    assert [(e.size, e.source.object) for e in image.layout.extents] == [
        (10, "d o/0"),
        (10, "d o/1"),
        (10, "d o/9"),
    ]
    assert image.lost == (("segs", "d o/9"),)


async def test_an_image_whose_manifest_is_gone_is_not_found(store):
    segments = await put_segments(store, BODY)
    info = await store.put_manifest("c", "slo", segments, {})
    await store.delete_object("c", "slo")

    with pytest.raises(errors.NotFoundError):
        await store.resolve(info)


async def test_a_copied_slo_has_the_same_segments(store, pool):
    segments = await put_segments(store, BODY, b"tail")
    await store.put_manifest("c", "slo", segments, {"X-Object-Meta-Mtime": "12.5"})
    info = await store.head_image("c", "slo")

    await store.copy_image(info, "segs", "größe/copy?", {})
    await store.delete_object("c", "slo")

    copy = await store.resolve(await store.head_image("segs", "größe/copy?"))
    assert (copy.info.manifest, copy.info.etag) == (Manifest.SLO, info.etag)
    assert dict(copy.info.metadata) == {"mtime": "12.5"}
    assert copy.parts == tuple((s.container, s.name) for s in segments)
    assert await read(store, pool, copy.layout) == BODY + b"tail"


async def test_a_copied_dlo_is_a_dlo_of_the_same_segments(store, client):
    client.put_object("segs", "d/1", BODY)
    client.put_object("c", "dlo", b"", headers={"X-Object-Manifest": "segs/d/"})

    await store.copy_image(await store.head_image("c", "dlo"), "c", "copy", {})

    copy = await store.head_image("c", "copy")
    assert (copy.manifest, copy.dlo) == (Manifest.DLO, ("segs", "d/"))


async def test_a_large_image_read_through_its_manifest_is_not_known_by_an_md5(store, pool):
    """Its etag looks like one, and is that of its segments' etags: no bytes have it."""
    segments = await put_segments(store, BODY, b"tail")
    await store.put_manifest("c", "slo", segments, {})
    info = await store.head_image("c", "slo")

    layout = through_manifest(info)

    (extent,) = layout.extents
    assert isinstance(extent.source, Stored)
    assert key_of(extent.source) != (info.etag, info.size)
    assert await read(store, pool, layout) == BODY + b"tail"
