"""Changing the ACLs of containers, and not believing Swift that it did."""

from __future__ import annotations

import contextlib
import errno
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.model import xattrs
from swiftimgfs.model.inodes import Inode, Kind
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.acls import PUBLIC, AclHeader, Acls, set_acls
from swiftimgfs.store.auth import FixedIdentity
from swiftimgfs.store.container_acls import (
    PROBE,
    change_acls,
    lets_everybody_read,
    public_changes,
    read_acls,
    reader_changes,
    writer_changes,
    writers_of,
)
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.store.segment_containers import segment_container_of
from tests.support.fault_control import Fault
from tests.support.pools import pool_of

READ, WRITE = AclHeader.READ, AclHeader.WRITE
SEGMENTS_OF_OURS = {"X-Container-Meta-Swiftimgfs": "segments"}


@contextlib.asynccontextmanager
async def store_of(identity):
    async with contextlib.aclosing(pool_of(identity)) as pool:
        store = ImageStore(pool)
        await store.connect()
        yield store


@pytest.fixture
async def others_store(faulty, client):
    """Of a user of another account, who may do all but what the owner alone may."""
    grant = json.dumps({"read-write": ["other:other"]})
    client.post_account({"X-Account-Access-Control": grant})
    with contextlib.closing(faulty.connect(user="other:other", key="other")) as other:
        token = other.get_auth()[1]
    async with store_of(FixedIdentity(faulty.swift.storage_url, token)) as made:
        faulty.control.clear()
        yield made
    client.post_account({"X-Account-Access-Control": ""})


def acls_of(client, container="c"):
    headers = client.head_container(container)
    return Acls(headers.get("x-container-read", ""), headers.get("x-container-write", ""))


def posts(faulty):
    return [
        (r.path.rpartition("/")[2], r.headers.get("x-container-read"))
        for r in faulty.control.journal()
        if r.method == "POST"
    ]


# ── setting and clearing ───────────────────────────────────────────────────────────────


async def test_what_was_set_is_what_swift_stores(client, store):
    await change_acls(store, "c", {READ: " .ref : *.example.com, demo:reader ,,"})

    assert acls_of(client) == Acls(".r:.example.com,demo:reader", "")
    assert await read_acls(store, "c") == acls_of(client)


async def test_a_header_that_is_not_named_stays(client, store):
    client.post_container("c", {"X-Container-Read": "a:*", "X-Container-Write": "b:*"})

    await change_acls(store, "c", {WRITE: "c:*"})

    assert acls_of(client) == Acls("a:*", "c:*")


async def test_nothing_is_sent_for_no_change(faulty, store):
    await change_acls(store, "c", {})

    assert faulty.control.journal() == []


@pytest.mark.parametrize(
    "changes", [{READ: ".r:"}, {READ: ".x:y"}, {WRITE: ".r:*"}, {READ: "a:*", WRITE: ".r:*"}]
)
async def test_what_swift_would_refuse_is_refused_before_anything_is_sent(
    faulty, store, changes
):
    with pytest.raises(errors.InvalidRequestError) as caught:
        await change_acls(store, "c", changes)

    assert caught.value.errno == errno.EINVAL
    assert faulty.control.journal() == []


@pytest.mark.parametrize("header", list(AclHeader))
async def test_one_acl_is_cleared_and_the_other_stays(client, store, header):
    client.post_container("c", {"X-Container-Read": "a:*", "X-Container-Write": "b:*"})

    await change_acls(store, "c", {header: ""})

    assert acls_of(client) == (Acls("", "b:*") if header is READ else Acls("a:*", ""))


async def test_who_sees_an_acl_is_the_owner_and_needs_no_probe(faulty, client, store):
    client.post_container("c", {"X-Container-Write": "b:*"})
    faulty.control.clear()

    await change_acls(store, "c", {READ: ""})

    assert posts(faulty) == [("c", "")]


