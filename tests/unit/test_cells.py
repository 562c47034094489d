"""Which part of an image is uploaded as a whole, and in what rows."""

from __future__ import annotations

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.layout import Extent, Inline, Layout, Source, Stored, Zeros
from swiftimgfs.writing.cells import (
    CellTable,
    RowSizes,
    row_sizes,
    rows_of_hole,
    runs_of,
    short_ranges,
    shortest_hole,
    size_of_zeros,
)
from swiftimgfs.writing.extents import ExtentMap
from swiftimgfs.writing.segmenter import SHORT_ROWS, SegmentPlan

MIB = 1024**2
SEGMENT = 64 * MIB
PLAN = SegmentPlan(SEGMENT)


def stored(name: str, size: int) -> tuple[int, Source]:
    return size, Stored("c", name, name, 0, size)


def touched(image: ExtentMap, offset: int) -> tuple[int, int]:
    cell = CellTable(PLAN).touch(image, offset)
    return cell.start, cell.end


def test_a_cell_over_a_stored_object_is_that_object():
    image = ExtentMap([stored("a", SEGMENT), stored("b", 10 * MIB), stored("c", 70 * MIB)])

    assert touched(image, 5) == (0, SEGMENT)
    assert touched(image, SEGMENT) == (SEGMENT, 74 * MIB)
    assert touched(image, 100 * MIB) == (74 * MIB, 144 * MIB)


def test_a_cell_over_a_giant_object_is_a_piece_of_it():
    image = ExtentMap([stored("a", 1000 * MIB)])

    assert touched(image, 130 * MIB) == (128 * MIB, 192 * MIB)
    assert touched(image, 999 * MIB) == (960 * MIB, 1000 * MIB)


def test_no_piece_of_a_giant_object_leaves_a_crumb():
    image = ExtentMap([stored("a", 128 * MIB + 1000)])

    assert touched(image, 70 * MIB) == (SEGMENT, 128 * MIB + 1000)


def test_a_cell_over_zeros_is_one_of_the_plan_that_they_hold():
    image = ExtentMap([stored("a", 70 * MIB), (1000 * MIB, Zeros()), stored("b", SEGMENT)])

    assert touched(image, 80 * MIB) == (70 * MIB, 128 * MIB)
    assert touched(image, 200 * MIB) == (192 * MIB, 256 * MIB)
    assert touched(image, 1069 * MIB) == (1024 * MIB, 1070 * MIB)


def test_what_is_appended_begins_a_cell_at_the_end_or_takes_a_small_end_with_it():
    assert touched(ExtentMap([stored("a", SEGMENT)]), SEGMENT) == (SEGMENT, 2 * SEGMENT)
    assert touched(ExtentMap([stored("a", 20 * MIB)]), 20 * MIB) == (20 * MIB, SEGMENT)
    assert touched(ExtentMap([stored("a", 2 * MIB)]), 2 * MIB) == (0, SEGMENT)


def test_cells_never_overlap_and_a_byte_in_one_is_found():
    image = ExtentMap([stored("a", 10 * MIB), (500 * MIB, Zeros())])
    cells = CellTable(PLAN)

    for offset in [100 * MIB, 20 * MIB, 5, 9 * MIB, 64 * MIB, 127 * MIB, 400 * MIB]:
        cell = cells.touch(image, offset)
        assert cell.start <= offset < cell.end
        assert cells.touch(image, offset) is cell

    assert all(a.end <= b.start for a, b in itertools.pairwise(cells))


def test_a_fixed_grid_is_kept_whatever_is_stored():
    image = ExtentMap([stored("a", 10 * MIB), stored("b", 500 * MIB)])

    cell = CellTable(PLAN, is_fixed=True).touch(image, 5)

    assert (cell.start, cell.end) == (0, SEGMENT)


