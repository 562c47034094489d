"""A cursor plans what to fetch ahead of one sequential reader."""

from __future__ import annotations

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE
from swiftimgfs.reading.prefetch import (
    BACKWARD,
    FIRST_WINDOW,
    FORWARD,
    HABIT,
    LARGEST_WINDOW,
    Cursor,
)

READ = 128 * 1024


def read(cursor: Cursor, end: int, size: int, *, has_waited: bool) -> bool:
    """Note a read by where it ends."""
    return cursor.advance(end - size, size, has_waited=has_waited)


def read_in_order(cursor: Cursor, count: int, *, largest=LARGEST_WINDOW, has_waited=True):
    """Return (end of the read, plan) of those of `count` reads that have something fetched."""
    plans = []
    for number in range(count):
        end = cursor.start + READ * (number + 1)
        if read(cursor, end, READ, has_waited=has_waited):
            plans.append((end, cursor.plan(largest)))
    return plans


def test_a_first_read_of_an_image_is_planned_with_a_little_behind_it():
    cursor = Cursor(0, 0)

    is_time = read(cursor, 4096, 4096, has_waited=False)

    assert is_time
    assert cursor.plan(LARGEST_WINDOW) == (0, 4096 + FIRST_WINDOW)


@pytest.mark.parametrize("reads", range(1, HABIT // READ))
def test_a_read_anywhere_else_plans_nothing_before_it_is_a_habit(reads):
    cursor = Cursor(1 << 30, 1 << 30)

    assert read_in_order(cursor, reads) == []
    assert not cursor.is_sequential


def test_a_habit_is_read_ahead_of_anywhere():
    cursor = Cursor(1 << 30, 1 << 30)

    plans = read_in_order(cursor, 10)

    assert plans[0][0] == (1 << 30) + HABIT
    assert plans[0][1][0] == (1 << 30) + HABIT - READ


@pytest.mark.parametrize("has_waited", [True, False])
def test_what_is_planned_joins_without_gap_or_overlap(has_waited):
    plans = [plan for _, plan in read_in_order(Cursor(0, 0), 2000, has_waited=has_waited)]

    assert len(plans) > 2
    for (offset, size), (following, _) in itertools.pairwise(plans):
        assert offset + size == following


def test_the_window_grows_to_its_limit_and_not_beyond_while_the_reader_waits():
    plans = read_in_order(Cursor(0, 0), 2000)

    ahead = [offset + size - end for end, (offset, size) in plans]

    assert ahead == sorted(ahead)
    assert ahead[-1] == LARGEST_WINDOW


def test_the_window_of_a_reader_that_never_waits_stays_as_it_is():
    plans = read_in_order(Cursor(0, 0), 2000, has_waited=False)

    assert {offset + size - end for end, (offset, size) in plans} == {FIRST_WINDOW}


def test_a_reader_that_goes_on_never_gets_ahead_of_what_is_planned():
    cursor = Cursor(0, 0)

    for number in range(500):
        end = READ * (number + 1)
        if read(cursor, end, READ, has_waited=number % 7 == 0):
            cursor.plan(LARGEST_WINDOW)
        assert cursor.planned >= end + cursor.window // 2


def test_a_grown_window_is_fetched_in_pieces_worth_a_get():
    plans = read_in_order(Cursor(0, 0), 2000)

    assert all(size >= PART_SIZE for _, (_, size) in plans[-3:])


@pytest.mark.parametrize("largest", [0, BLOCK_SIZE, 3 * BLOCK_SIZE])
def test_a_small_share_is_a_small_window(largest):
    plans = read_in_order(Cursor(0, 0), 200, largest=largest)

    assert plans
    for end, (offset, size) in plans:
        assert offset + size - end <= max(largest, BLOCK_SIZE)


def test_a_window_shrinks_with_its_share_and_grows_again_only_by_waiting():
    cursor = Cursor(0, 0)
    read_in_order(cursor, 2000)

    cursor.plan(BLOCK_SIZE)
    read(cursor, cursor.planned, READ, has_waited=False)
    cursor.plan(LARGEST_WINDOW)
    shrunk = cursor.window
    read(cursor, cursor.planned, READ, has_waited=True)

    assert (shrunk, cursor.window) == (BLOCK_SIZE, 2 * BLOCK_SIZE)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(
    st.lists(
        st.tuples(
            st.integers(-BACKWARD, FORWARD),
            st.integers(1, 1 << 20),
            st.booleans(),
            st.integers(0, LARGEST_WINDOW),
        ),
        max_size=40,
    )
)
def test_reordered_reads_never_have_the_same_bytes_planned_twice(steps):
    cursor = Cursor(0, 0)
    planned_up_to = 0

    for step, size, has_waited, largest in steps:
        offset = max(0, cursor.expected + step)
        assert cursor.continues_at(offset)
        if read(cursor, offset + size, size, has_waited=has_waited):
            start, length = cursor.plan(largest)
            assert start >= planned_up_to
            assert length >= 0
            assert start + length <= cursor.expected + max(cursor.window, start)
            planned_up_to = start + length


def test_reads_near_the_expected_place_belong_to_the_reader_and_others_do_not():
    place = 100 * BLOCK_SIZE
    cursor = Cursor(0, place)

    assert cursor.continues_at(place)
    assert cursor.continues_at(place + FORWARD)
    assert cursor.continues_at(place - BACKWARD)
    assert not cursor.continues_at(place + FORWARD + 1)
    assert not cursor.continues_at(place - BACKWARD - 1)


def test_a_read_backwards_does_not_turn_the_reader_around():
    cursor = Cursor(0, 0)
    read(cursor, 4 * READ, READ, has_waited=False)

    read(cursor, READ, READ, has_waited=False)

    assert cursor.expected == 4 * READ


def test_reads_by_chance_that_come_close_to_each_other_are_no_habit():
    cursor = Cursor(1 << 30, 1 << 30)

    for _ in range(20):
        offset = cursor.expected + FORWARD // 2
        assert cursor.continues_at(offset)
        assert not read(cursor, offset + 2 * READ, 2 * READ, has_waited=True)


def test_small_skips_are_a_habit():
    cursor = Cursor(1 << 30, 1 << 30)

    planned = [
        read(cursor, (1 << 30) + 2 * READ * number + READ, READ, has_waited=True)
        for number in range(20)
    ]

    assert planned[-1]


def test_the_beginning_of_an_image_is_no_habit_of_who_jumps_away_from_it():
    cursor = Cursor(0, 0)
    was_read_ahead = read(cursor, READ, READ, has_waited=True)

    is_read_ahead = read(cursor, FORWARD, READ, has_waited=True)

    assert (was_read_ahead, is_read_ahead) == (True, False)


def test_a_wait_for_what_nobody_planned_does_not_make_the_window_grow():
    cursor = Cursor(0, 0)
    read(cursor, READ, READ, has_waited=True)
    cursor.plan(LARGEST_WINDOW)
    at_first = cursor.window

    read(cursor, cursor.planned + READ, cursor.planned, has_waited=True)
    after_skip = cursor.window
    read(cursor, cursor.planned, READ, has_waited=True)

    assert (at_first, after_skip, cursor.window) == (
        FIRST_WINDOW,
        FIRST_WINDOW,
        2 * FIRST_WINDOW,
    )
