"""ACLs of containers, set and cleared, and as the attributes that lead to them."""

from __future__ import annotations

import contextlib
import errno

import pytest

from swiftimgfs import errors
from swiftimgfs.model import xattrs
from swiftimgfs.model.inodes import Inode, Kind
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.acls import PUBLIC, AclHeader, Acls, set_acls
from swiftimgfs.store.auth import FixedIdentity
from swiftimgfs.store.container_acls import PROBE, change_acls, public_changes, read_acls
from swiftimgfs.store.image_store import ImageStore
from tests.support.acls import READ, WRITE, acls_of, posts
from tests.support.pools import pool_of

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
