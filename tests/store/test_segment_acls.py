"""ACLs of a container of segments go with those of its images."""

from __future__ import annotations

import json

import pytest

from swiftimgfs import errors
from swiftimgfs.store.acls import Acls
from swiftimgfs.store.container_acls import change_acls
from swiftimgfs.store.segment_containers import segment_container_of
from tests.support.acls import READ, SEGMENTS_OF_OURS, acls_of, posts
from tests.support.fault_control import Fault


def put_slo(client, container, name, segments, content=b"segment"):
    rows = []
    for segment in segments:
        where, _, what = segment.partition("/")
        client.put_object(where, what, content)
        rows.append({"path": segment})
    client.put_object(container, name, json.dumps(rows), query_string="multipart-manifest=put")


@pytest.fixture
def neighbour(client):
    client.put_container("c_segments")
    return "c_segments"


async def test_there_is_no_segment_container(store):
    assert await segment_container_of(store, "c") is None


async def test_a_neighbour_that_we_made_for_segments_is_it_even_when_empty(client, store):
    client.put_container("c_segments", SEGMENTS_OF_OURS)

    assert await segment_container_of(store, "c") == "c_segments"


async def test_a_neighbour_with_segments_of_an_slo_is_it(client, store, neighbour):
    put_slo(client, "c", "image", [f"{neighbour}/1"])

    assert await segment_container_of(store, "c") == neighbour


async def test_a_neighbour_with_segments_of_a_dlo_is_it(client, store, neighbour):
    client.put_object(neighbour, "image/1", b"segment")
    client.put_object("c", "image", b"", headers={"X-Object-Manifest": f"{neighbour}/image/"})

    assert await segment_container_of(store, "c") == neighbour


async def test_the_one_manifest_that_tells_is_found_behind_many_others(
    client, store, neighbour
):
    client.put_container("elsewhere")
    for number in range(12):  # three pages of this Swift, and more than are asked at once
        put_slo(client, "c", f"image-{number:02d}", ["elsewhere/1"])
    put_slo(client, "c", "last", [f"{neighbour}/1"])

    assert await segment_container_of(store, "c") == neighbour


async def test_a_neighbour_of_that_name_with_images_of_its_own_is_not_it(
    client, store, neighbour
):
    client.put_object(neighbour, "ordinary", b"image")
    client.put_object("c", "ordinary", b"image")
    client.put_object("c", "empty", b"")

    assert await segment_container_of(store, "c") is None


async def test_a_neighbour_with_large_images_of_its_own_is_not_it(client, store, neighbour):
    client.put_object(neighbour, "image-00001", b"segment")
    manifest = {"X-Object-Manifest": f"{neighbour}/image-"}
    client.put_object(neighbour, "image", b"", headers=manifest)
    put_slo(client, neighbour, "slo", [f"{neighbour}/part"])

    assert await segment_container_of(store, "c") is None


async def test_a_neighbour_that_manifests_elsewhere_name_is_not_it(client, store, neighbour):
    client.put_container("elsewhere")
    put_slo(client, "elsewhere", "image", [f"{neighbour}/1"])

    assert await segment_container_of(store, "c") is None


async def test_a_container_whose_neighbour_could_have_no_name_has_none(client, store):
    longest = "n" * 256
    client.put_container(longest)

    assert await segment_container_of(store, longest) is None
    await change_acls(store, longest, {READ: "a:*"})
    assert acls_of(client, longest).read == "a:*"


async def test_the_segments_are_opened_before_the_images(faulty, client, store):
    client.put_container("c_segments", SEGMENTS_OF_OURS)
    faulty.control.clear()

    await change_acls(store, "c", {READ: "a:*"})

    assert posts(faulty) == [("c_segments", "a:*"), ("c", "a:*")]
    assert acls_of(client, "c_segments") == acls_of(client) == Acls("a:*", "")


async def test_where_the_segments_cannot_be_opened_the_images_are_not_listed_either(
    faulty, client, store
):
    client.put_container("c_segments", SEGMENTS_OF_OURS)
    faulty.control.inject(Fault(method="POST", target="/c_segments", status=403))

    with pytest.raises(errors.NotPermittedError, match="owner"):
        await change_acls(store, "c", {READ: "a:*"})

    assert acls_of(client) == Acls("", "")


async def test_what_cannot_be_opened_by_us_is_not_opened_halfway(client, others_store):
    client.put_container("c_segments", SEGMENTS_OF_OURS)

    with pytest.raises(errors.NotPermittedError, match="c_segments"):
        await change_acls(others_store, "c", {READ: "a:*"})

    assert acls_of(client, "c_segments") == acls_of(client) == Acls("", "")
