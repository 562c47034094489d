"""The account and who we are, its containers, and listings of several pages."""

from __future__ import annotations

import contextlib

import pytest

from swiftimgfs import errors
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.store.request import Payload
from tests.support.fault_control import Fault
from tests.support.pools import owner_of, pool_of
from tests.support.store_reads import BODY, md5, requests

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
