"""Glance's view of the two headers that Swift has."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.store.acls import PUBLIC, Acls, set_acls
from swiftimgfs.store.container_acls import (
    lets_everybody_read,
    public_changes,
    reader_changes,
    writer_changes,
    writers_of,
)
from tests.support.acls import READ, WRITE

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
