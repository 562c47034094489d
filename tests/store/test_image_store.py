"""The store's verbs and its connections, against a real Swift that fails when told to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.layout import Inline, Layout, Stored, Zeros
from swiftimgfs.reading.block_cache import key_of
from swiftimgfs.reading.chunks import fetch_whole
from swiftimgfs.store.auth import FixedIdentity, TransportOptions
from swiftimgfs.store.image_store import ImageStore, through_manifest
from swiftimgfs.store.large_objects import Segment, format_dlo_header
from swiftimgfs.store.metadata import changes_of
from swiftimgfs.store.records import Manifest
from swiftimgfs.store.request import Payload, Request
from tests.support.fault_control import Fault
from tests.support.pools import owner_of, pool_of

BODY = bytes(range(256)) * 256  # 64 KiB
TRANSPORT = TransportOptions(timeout=5)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def requests(faulty, method, target=""):
    return [r for r in faulty.control.journal() if r.method == method and target in r.target]


async def read(store, pool, layout: Layout) -> bytes:
    """Read a layout through the store, extent by extent."""
    data = bytearray()
    for extent in layout.extents:
        match extent.source:
            case Stored() as source:
                data += (await read_range(store, pool, source, extent.size)).view
            case Inline(piece):
                data += piece[: extent.size]
            case Zeros():
                data += bytes(extent.size)
    return bytes(data)


class Buffer:
    """What a range is fetched into; `after` is called in the thread, once so much is there."""

    def __init__(self, size):
        self.view = memoryview(bytearray(size))
        self.size = size
        self.filled = 0
        self.is_abandoned = False
        self.after = (size + 1, lambda: None)

    def rest(self):
        return self.view[self.filled :]

    def arrived(self, count):
        self.filled += count
        threshold, act = self.after
        if self.filled >= threshold:
            act()

    def abandon(self):
        self.is_abandoned = True


async def read_range(store, pool, source, size):
    """Read a range whatever happens, as the reading layer does."""
    buffer = Buffer(size)
    await fetch_whole(store, source, buffer, pool.retry)
    return buffer


async def fetch(store, source, size, patience=5.0):
    """Make one try."""
    buffer = Buffer(size)
    await store.fetch_range(source, buffer, patience)
    return bytes(buffer.view)


async def put_segments(store, *parts: bytes, container="segs", prefix="s/"):
    segments = []
    for number, part in enumerate(parts):
        name = f"{prefix}{number:08d}"
        info = await store.put_object(container, name, Payload([part]), {})
        segments.append(Segment(container, name, len(part), info.etag, 0, len(part)))
    return segments


def put_raw_manifest(client, container, name, rows):
    body = json.dumps(rows)
    client.put_object(container, name, body, query_string="multipart-manifest=put")


# ── the account and who we are ─────────────────────────────────────────────────────────


async def test_connecting_tells_usage_and_learns_the_clusters_limits(pool, client):
    store = ImageStore(pool)

    info = await store.connect()

    assert info.container_count == 2
    assert store.limits.listing == 5


async def test_a_wrong_key_is_refused(faulty):
    pool = pool_of(owner_of(faulty.swift, key="wrong"))

    async with contextlib.aclosing(pool):
        with pytest.raises(errors.AccessDeniedError):
            await ImageStore(pool).account()


@pytest.mark.parametrize("address", ["http://swift.invalid/auth/v1.0", "http://127.0.0.1:9/x"])
async def test_where_nothing_answers_the_store_is_unavailable(faulty, address):
    pool = pool_of(owner_of(faulty.swift, auth_url=address), tries=1)

    async with contextlib.aclosing(pool):
        with pytest.raises(errors.StoreUnavailableError):
            await ImageStore(pool).account()


async def test_a_reader_may_not_write(faulty, store):
    reader = owner_of(faulty.swift, user="demo:reader", key="reader")
    async with contextlib.aclosing(pool_of(reader)) as pool:
        with pytest.raises(errors.AccessDeniedError):
            await ImageStore(pool).put_object("c", "o", b"", {})

    assert len(requests(faulty, "PUT", "/c/o")) == 1


async def test_a_token_forgotten_in_the_middle_is_renewed_once(faulty, store):
    faulty.control.inject(Fault(method="PUT", forget_tokens=True))

    info = await store.put_object("c", "o", Payload([BODY]), {})

    assert info.etag == md5(BODY)
    assert [r.status for r in requests(faulty, "PUT", "/c/o")] == [401, 201]
    assert len(requests(faulty, "GET", "/auth/v1.0")) == 1


async def test_a_token_that_is_refused_again_is_an_error_and_no_loop(faulty, store):
    faulty.control.inject(Fault(method="HEAD", target="/c/o", status=401, count=None))

    with pytest.raises(errors.AccessDeniedError):
        await store.head_image("c", "o")

    assert len(requests(faulty, "HEAD", "/c/o")) == 2


# ── containers and listings ────────────────────────────────────────────────────────────


async def test_a_container_is_new_once(store):
    assert await store.put_container("new")
    assert not await store.put_container("new")


async def test_every_container_is_listed_over_several_pages(store):
    names = [f"n{number}" for number in range(11)]
    for name in names:
        await store.put_container(name)

    rows = await store.list_containers()

    assert [row.name for row in rows] == sorted(["c", "segs", *names])


async def test_every_object_is_listed_over_several_pages(store):
    names = [f"p/{number:02d}" for number in range(11)]
    for name in [*names, "q"]:
        await store.put_object("c", name, b"", {})

    rows = await store.list_all("c", "p/")

    assert [row.name for row in rows] == names


async def test_what_lies_deeper_is_listed_as_directories(store):
    for name in ("a", "d/x", "d/y", "e/z"):
        await store.put_object("c", name, b"", {})

    page = await store.list_page("c", limit=5)

    assert ([row.name for row in page.rows], page.subdirs) == (["a"], ["d/", "e/"])
    assert page.next_marker is None


async def test_a_page_that_ends_in_a_directory_goes_on_behind_it(store):
    for name in ("d/x", "d/y", "e"):
        await store.put_object("c", name, b"", {})

    first = await store.list_page("c", limit=1)
    second = await store.list_page("c", limit=1, marker=first.next_marker)

    assert (first.subdirs, [row.name for row in second.rows]) == (["d/"], ["e"])


async def test_a_container_with_objects_is_not_deleted(store):
    await store.put_object("c", "o", b"x", {})

    with pytest.raises(errors.DirectoryNotEmptyError):
        await store.delete_container("c")


async def test_metadata_and_acls_of_a_container_are_told(store):
    await store.post_container(
        "c", {"X-Container-Read": ".r:*", "X-Container-Meta-Mtime": "12.5"}
    )

    info = await store.head_container("c")

    assert (info.read_acl, info.write_acl, info.mtime_ns) == (".r:*", None, 12_500_000_000)


# ── plain images ───────────────────────────────────────────────────────────────────────

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


# ── large images ───────────────────────────────────────────────────────────────────────


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


async def test_a_copied_plain_image_has_the_same_bytes(store):
    await store.put_object("c", "o", Payload([BODY]), {})

    await store.copy_image(await store.head_image("c", "o"), "c", "copy", {})

    assert (await store.head_image("c", "copy")).etag == md5(BODY)


async def test_a_location_is_where_the_image_is(faulty, store):
    location = store.location("c", "a b")

    assert location == f"swift+{faulty.swift.storage_url}/c/a%20b"


# ── failures ───────────────────────────────────────────────────────────────────────────


async def test_a_busy_swift_is_asked_again(faulty, store):
    faulty.control.inject(Fault(method="PUT", target="/c/o", status=503, count=2))

    info = await store.put_object("c", "o", Payload([BODY]), {})

    assert info.etag == md5(BODY)
    assert [r.status for r in requests(faulty, "PUT", "/c/o")] == [503, 503, 201]


async def test_a_swift_that_stays_busy_is_unavailable(faulty, store):
    faulty.control.inject(
        Fault(target="/c/o", status=503, count=None, headers={"Retry-After": "0"})
    )

    with pytest.raises(errors.StoreUnavailableError):
        await store.head_image("c", "o")

    assert len(requests(faulty, "HEAD", "/c/o")) == 3


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, errors.StoreRefusedError),
        (403, errors.AccessDeniedError),
        (409, errors.StoreRefusedError),
        (413, errors.TooLargeError),
        (507, errors.StoreFullError),
    ],
)
async def test_what_another_try_does_not_cure_is_told_at_once(faulty, store, status, failure):
    faulty.control.inject(Fault(method="PUT", target="/c/o", status=status, count=None))

    with pytest.raises(failure):
        await store.put_object("c", "o", b"x", {})

    assert len(requests(faulty, "PUT", "/c/o")) == 1


async def test_a_quota_that_is_used_up_is_told_as_that(store, client):
    client.post_container("c", {"X-Container-Meta-Quota-Bytes": "10"})

    with pytest.raises(errors.QuotaExceededError):
        await store.put_object("c", "o", Payload([BODY]), {})


async def test_a_connection_lost_in_an_upload_is_made_again(faulty, store):
    faulty.control.inject(Fault(method="PUT", target="/c/o", cut_upload_after=1000))

    info = await store.put_object("c", "o", Payload([BODY]), {})

    assert info.etag == md5(BODY)
    assert (await store.head_image("c", "o")).etag == md5(BODY)


async def test_an_upload_is_sent_with_the_md5_of_its_bytes(faulty, store):
    await store.put_object("c", "o", Payload([BODY]), {})

    (request,) = requests(faulty, "PUT", "/c/o")
    assert request.headers["etag"] == md5(BODY)


async def test_bytes_that_swift_finds_damaged_are_corrupt(faulty, store):
    class Damaged(Payload):
        def md5(self) -> str:
            return md5(b"what was meant")

    with pytest.raises(errors.CorruptDataError):
        await store.put_object("c", "o", Damaged([BODY]), {})

    with pytest.raises(errors.NotFoundError):
        await store.head_image("c", "o")


async def test_an_answer_with_another_etag_is_corrupt(faulty, store):
    faulty.control.inject(
        Fault(method="PUT", target="/c/o", status=201, headers={"Etag": md5(b"other")})
    )

    with pytest.raises(errors.CorruptDataError):
        await store.put_object("c", "o", Payload([BODY]), {})


async def test_a_manifest_answered_with_another_etag_is_corrupt(faulty, store):
    segments = await put_segments(store, BODY)
    faulty.control.inject(
        Fault(method="PUT", target="/c/slo", status=201, headers={"Etag": md5(b"other")})
    )

    with pytest.raises(errors.CorruptDataError):
        await store.put_manifest("c", "slo", segments, {})


async def test_a_range_that_is_cut_is_resumed_with_the_next_byte(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=1234))
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=20_000))
    source = Stored("c", "o", info.etag, 100, len(BODY))

    buffer = await read_range(store, pool, source, 40_000)

    assert bytes(buffer.view) == BODY[100:40_100]
    assert not buffer.is_abandoned
    asked = requests(faulty, "GET", "/c/o")
    assert [request.range for request in asked] == [
        "bytes=100-40099",
        "bytes=1334-40099",
        "bytes=21334-40099",
    ]
    assert {request.headers["if-match"] for request in asked} == {f'"{info.etag}"'}


async def test_a_range_that_is_always_cut_is_an_error(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=10, count=None))

    with pytest.raises(errors.StoreUnavailableError):
        await read_range(store, pool, Stored("c", "o", info.etag, 0, len(BODY)), 99)

    assert len(requests(faulty, "GET", "/c/o")) == 3


async def test_an_image_replaced_between_a_cut_and_its_resumption_is_told(
    faulty, store, pool, client
):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.inject(Fault(method="GET", target="/c/o", cut_after=10))
    buffer = Buffer(99)
    buffer.after = (10, lambda: client.put_object("c", "o", BODY[::-1]))

    with pytest.raises(errors.ImageChangedError):
        await fetch_whole(store, source, buffer, pool.retry)

    assert bytes(buffer.view) == BODY[:10] + bytes(89)


async def test_a_token_forgotten_before_a_range_is_renewed_and_the_range_is_whole(
    faulty, store, pool
):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", forget_tokens=True))

    data = await fetch(store, source, len(BODY))

    assert data == BODY
    assert [r.status for r in requests(faulty, "GET", "/c/o")] == [401, 206]
    assert len(requests(faulty, "GET", "/auth/v1.0")) == 1


async def test_a_token_that_is_refused_again_for_a_range_is_an_error_and_no_loop(faulty, store):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    faulty.control.clear()
    faulty.control.inject(Fault(method="GET", target="/c/o", status=401, count=None))

    with pytest.raises(errors.AccessDeniedError):
        await fetch(store, Stored("c", "o", info.etag, 0, len(BODY)), 10)

    assert len(requests(faulty, "GET", "/c/o")) == 2


@pytest.mark.parametrize("after", [0, 1000])
async def test_a_range_that_stalls_is_cut_and_asked_for_again(faulty, store, pool, after):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.clear()
    faulty.control.inject(
        Fault(method="GET", target="/c/o", stall_after=after, stall_seconds=30)
    )
    buffer = Buffer(len(BODY))

    with trio.fail_after(4), pytest.raises(errors.StalledError):
        await store.fetch_range(source, buffer, 0.5)
    assert buffer.filled == after
    with trio.fail_after(4):
        await fetch_whole(store, source, buffer, pool.retry)

    assert bytes(buffer.view) == BODY


def drip(server: socket.socket, pieces: int) -> None:
    """Answer one request with a range of `pieces` times 10 bytes, slowly."""
    pause = threading.Event()
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        size = 10 * pieces
        head = f"Content-Range: bytes 0-{size - 1}/{size}\r\nContent-Length: {size}"
        connection.sendall(f"HTTP/1.1 206 Partial\r\n{head}\r\n\r\n".encode())
        for _ in range(pieces):
            pause.wait(0.2)
            connection.sendall(b"0123456789")


async def test_a_slow_range_that_goes_on_is_not_cut_and_told_as_it_comes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server, 6))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1/AUTH_a"
        pool = pool_of(FixedIdentity(url, "token"), size=1, tries=1)
        buffer = Buffer(60)
        progress = []
        buffer.after = (0, lambda: progress.append(buffer.filled))
        async with contextlib.aclosing(pool):
            await pool.fetch(Request("GET", "c", "o"), "bytes 0-59/", buffer, 0.6)
        thread.join()

    assert bytes(buffer.view) == b"0123456789" * 6
    assert progress == [10, 20, 30, 40, 50, 60]


async def test_a_connection_given_up_in_a_body_is_not_used_again(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.inject(
        Fault(method="GET", target="/c/o", stall_after=1000, stall_seconds=30)
    )
    buffer = Buffer(len(BODY))

    with trio.move_on_after(0.5) as scope:
        await store.fetch_range(source, buffer, 30)

    assert scope.cancelled_caught
    assert (buffer.filled, buffer.is_abandoned) == (1000, True)
    assert pool._wires == []
    assert await fetch(store, source, len(BODY)) == BODY


async def test_an_error_closes_its_connection(faulty, store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    faulty.control.inject(Fault(method="GET", target="/c/o", status=503, body="x" * 100_000))

    with pytest.raises(errors.StoreUnavailableError):
        await fetch(store, source, len(BODY))

    assert pool._wires == []
    assert await fetch(store, source, len(BODY)) == BODY


async def test_a_body_that_was_read_gives_its_connection_back(store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))

    await fetch(store, source, 10)
    (wire,) = pool._wires
    await fetch(store, source, 10)

    assert pool._wires == [wire]


async def test_a_connection_that_was_closed_while_nobody_used_it_is_made_again(store, pool):
    info = await store.put_object("c", "o", Payload([BODY]), {})
    source = Stored("c", "o", info.etag, 0, len(BODY))
    await fetch(store, source, 10)
    pool._wires[0].abort()

    assert await fetch(store, source, len(BODY)) == BODY


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


async def test_an_unknown_method_is_refused(pool):
    with pytest.raises(errors.StoreRefusedError):
        await pool.request(Request("BREW", "c"))
