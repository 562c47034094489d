"""A Swift that refuses manifests with a short segment, unless that is the last one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.support.embedded_swift import faulty_swift
from tests.support.segments_layer import SMALLEST
from tests.support.writers import OPTIONS, SEGMENT, names, parts_of, settled, stored

LAYER = "tests.support.segments_layer:SmallestSegment"
RANDOM = random.Random(11).randbytes(6 * SEGMENT)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Run a Swift that has a least size of segments."""
    with faulty_swift(tmp_path_factory.mktemp("swift"), wrap=(LAYER,)) as faulty:
        yield faulty


async def test_segments_are_as_large_as_swift_wants_them(open_writer, client, store):
    assert store.limits.smallest_segment == SMALLEST
    writer = open_writer(options=replace(OPTIONS, segment_size=100, large_object_size=100))

    await writer.write(0, RANDOM)
    await writer.commit()

    assert stored(client) == RANDOM
    sizes = [row["bytes"] for row in client.get_container("c_segments")[1]]
    assert min(sizes[:-1]) >= SMALLEST


async def test_an_end_that_was_cut_is_stored_with_what_is_appended(open_writer, client):
    writer = open_writer()
    await writer.write(0, RANDOM)
    await writer.truncate(SEGMENT + 5)
    base = (await writer.commit()).image

    editor = open_writer(base=base, is_edit=True)
    await editor.truncate(5 * SEGMENT)
    await editor.write(5 * SEGMENT, RANDOM)
    committed = await editor.commit()

    assert stored(client) == RANDOM[: SEGMENT + 5].ljust(5 * SEGMENT, b"\0") + RANDOM
    assert set(parts_of(base)) & set(parts_of(committed.image))


async def test_little_data_among_zeros_is_stored_with_some_of_them(open_writer, client):
    writer = open_writer()
    expected = bytearray(20 * SEGMENT)
    for offset in (SEGMENT - 3, 4 * SEGMENT, 9 * SEGMENT + 50, 20 * SEGMENT - 1):
        expected[offset] = 1
        await writer.write(offset, b"\1")

    await writer.commit()

    assert stored(client) == bytes(expected)
    assert writer.stored_bytes < 8 * SMALLEST


@pytest.mark.parametrize("seed", range(2))
async def test_any_history_of_edits_is_taken(open_writer, client, content, seed):
    chance = random.Random(seed)
    writer, plain, left = open_writer(), bytearray(), set()

    for step in range(32):
        size = chance.choice([1, 100, SEGMENT, 3 * SEGMENT])
        offset = chance.choice([len(plain), chance.randrange(12 * SEGMENT)])
        if chance.random() < 0.2:
            await writer.truncate(offset)
            plain = bytearray(bytes(plain[:offset]).ljust(offset, b"\0"))
        else:
            data = bytes(size) if chance.random() < 0.3 else chance.randbytes(size)
            await writer.write(offset, data)
            plain[len(plain) : offset] = bytes(max(0, offset - len(plain)))
            plain[offset : offset + size] = data
        if step % 4 == 3:
            committed = await writer.commit()
            left |= {name for _, name in committed.doomed.objects} if committed else set()
            assert stored(client) == bytes(plain)
            assert await content(writer.layout()) == bytes(plain)

    image = writer._committer.base
    await settled(writer)
    await writer.close()
    assert set(names(client)) - left == set(parts_of(image))
