"""What Glance's segments are called, and how a manifest of them reads."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiftimgfs.store.large_objects import Segment, parse_dlo_header
from swiftimgfs.writing.glance_layout import (
    MOST_SEGMENTS,
    glance_plan,
    manifest_header,
    numbers_of,
    prefix_of,
    segment_name,
)

IMAGE = "0a1b2c3d-0000-4000-8000-000000000000"
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1)


def rows(*lengths: int, names: list[str] | None = None) -> list[Segment]:
    names = names or [f"x-{n:05d}" for n in range(1, len(lengths) + 1)]
    pairs = zip(names, lengths, strict=True)
    return [Segment("c", name, length, "e", 0, length) for name, length in pairs]


@pytest.mark.parametrize("offset", [0, 1, 99, 100, 12_345_678_900])
def test_all_segments_have_one_size(offset):
    plan = glance_plan(100, 5000)

    assert plan.cell_of(offset) == (offset // 100 * 100, offset // 100 * 100 + 100)
    assert plan.most_segments == MOST_SEGMENTS


def test_no_segment_is_larger_than_swift_takes():
    assert glance_plan(100, 70).cell_of(71) == (70, 140)


@pytest.mark.parametrize(
    ("number", "name"), [(1, f"{IMAGE}-00001"), (99_999, f"{IMAGE}-99999")]
)
def test_segments_are_numbered_as_the_driver_numbers_them(number, name):
    assert segment_name(f"{IMAGE}-", number) == name


@pytest.mark.parametrize(
    ("lengths", "numbers"),
    [
        ((), []),
        ((30,), [1]),
        ((100, 100, 30), [1, 2, 3]),
        ((250, 100, 30), [1, 3, 4]),  # what is left of a plain image is one
        ((50, 50, 100), [1, 2, 3]),  # two begin in one place: counted
        ((150, 50, 100), [1, 2, 3]),
    ],
)
def test_rows_have_the_numbers_of_their_places(lengths, numbers):
    assert numbers_of(rows(*lengths), 100) == numbers


@given(st.lists(st.integers(1, 300), max_size=30))
def test_numbers_grow_whatever_the_lengths_are(lengths):
    numbers = numbers_of(rows(*lengths), 100)

    assert numbers == sorted(set(numbers))
    assert all(number >= 1 for number in numbers)


def test_rows_of_one_prefix_are_known():
    assert prefix_of(rows(1, 2)) == ("c", "x-")
    assert prefix_of(rows(1, 2, names=["d/a/00000001", "d/a/00000002"])) == ("c", "d/a/000")
    assert prefix_of([]) is None
    assert prefix_of(rows(1, 2, names=["x-00001", "y-00002"])) is None
    assert prefix_of(rows(1, names=["x-0000a"])) is None
    assert prefix_of(rows(1, 2, names=["x-00001", "x-abcde"])) is None


def test_an_images_manifest_is_written_as_the_driver_writes_it():
    assert manifest_header("glance", f"{IMAGE}-") == f"glance/{IMAGE}-"
    assert manifest_header("My images", "a b-") == "My images/a b-"


@pytest.mark.parametrize("name", ["a?b", "a&b", "100%", "a%20b", "ä", "a\nb"])
def test_what_swift_would_misread_is_quoted(name):
    header = manifest_header("c", f"{name}-")

    assert header.isascii()
    assert header.isprintable()
    assert not {"?", "&"} & set(header)
    assert parse_dlo_header(header) == ("c", f"{name}-")


@given(NAMES, NAMES)
def test_swift_unquotes_what_was_meant(container, prefix):
    assert unquote(manifest_header(container, prefix)) == f"{container}/{prefix}"
