"""Inodes stay while the kernel or a handle needs them, and no longer."""

from __future__ import annotations

import pytest

from swiftimgfs.errors import NotFoundError
from swiftimgfs.model.inodes import ROOT_NUMBER, InodeTable, Kind
from swiftimgfs.model.paths import StorePath


@pytest.fixture
def table():
    return InodeTable(StorePath())


def looked_up(table, name, kind=Kind.FILE, parent=None):
    inode = table.obtain(parent or table.root, name, kind)
    table.remember(inode)
    return inode


def test_the_root_is_there_and_stays_whatever_the_kernel_forgets(table):
    table.forget(ROOT_NUMBER, 1000)

    assert table[ROOT_NUMBER] is table.root
    assert table.root.path == StorePath()


def test_a_mount_of_one_container_has_it_as_its_root():
    table = InodeTable(StorePath("c"))

    inode = looked_up(table, "a")

    assert inode.path == StorePath("c", "a")


def test_a_name_keeps_its_inode_while_the_kernel_knows_it(table):
    first = looked_up(table, "a")
    second = looked_up(table, "a")

    assert first is second
    assert (first.lookups, table[first.number]) == (2, first)


def test_two_names_have_two_numbers(table):
    assert looked_up(table, "a").number != looked_up(table, "b").number


def test_an_inode_goes_when_every_lookup_was_forgotten(table):
    inode = looked_up(table, "a")
    table.remember(inode)

    table.forget(inode.number, 1)
    is_kept = table[inode.number] is inode
    table.forget(inode.number, 1)

    assert is_kept
    assert table.find(table.root, "a") is None
    with pytest.raises(NotFoundError):
        table[inode.number]


def test_an_inode_goes_when_all_lookups_are_forgotten_at_once(table):
    inode = looked_up(table, "a")
    for _ in range(4):
        table.remember(inode)

    table.forget(inode.number, 5)

    assert len(table) == 1


def test_an_open_inode_stays_though_the_kernel_forgot_it(table):
    inode = looked_up(table, "a")
    inode.opens = 1

    table.forget(inode.number, 1)
    is_kept = table.find(table.root, "a") is inode
    inode.opens = 0
    table.drop_if_unused(inode)

    assert is_kept
    assert len(table) == 1


def test_forgetting_what_is_not_known_is_nothing(table):
    table.forget(4711, 1)

    assert len(table) == 1


def test_a_forgotten_number_is_not_given_again(table):
    gone = looked_up(table, "a")
    table.forget(gone.number, 1)

    assert looked_up(table, "a").number != gone.number


def test_an_unlinked_inode_has_no_name_but_its_number_while_it_is_known(table):
    inode = looked_up(table, "a")

    table.unlink(inode)

    assert inode.is_unlinked
    assert table.find(table.root, "a") is None
    assert table[inode.number] is inode


def test_a_new_file_of_an_unlinked_name_is_another_inode(table):
    old = looked_up(table, "a")
    table.unlink(old)

    new = looked_up(table, "a")
    table.forget(old.number, 1)  # must not take the new one's name with it

    assert new is not old
    assert table.find(table.root, "a") is new


def test_a_file_that_became_a_directory_is_another_inode(table):
    file = looked_up(table, "a")

    directory = looked_up(table, "a", Kind.DIRECTORY)

    assert directory is not file
    assert file.is_unlinked
    assert table.find(table.root, "a") is directory


def test_a_renamed_inode_has_the_new_name_only(table):
    inode = looked_up(table, "a")
    directory = looked_up(table, "d", Kind.DIRECTORY)

    table.rename(inode, directory, "b")

    assert table.find(table.root, "a") is None
    assert table.find(directory, "b") is inode
    assert inode.path == StorePath("d", "b")


def test_a_rename_unlinks_what_had_the_name(table):
    inode, replaced = looked_up(table, "a"), looked_up(table, "b")

    table.rename(inode, table.root, "b")
    table.forget(replaced.number, 1)

    assert replaced.is_unlinked
    assert not inode.is_unlinked
    assert table.find(table.root, "b") is inode


def test_a_rename_to_the_same_name_changes_nothing(table):
    inode = looked_up(table, "a")

    table.rename(inode, table.root, "a")

    assert not inode.is_unlinked
    assert table.find(table.root, "a") is inode


def test_renaming_a_directory_renames_everything_below_it(table):
    container = looked_up(table, "c", Kind.DIRECTORY)
    directory = looked_up(table, "d", Kind.DIRECTORY, container)
    file = looked_up(table, "f", parent=directory)

    table.rename(directory, container, "e")

    assert file.path == StorePath("c", "e/f")
    assert table.find(directory, "f") is file


def test_an_inode_is_where_it_was_found_when_its_parent_does_not_lead_there(table):
    path = StorePath("glance_ab", "abc")

    inode = table.obtain(table.root, "abc", Kind.FILE, path)

    assert inode.path == path
    assert table.obtain(table.root, "abc", Kind.FILE, path) is inode


def test_a_place_that_follows_from_the_parent_is_not_kept(table):
    container = looked_up(table, "c", Kind.DIRECTORY)

    inode = table.obtain(container, "a", Kind.FILE, StorePath("c", "a"))

    assert inode.place is None
    assert table.obtain(container, "a", Kind.FILE) is inode


def test_a_name_that_is_at_another_place_now_is_another_inode(table):
    first = table.obtain(table.root, "abc", Kind.FILE, StorePath("glance", "abc"))

    second = table.obtain(table.root, "abc", Kind.FILE, StorePath("glance_ab", "abc"))

    assert second is not first
    assert first.is_unlinked
    assert table.find(table.root, "abc") is second


def test_a_rename_moves_an_inode_to_its_new_place(table):
    inode = table.obtain(table.root, "abc", Kind.FILE, StorePath("glance_ab", "abc"))

    table.rename(inode, table.root, "cde", StorePath("glance_cd", "cde"))
    renamed = inode.path
    table.rename(inode, looked_up(table, "d", Kind.DIRECTORY), "b")

    assert renamed == StorePath("glance_cd", "cde")
    assert inode.path == StorePath("d", "b")
