"""Zeros that are named and not stored, and manifests of many rows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from swiftimgfs import errors
from tests.support.writers import (
    OPTIONS,
    RANDOM,
    SEGMENT,
    names,
    patched,
    settled,
    stored,
    write_all,
)


async def test_a_hole_is_named_by_rows_of_one_object_and_known_as_zeros_again(
    open_writer, client, store
):
    writer = open_writer()
    await writer.write(0, RANDOM[:SEGMENT])
    await writer.truncate(5_000_000)

    committed = await writer.commit()

    assert stored(client) == RANDOM[:SEGMENT] + bytes(5_000_000 - SEGMENT)
    assert len(names(client)) == 2
    again = await store.resolve(await store.head_image("c", "image"))
    assert [e.size for e in again.layout.extents] == [SEGMENT, 5_000_000 - SEGMENT]
    assert set(again.parts) == set(committed.image.parts)
    assert again.info.metadata["allocated"] == str(SEGMENT)


async def test_more_rows_than_a_manifest_names_are_nested(open_writer, client, store, content):
    data = random.Random(3).randbytes(10 * SEGMENT)
    writer = open_writer()
    await write_all(writer, data)
    base = (await writer.commit()).image
    store.limits = replace(store.limits, manifest_segments=4)

    editor = open_writer(base=base, is_edit=True)
    await editor.write(5, b"edit")
    committed = await editor.commit()

    expected = patched(data, 5, b"edit")
    assert stored(client) == expected
    again = await store.resolve(await store.head_image("c", "image"))
    assert await content(again.layout) == expected
    assert set(again.parts) == set(committed.image.parts)
    last = open_writer(base=again, is_edit=True)
    await last.write(9 * SEGMENT, b"last")
    replaced = (await last.commit()).doomed.objects
    assert stored(client) == patched(expected, 9 * SEGMENT, b"last")
    assert len([name for _, name in replaced if "rows-" in name]) == 3


async def test_of_more_holes_than_a_manifest_names_none_is_stored(open_writer, client, store):
    store.limits = replace(store.limits, manifest_segments=10)
    segment = 4 << 20
    options = replace(OPTIONS, segment_size=segment, spool_size=1 << 30)
    expected = bytearray(16 * segment)
    writer = open_writer(options=options)
    await writer.truncate(len(expected))

    for start in range(segment // 2, len(expected), segment):
        expected[start : start + 100] = RANDOM[:100]
        await writer.write(start, RANDOM[:100])
    await writer.commit()

    assert stored(client) == bytes(expected)
    rows = client.get_container("c_segments", full_listing=True)[1]
    manifests = [row for row in rows if "rows-" in row["name"]]
    assert manifests
    assert sum(row["bytes"] for row in rows if row not in manifests) <= len(expected) // 3


async def test_a_long_manifest_is_answered_by_heartbeats(open_writer, client, faulty):
    options = replace(OPTIONS, segment_size=100, large_object_size=100)
    writer = open_writer(options=options)
    await writer.write(0, RANDOM[:12_000])

    await writer.commit()

    assert stored(client) == RANDOM[:12_000]
    puts = [r for r in faulty.control.journal() if "multipart-manifest=put" in r.target]
    assert ["heartbeat=on" in r.target for r in puts] == [True]


async def test_what_a_heartbeat_says_at_last_is_the_answer(open_writer, client):
    options = replace(OPTIONS, segment_size=100, large_object_size=100)
    writer = open_writer(options=options)
    await writer.write(0, RANDOM[:12_000])
    await settled(writer)
    client.delete_object("c_segments", names(client)[0])

    with pytest.raises(errors.ImageChangedError, match=r"a segment that it names is gone.*400"):
        await writer.commit()
