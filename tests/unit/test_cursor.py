"""A cursor plans what to fetch ahead of one sequential reader."""

from __future__ import annotations

import itertools

import hypothesis
from hypothesis import strategies as st

from swiftimgfs.reading.block_cache import BLOCK_SIZE
from swiftimgfs.reading.prefetch import FETCH_BLOCKS, LARGEST_WINDOW, REORDERED, Cursor

READ = 128 * 1024


def read_in_order(cursor: Cursor, count: int, largest: int = LARGEST_WINDOW):
    """Return (end of the read, what it had fetched) of `count` reads from the start."""
    ends = (cursor.start + READ * (number + 1) for number in range(count))
    return [(end, cursor.advance(end, largest)) for end in ends]


def test_a_first_read_plans_one_block_ahead():
    offset, size = Cursor(0, 0).advance(4096, LARGEST_WINDOW)

    assert (offset, size) == (4096, BLOCK_SIZE)


def test_what_is_planned_joins_without_gap_or_overlap():
    cursor = Cursor(0, 0)

    planned = [plan for _, plan in read_in_order(cursor, 500) if plan[1]]

    assert planned
    for (offset, size), (following, _) in itertools.pairwise(planned):
        assert offset + size == following


def test_the_window_grows_to_its_limit_and_not_beyond():
    cursor = Cursor(0, 0)

    ahead = []
    for end, (offset, size) in read_in_order(cursor, 1000):
        ahead.append(offset + size - end)

    assert max(ahead) <= LARGEST_WINDOW
    assert max(ahead[-100:]) >= LARGEST_WINDOW - FETCH_BLOCKS * BLOCK_SIZE


def test_a_reader_that_goes_on_is_never_ahead_of_what_is_planned():
    cursor = Cursor(0, 0)

    for end, (offset, size) in read_in_order(cursor, 500):
        assert offset + size >= end


def test_a_grown_window_is_fetched_in_pieces_worth_a_get():
    cursor = Cursor(0, 0)

    sizes = [size for _, (_, size) in read_in_order(cursor, 1000) if size]

    assert all(size >= FETCH_BLOCKS * BLOCK_SIZE for size in sizes[5:])


def test_a_small_cache_has_a_small_window():
    cursor = Cursor(0, 0)

    for end, (offset, size) in read_in_order(cursor, 200, largest=2 * BLOCK_SIZE):
        assert offset + size - end <= 2 * BLOCK_SIZE


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(
    st.lists(
        st.tuples(st.integers(-REORDERED, REORDERED), st.integers(1, 1 << 20)), max_size=40
    )
)
def test_reordered_reads_never_have_the_same_bytes_planned_twice(steps):
    cursor = Cursor(0, 0)
    planned_up_to = 0

    for step, size in steps:
        offset = max(0, cursor.expected + step)
        start, length = cursor.advance(offset + size, LARGEST_WINDOW)
        if length:
            assert start >= planned_up_to
            planned_up_to = start + length
        assert length >= 0


def test_reads_near_the_expected_place_belong_to_the_reader_and_others_do_not():
    cursor = Cursor(0, 100 * BLOCK_SIZE)

    assert cursor.continues_at(100 * BLOCK_SIZE)
    assert cursor.continues_at(100 * BLOCK_SIZE + REORDERED)
    assert cursor.continues_at(100 * BLOCK_SIZE - REORDERED)
    assert not cursor.continues_at(100 * BLOCK_SIZE + REORDERED + 1)
    assert not cursor.continues_at(0)
