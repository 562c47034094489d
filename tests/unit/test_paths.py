"""Names in the store and what POSIX makes of them."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.errors import InvalidRequestError, NameTooLongError
from swiftimgfs.model.paths import (
    StorePath,
    check_storable,
    component_of,
    is_representable,
)
from swiftimgfs.store.cluster import Limits

COMPONENTS = st.text(max_size=40).filter(is_representable)


def test_the_root_is_the_account():
    root = StorePath()

    assert (root.is_root, root.is_container, root.prefix, str(root)) == (True, False, "", "/")


def test_a_container_is_a_child_of_the_root():
    path = StorePath().child("c")

    assert (path, path.is_container, path.is_root) == (StorePath("c"), True, False)
    assert (path.prefix, path.component, path.parent) == ("", "c", StorePath())


def test_a_name_lies_below_its_directories():
    path = StorePath("c").child("a").child("b")

    assert (path, path.prefix, path.component) == (StorePath("c", "a/b"), "a/b/", "b")
    assert (path.parent, path.parent.parent) == (StorePath("c", "a"), StorePath("c"))
    assert str(path) == "c/a/b"


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(st.lists(COMPONENTS, min_size=1, max_size=5))
def test_the_parent_of_a_child_is_the_directory_and_its_component_the_name(components):
    path = StorePath()

    for component in components:
        child = path.child(component)
        assert (child.parent, child.component) == (path, component)
        path = child


def test_a_name_of_the_kernel_is_utf_8():
    assert component_of("größe".encode()) == "größe"


def test_a_name_that_is_not_utf_8_makes_no_sense():
    with pytest.raises(InvalidRequestError):
        component_of(b"\xff")


def test_a_component_has_255_bytes_at_the_most():
    assert component_of(b"x" * 255) == "x" * 255
    with pytest.raises(NameTooLongError):
        component_of(b"x" * 256)


def test_a_directory_is_counted_with_the_slash_of_its_marker():
    limits = Limits(longest_name=10)

    check_storable(StorePath("c", "a" * 9), limits)
    with pytest.raises(NameTooLongError):
        check_storable(StorePath("c", "a" * 10), limits)


def test_a_container_is_counted_in_bytes():
    limits = Limits(longest_container_name=4)

    check_storable(StorePath("ää"), limits)
    with pytest.raises(NameTooLongError):
        check_storable(StorePath("äää"), limits)


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "a/b", "x" * 256, "ä" * 128, "\udcff"])
def test_what_posix_cannot_hold_is_not_representable(name):
    assert not is_representable(name)


@pytest.mark.parametrize(
    "name", ["a", "...", ".hidden", " ", "a b", "ä" * 127, "x" * 255, "%2F"]
)
def test_everything_else_is_representable(name):
    assert is_representable(name)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(COMPONENTS)
def test_what_is_representable_comes_back_from_the_kernel(component):
    assert component_of(component.encode()) == component
