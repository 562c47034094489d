"""The MD5 of a segment is begun while it is written, and is that of what is then sent.

Swift refuses a PUT whose bytes do not have the MD5 that it says.
"""

from __future__ import annotations

import pytest
import trio

from swiftimgfs.writing import heads
from tests.support.writers import BODY, SEGMENT, stored


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(heads, "BATCH", 500)


async def hashed(writer) -> int:
    """Return how much of the segment that is being written is hashed, when no thread is at it."""
    while writer._heads._is_running:  # noqa: ASYNC110  # nothing tells tests
        await trio.sleep(0.001)
    (cell,) = writer._image.cells
    size: int = cell.head.size
    return size


async def test_what_is_written_in_order_is_hashed_before_it_is_sent(open_writer, client):
    writer = open_writer()

    await writer.write(0, BODY[:1500])
    await writer.write(1500, BODY[1500:2900])
    begun = await hashed(writer)
    await writer.write(2900, BODY[2900 : SEGMENT + 100])
    await writer.commit()

    assert begun == 2900
    assert stored(client) == BODY[: SEGMENT + 100]


async def test_what_is_changed_after_it_was_hashed_is_hashed_again(open_writer, client):
    writer = open_writer()

    await writer.write(0, BODY[:3000])
    assert await hashed(writer) == 3000
    await writer.write(700, b"\xff" * 10)
    assert await hashed(writer) == 0
    await writer.write(3000, BODY[3000 : SEGMENT + 100])
    await writer.commit()

    assert stored(client) == BODY[:700] + b"\xff" * 10 + BODY[710 : SEGMENT + 100]


async def test_what_is_changed_while_it_is_hashed_is_hashed_again(
    open_writer, client, store, monkeypatch
):
    hashing, changed = trio.Event(), trio.Event()
    compute = store.compute

    async def slow(blocking):
        hashing.set()
        await changed.wait()
        await compute(blocking)

    writer = open_writer()
    monkeypatch.setattr(writer._heads, "_compute", slow)

    await writer.write(0, BODY[:3000])
    await hashing.wait()
    await writer.write(700, b"\xff" * 10)
    changed.set()
    assert await hashed(writer) == 700  # begun anew, up to what is in the spool
    await writer.write(3000, BODY[3000 : SEGMENT + 100])
    await writer.commit()

    assert stored(client) == BODY[:700] + b"\xff" * 10 + BODY[710 : SEGMENT + 100]


async def test_what_is_cut_off_after_it_was_hashed_is_hashed_again(open_writer, client):
    writer = open_writer()

    await writer.write(0, BODY[:3000])
    assert await hashed(writer) == 3000
    await writer.truncate(400)
    await writer.write(400, BODY[1000 : 2 * SEGMENT])
    await writer.commit()

    assert stored(client) == BODY[:400] + BODY[1000 : 2 * SEGMENT]