def test_truncating_forgets_cells_beyond_and_marks_the_one_that_was_cut():
    image = ExtentMap([(500 * MIB, Zeros())])
    cells = CellTable(PLAN)
    first, second = cells.touch(image, 0), cells.touch(image, 100 * MIB)

    cells.truncate(10 * MIB)

    assert (first in cells, second in cells) == (True, False)
    assert (first.changes, second.changes) == (1, 1)


PIECES = st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=12)


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(PIECES, st.integers(1, 30), st.integers(0, 100))
def test_runs_are_the_whole_cell_and_name_no_byte_zero_that_is_none(pieces, shortest, start):
    image = ExtentMap([(start, Inline(memoryview(bytes(start))))] if start else [])
    for size, is_zero in pieces:
        source = Zeros() if is_zero else Inline(memoryview(b"x" * size))
        image.replace(image.size, size, [(size, source)])
    extents = image.pieces(start, image.size)

    runs = runs_of(extents, RowSizes(shortest, shortest))

    assert [run.start for run in runs] == [start, *(run.end for run in runs[:-1])]
    assert runs[-1].end == image.size
    for run in runs:
        assert sum(extent.size for extent in run.extents) == run.size > 0
        if run.is_zero:
            assert all(isinstance(extent.source, Zeros) for extent in run.extents)


def test_data_among_zeros_is_stored_alone_but_not_in_crumbs():
    data = Inline(memoryview(b"x" * 10))
    extents = Layout([(1000, Zeros()), (10, data), (2000, Zeros())]).extents

    runs = runs_of(list(extents), RowSizes(100, 100))

    assert [(run.size, run.is_zero) for run in runs] == [
        (1000, True),
        (100, False),
        (1910, True),
    ]


def test_data_at_the_end_of_a_cell_is_stored_with_zeros_before_it():
    data = Inline(memoryview(b"x" * 10))
    extents = Layout([(1000, Zeros()), (10, data)]).extents

    runs = runs_of(list(extents), RowSizes(100, 100))

    assert [(run.size, run.is_zero) for run in runs] == [(910, True), (100, False)]


def pieces_of(*sizes: int) -> ExtentMap:
    """Return an image with pieces of these sizes in its first segments, 2 MiB of zeros each."""
    image = ExtentMap()
    for size in sizes:
        image.replace(image.size, size, [(size, Inline(memoryview(bytes(size))))])
        image.truncate(image.size + 2 * MIB)
    return image


def stored_sizes(image: ExtentMap) -> list[int]:
    """Return how large what is stored of a cell with all of an image is."""
    runs = runs_of(list(image.extents), row_sizes(image.extents, PLAN))
    return [run.size for run in runs if not run.is_zero]


def test_a_few_small_pieces_are_stored_without_any_zeros():
    sizes = [4096 * (1 + number) for number in range(SHORT_ROWS)]

    assert stored_sizes(pieces_of(*sizes)) == sizes


def test_of_many_small_pieces_the_smallest_are_stored_without_zeros():
    large = [100_000, 200_000, 300_000]
    small = [4096] * SHORT_ROWS

    assert stored_sizes(pieces_of(*large, *small)) == [MIB] * 3 + small


def test_a_large_image_may_have_more_small_rows():
    image = pieces_of(*[4096] * 2 * SHORT_ROWS)
    image.truncate(SHORT_ROWS * SEGMENT)

    assert stored_sizes(image) == [4096] * 2 * SHORT_ROWS


def test_what_is_stored_leaves_the_rest_what_it_was_to_be():
    image = pieces_of(*[4096] * 2 * SHORT_ROWS)
    expected = stored_sizes(image)

    for extent in tuple(image.extents):
        if isinstance(extent.source, Zeros):
            continue
        start = extent.offset
        cell = image.pieces(start, start + 2 * MIB)
        run = runs_of(cell, row_sizes(image.extents, PLAN))[0]
        image.replace(start, run.size, [stored(f"at {start}", run.size)])

    assert [e.size for e in image.extents if isinstance(e.source, Stored)] == expected


