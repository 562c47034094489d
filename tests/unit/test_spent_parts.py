"""Parts that were read to their end make room for the next ones."""

from __future__ import annotations

import pytest

from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, BlockCache
from tests.support.parts import KEY, add_filled, add_part, held, need_no_more, need_part


async def test_the_buffers_of_all_but_the_latest_two_parts_that_were_read_are_used_again():
    cache = BlockCache(100 * PART_SIZE)
    views = []

    for number in range(6):
        part = add_part(cache, number)
        views.append(id(part.view))
        cache.read_out(part)

    assert [views.index(view) for view in views] == [0, 1, 2, 0, 1, 2]
    assert cache.held == 3 * PART_SIZE
    kept = [cache.get(KEY, number * PART_SIZE) is not None for number in range(6)]
    assert kept == [False, False, False, True, True, True]


async def test_a_part_that_is_not_read_to_its_end_stays():
    cache = BlockCache(100 * PART_SIZE)
    unread = [add_part(cache, number) for number in range(3)]
    for number in range(3, 9):
        cache.read_out(add_part(cache, number))

    assert [cache.get(KEY, part.start) for part in unread] == unread


async def test_a_block_and_the_short_end_of_an_object_are_never_spent():
    cache = BlockCache(100 * PART_SIZE)
    for number in range(6):
        cache.read_out(add_filled(cache, number))
    for number in range(1, 6):
        cache.read_out(add_part(cache, number))

    assert held(cache)[:6] == list(range(6))


async def test_blocks_read_by_chance_survive_a_large_image_that_is_read_in_order():
    cache = BlockCache(8 * PART_SIZE)
    for block in range(10):
        add_filled(cache, block)

    for number in range(1, 60):
        cache.read_out(add_part(cache, number))

    assert held(cache)[:10] == list(range(10))
    assert cache.held == 10 * BLOCK_SIZE + 3 * PART_SIZE


@pytest.mark.parametrize("need", ["filling", "pinned", "gated", "waited for"])
async def test_a_part_that_was_read_and_is_needed_is_not_used_again(need):
    cache = BlockCache(100 * PART_SIZE)
    first = add_part(cache, 0)
    cache.read_out(first)
    need_part(first, need)
    for number in range(1, 5):
        cache.read_out(add_part(cache, number))
    while_needed = cache.get(KEY, 0)

    need_no_more(first, need)
    after = add_part(cache, 5)

    assert after.view is first.view
    assert cache.held == 5 * PART_SIZE
    assert while_needed is first


async def test_a_spent_part_whose_thread_was_given_up_leaves_its_buffer_to_nobody():
    cache = BlockCache(100 * PART_SIZE)
    first, *others = [add_part(cache, number) for number in range(3)]
    first.abandon()
    for part in (first, *others):
        cache.read_out(part)

    after = add_part(cache, 3)

    assert cache.get(KEY, 0) is None
    assert after.view is not first.view
    assert cache.held == 3 * PART_SIZE


async def test_a_spare_buffer_is_used_before_a_spent_part_is_forgotten():
    cache = BlockCache(100 * PART_SIZE)
    spent = [add_part(cache, number) for number in range(3)]
    spare = add_part(cache, 3)
    for part in spent:
        cache.read_out(part)
    cache.drop(spare)

    again = add_part(cache, 4)

    assert again.view is spare.view
    assert [cache.get(KEY, part.start) for part in spent] == spent


async def test_what_was_forgotten_before_it_was_read_to_its_end_is_in_nobodys_way():
    cache = BlockCache(100 * PART_SIZE)
    for number in range(3):
        part = add_part(cache, number)
        cache.drop(part)
        cache.read_out(part)

    for number in range(9):
        cache.read_out(add_part(cache, number))

    assert cache.held == 3 * PART_SIZE