@pytest.mark.parametrize("changes", [{READ: ""}, {WRITE: " , "}, {READ: "", WRITE: ""}])
async def test_clearing_what_is_not_set_leaves_nothing_of_the_probe(
    faulty, client, store, changes
):
    await change_acls(store, "c", changes)

    assert posts(faulty) == [("c", PROBE), ("c", "")]
    assert acls_of(client) == Acls("", "")


async def test_a_container_that_is_not_there(store):
    with pytest.raises(errors.NotFoundError):
        await change_acls(store, "none", {READ: "a:*"})


# ── somebody else's account ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes", [{READ: "x:*"}, {WRITE: "x:*"}, {READ: ""}, {WRITE: ""}, {READ: "", WRITE: ""}]
)
@pytest.mark.parametrize("present", [Acls("a:*", "b:*"), Acls("", "")])
async def test_what_swift_drops_silently_is_not_permitted(
    client, others_store, changes, present
):
    acls = {"X-Container-Read": present.read, "X-Container-Write": present.write}
    client.post_container("c", acls)

    with pytest.raises(errors.NotPermittedError, match="Swift dropped the ACL") as caught:
        await change_acls(others_store, "c", changes)

    assert caught.value.errno == errno.EPERM
    assert acls_of(client) == present


async def test_nobody_but_the_owner_ends_being_public(client, others_store):
    client.post_container("c", {"X-Container-Read": PUBLIC})
    present = await read_acls(others_store, "c")

    with pytest.raises(errors.NotPermittedError):
        await change_acls(others_store, "c", public_changes(present, (), is_public=False))

    assert acls_of(client).read == PUBLIC


async def test_who_may_not_even_ask_is_denied(faulty, client):
    swift = faulty.swift
    with contextlib.closing(faulty.connect(user="demo:reader", key="reader")) as reader:
        token = reader.get_auth()[1]
    identity = FixedIdentity(swift.storage_url, token)
    async with contextlib.aclosing(pool_of(identity, tries=1)) as pool:
        with pytest.raises(errors.AccessDeniedError):
            await change_acls(ImageStore(pool), "c", {READ: "x:*"})


# ── the container of the segments ──────────────────────────────────────────────────────


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


# ── Glance's view of the two headers ───────────────────────────────────────────────────

NONE = Acls("", "")
tenants = st.lists(st.sampled_from(["t1", "t2", "admin", "root"]), max_size=4).map(
    lambda some: tuple(dict.fromkeys(some))
)


def applied(present, changes):
    return Acls(changes.get(READ, present.read), changes.get(WRITE, present.write))


@hypothesis.given(tenants, tenants)
def test_from_no_acls_everything_is_as_glance_s_driver_sets_it(some, admins):
    public = public_changes(NONE, admins, is_public=True)
    ended = public_changes(NONE, admins, is_public=False)
    read = reader_changes(NONE, admins, some)
    write = writer_changes(admins, some)

    assert applied(NONE, public) == set_acls(public=True, admin_tenants=admins)
    assert applied(NONE, ended) == set_acls(admin_tenants=admins)
    assert applied(NONE, read) == set_acls(read_tenants=some, admin_tenants=admins)
    assert applied(NONE, write) == set_acls(write_tenants=some, admin_tenants=admins)


@hypothesis.given(tenants, tenants)
def test_the_writers_that_are_told_are_those_that_were_set(some, admins):
    acls = applied(NONE, writer_changes(admins, some))

    assert writers_of(acls, admins) == some
    assert applied(acls, writer_changes(admins, writers_of(acls, admins))) == acls


@hypothesis.given(tenants, tenants, tenants, st.permutations(range(4)))
def test_copied_in_any_order_the_attributes_make_the_same_acls(readers, writers, admins, order):
    source = set_acls(read_tenants=readers, write_tenants=writers, admin_tenants=admins)
    copy = NONE

    steps = [
        lambda: {READ: source.read},
        lambda: {WRITE: source.write},
        lambda: reader_changes(copy, admins, readers) if readers else {},
        lambda: writer_changes(admins, writers_of(source, admins)) if writers else {},
    ]
    for index in order:
        copy = applied(copy, steps[index]())

    assert copy == source