def test_short_zeros_are_stored_with_what_is_beside_them():
    data = Inline(memoryview(b"x" * 10))
    extents = Layout([(10, data), (99, Zeros()), (10, data)]).extents

    assert [run.is_zero for run in runs_of(list(extents), RowSizes(100, 100))] == [False]


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(PIECES, st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_no_run_of_a_cell_is_below_what_swift_takes(pieces, shortest, piece, smallest):
    hypothesis.assume(shortest >= smallest)
    image = ExtentMap()
    for size, is_zero in pieces:
        source = Zeros() if is_zero else Inline(memoryview(b"x" * size))
        image.replace(image.size, size, [(size, source)])
    hypothesis.assume(image.size >= smallest)

    runs = runs_of(image.pieces(0, image.size), RowSizes(shortest, piece, smallest))

    assert min(run.size for run in runs) >= smallest
    assert sum(run.size for run in runs) == image.size


@hypothesis.given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(1, 30))
def test_rows_that_are_too_short_are_stored_with_what_follows_them(sizes, smallest):
    image = ExtentMap(stored(str(number), size) for number, size in enumerate(sizes))

    ranges = short_ranges(image.extents, smallest)

    for start, end in ranges:
        image.replace(start, end - start, [stored(f"new {start}", end - start)])
    assert image.size == sum(sizes)
    assert all(extent.size >= smallest for extent in image.extents[:-1])
    assert all(end - start < 3 * smallest for start, end in ranges)
    is_short = any(size < smallest for size in sizes[:-1])
    assert bool(ranges) is is_short


def test_nothing_has_no_runs():
    empty: list[Extent] = []

    assert runs_of(empty, RowSizes(10, 10)) == []


@hypothesis.given(
    st.lists(st.integers(1, 10**12), min_size=1, max_size=20), st.integers(1, 1000)
)
def test_holes_of_any_size_fit_into_the_rows_that_are_left(holes, rows):
    size = size_of_zeros(holes, rows)

    assert sum(-(-hole // size) for hole in holes) <= max(rows, len(holes))


@hypothesis.given(st.lists(st.integers(MIB, 10**12), min_size=1, max_size=20))
def test_no_row_of_a_hole_is_one_that_swift_gives_slowly(holes):
    size = size_of_zeros(holes, 1000)

    assert min(min(rows_of_hole(hole, size)) for hole in holes) >= MIB


@pytest.mark.parametrize(
    ("hole", "rows", "size"),
    [(10 * 1024 * MIB, 980, 11 * MIB), (MIB // 2, 900, MIB // 2), (5 * MIB, 900, MIB)],
)
def test_an_object_of_zeros_is_as_small_as_the_manifest_lets_it_be(hole, rows, size):
    assert size_of_zeros([hole], rows) == size


def holes_of(*sizes: int) -> list[Extent]:
    """Return an image with holes of these sizes, and a byte after each."""
    layout: list[tuple[int, Source]] = []
    for size in sizes:
        layout += [(size, Zeros()), (1, Inline(memoryview(b"x")))]
    return list(ExtentMap(layout).extents)


@pytest.mark.parametrize(
    ("sizes", "most_rows", "shortest"),
    [
        ([10, 20, 30], 6, 10),  # two rows for each
        ([10, 20, 30], 5, 20),
        ([10, 20, 80], 2, 40),
        ([99, 99, 99], 2, 64),  # those that fill all of a segment are named in any case
        ([], 2, 10),
    ],
)
def test_the_more_holes_an_image_has_the_larger_are_those_that_are_named(
    sizes, most_rows, shortest
):
    assert shortest_hole(holes_of(*sizes), 10, 64, most_rows) == shortest


@hypothesis.given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_the_rows_of_a_hole_are_all_of_it_and_none_is_too_long(hole, zeros):
    hypothesis.assume(hole / zeros < 2000)

    rows = rows_of_hole(hole, zeros)

    assert sum(rows) == hole
    assert max(rows) <= zeros
    assert max(rows) - min(rows) <= 1
