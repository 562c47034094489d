"""Sizes and names of segments."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.writing.segmenter import LARGEST_SEGMENT, SegmentPlan, segments_prefix

MIB = 1024**2
GIB = 1024**3
UPLOAD = "1795403100.123456-0badcafe"
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1024)


def capacity(plan: SegmentPlan) -> int:
    return sum(plan.size_of(index) for index in range(plan.most_segments))


def test_the_first_half_of_the_segments_has_the_size_asked_for():
    plan = SegmentPlan(64 * MIB)

    assert {plan.size_of(index) for index in range(500)} == {64 * MIB}
    assert plan.size_of(500) == 128 * MIB


def test_an_image_of_200_gib_fits_the_default_plan():
    assert capacity(SegmentPlan(64 * MIB)) >= 200 * GIB


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
    st.integers(1, 10 * GIB), st.integers(1, 1200), st.integers(1, LARGEST_SEGMENT)
)
def test_no_segment_of_a_plan_is_larger_than_the_limit_or_smaller_than_the_one_before(
    segment_size, most, largest
):
    plan = SegmentPlan(segment_size, most, largest)

    sizes = [plan.size_of(index) for index in range(most)]

    assert all(0 < size <= largest for size in sizes)
    assert sizes == sorted(sizes)
    assert sizes[0] == min(segment_size, largest)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(NAMES, st.integers(1, LARGEST_SEGMENT), st.integers(256, 1024))
def test_a_segments_name_is_never_longer_than_swift_allows(name, segment_size, longest):
    prefix = segments_prefix(name, UPLOAD, segment_size, longest)

    assert len(f"{prefix}{999:08d}".encode()) <= longest
    assert prefix.endswith(f"/slo/{UPLOAD}/{segment_size}/")


def test_a_name_that_fits_is_kept_as_the_swift_cli_does():
    assert segments_prefix("a/b", "U", 7, 1024) == "a/b/slo/U/7/"


def test_a_name_is_kept_up_to_the_very_limit():
    longest = len("name/slo/U/7/00000000")

    fitting = segments_prefix("name", "U", 7, longest)
    too_long = segments_prefix("names", "U", 7, longest)

    assert fitting.startswith("name/")
    assert not too_long.startswith("names/")


def test_the_limit_counts_bytes_and_not_characters():
    prefix = segments_prefix("ä" * 500, UPLOAD, 7, 1024)

    assert not prefix.startswith("ä")


@pytest.mark.parametrize("tail", ["a", "b"])
def test_two_long_names_that_differ_at_the_end_do_not_share_a_prefix(tail):
    prefix = segments_prefix("x" * 1023 + tail, UPLOAD, 7, 1024)

    other = segments_prefix("x" * 1023 + "c", UPLOAD, 7, 1024)
    assert prefix != other


@pytest.mark.parametrize(
    ("rows", "most"),
    [(2, 1000), (500, 1000), (501, 2000), (1501, 3000), (8000, 9000), (20_000, 9000)],
)
def test_there_are_manifests_enough_for_half_of_one_to_be_free(rows, most):
    assert SegmentPlan(64 * MIB).rows_for(rows) == most