@pytest.mark.parametrize(
    ("present", "changes"),
    [
        (Acls("t1:*", "w:*"), {READ: PUBLIC, WRITE: "w:*,admin:*,root:*"}),
        (Acls("t1:*", "admin:*,w:*"), {READ: PUBLIC, WRITE: "admin:*,w:*,root:*"}),
        (Acls("t1:*", "root:*,admin:*"), {READ: PUBLIC}),
    ],
)
def test_admin_tenants_that_are_missing_are_added_behind_the_others(present, changes):
    assert public_changes(present, ("admin", "root"), is_public=True) == changes


@pytest.mark.parametrize(
    ("present", "left"),
    [
        (PUBLIC, ""),
        (".r:*", ""),
        (".r:*,.rlistings", ""),
        ("*:*,.rlistings", ""),
        ("*:*,foo:*", "foo:*"),
        ("foo:*,*:*", "foo:*"),
        (".r:*,.r:.example.com,.rlistings", ".r:.example.com,.rlistings"),
    ],
)
def test_ending_public_takes_out_what_lets_everybody_in_and_nothing_else(present, left):
    acls = Acls(present, "")

    assert lets_everybody_read(acls)
    assert public_changes(acls, (), is_public=False) == {READ: left}
    assert not lets_everybody_read(Acls(left, ""))


def test_ending_public_leaves_an_acl_for_others_alone():
    assert public_changes(Acls("t1:*", ""), (), is_public=False) == {}


# ── as attributes, with admin tenants ──────────────────────────────────────────────────


@pytest.fixture
def subject(store):
    def make():
        inode = Inode(1, None, "", Kind.DIRECTORY, root=StorePath("c"))
        return xattrs.Subject(inode, store, ("admin", "root"))

    return make


@pytest.mark.parametrize(
    ("name", "value", "acls"),
    [
        ("public", b"1", set_acls(public=True, admin_tenants=("admin", "root"))),
        ("public", b"0", set_acls(admin_tenants=("admin", "root"))),
        (
            "read_tenants",
            b"t1,t2",
            set_acls(read_tenants=("t1", "t2"), admin_tenants=("admin", "root")),
        ),
        (
            "write_tenants",
            b"t1",
            set_acls(write_tenants=("t1",), admin_tenants=("admin", "root")),
        ),
    ],
)
async def test_an_attribute_of_glance_s_lets_the_admin_tenants_write(
    client, subject, name, value, acls
):
    await xattrs.set_value(subject(), f"user.swift.acl.{name}", value)

    assert acls_of(client) == acls
    assert await xattrs.value_of(subject(), f"user.swift.acl.{name}") == value


async def test_an_attribute_of_swift_s_is_set_as_it_is(client, subject):
    await xattrs.set_value(subject(), "user.swift.acl.write", b"t1:*")

    assert acls_of(client) == Acls("", "t1:*")


async def test_without_write_tenants_the_admin_tenants_stay(client, subject):
    await xattrs.set_value(subject(), "user.swift.acl.write_tenants", b"t1")
    await xattrs.remove(subject(), "user.swift.acl.write_tenants")

    assert acls_of(client) == set_acls(admin_tenants=("admin", "root"))
    with pytest.raises(errors.NoSuchAttributeError):
        await xattrs.value_of(subject(), "user.swift.acl.write_tenants")


async def test_all_names_of_a_container_cost_one_request(faulty, subject):
    await xattrs.names_of(subject())

    assert [r.method for r in faulty.control.journal()] == ["HEAD"]


@pytest.mark.parametrize("value", [b"\xff", b"a:*\n", b"a\0", b"a\x7f"])
async def test_what_is_no_line_of_text_is_invalid(faulty, subject, value):
    with pytest.raises(errors.InvalidRequestError):
        await xattrs.set_value(subject(), "user.swift.acl.read", value)

    assert faulty.control.journal() == []
