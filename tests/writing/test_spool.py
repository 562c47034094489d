"""Memory and disk for what is not yet in Swift."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.writing.writer import ImageWriter
from tests.support.writers import OPTIONS, RANDOM, SEGMENT, patched, stored


async def test_random_writes_wait_on_the_disk_and_not_in_memory(open_writer, client, tmp_path):
    writer = open_writer(options=replace(OPTIONS, spool_size=1 << 20))
    await writer.truncate(len(RANDOM))
    order = list(range(0, len(RANDOM), 256))
    random.Random(1).shuffle(order)

    for offset in order:
        await writer.write(offset, RANDOM[offset : offset + 256])
    (file,) = (tmp_path / "spool").iterdir()
    spooled = file.stat().st_blocks * 512
    await writer.commit()
    after = file.stat().st_blocks * 512
    await writer.close()

    assert spooled >= len(RANDOM) - 2 * SEGMENT
    assert after == 0
    assert list((tmp_path / "spool").iterdir()) == []
    assert stored(client) == RANDOM


async def test_a_spool_that_is_full_of_partly_written_segments_is_emptied_by_completing_them(
    open_writer, client, base
):
    writer = open_writer(base=base, is_edit=True, options=replace(OPTIONS, spool_size=1000))
    expected = RANDOM

    with trio.fail_after(30):
        for number in range(40):
            offset = (number * 7919) % (len(RANDOM) - 300)
            await writer.write(offset, b"w" * 300)
            expected = patched(expected, offset, b"w" * 300)
        await writer.commit()

    assert stored(client) == expected


async def test_two_writers_of_one_budget_both_come_to_their_end(parts, fetcher, client, store):
    shared = parts(replace(OPTIONS, spool_size=2 * SEGMENT, memory_limit=SEGMENT))
    writers = [ImageWriter(shared, "c", name, ImageReader(fetcher), base=None) for name in "ab"]

    async def write(writer):
        order = list(range(0, len(RANDOM), 512))
        random.Random(writer.name).shuffle(order)
        for offset in order:
            await writer.write(offset, RANDOM[offset : offset + 512])
        await writer.commit()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(write, writer)

    for name in "ab":
        assert client.get_object("c", name)[1] == RANDOM


async def test_a_full_disk_is_told_at_the_write(open_writer, client, monkeypatch):
    writer = open_writer()
    await writer.write(SEGMENT, b"in order")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(errors.HostFullError):
        await writer.write(0, b"not in order")
    with pytest.raises(errors.HostFullError):
        await writer.commit()
    monkeypatch.undo()
    await writer.truncate(0)
    await writer.write(0, b"anew")
    await writer.commit()

    assert stored(client) == b"anew"
