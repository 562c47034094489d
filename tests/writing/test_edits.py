"""Images that are edited: what a commit uploads, and what it never makes up or loses."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.writing.hooks import Journal, JournalEntry
from swiftimgfs.writing.writer import ImageWriter
from tests.support.fault_control import Fault
from tests.support.writers import (
    RANDOM,
    SEGMENT,
    names,
    parts_of,
    patched,
    read_all,
    settled,
    stored,
    write_all,
)

if TYPE_CHECKING:
    from pathlib import Path


# ── what a commit uploads ──────────────────────────────────────────────────────────────


async def test_an_edit_replaces_the_segment_that_it_touches(open_writer, client, base):
    writer = open_writer(base=base, is_edit=True)

    await writer.write(2 * SEGMENT + 7, b"edit")
    committed = await writer.commit()

    assert stored(client) == patched(RANDOM, 2 * SEGMENT + 7, b"edit")
    kept = set(parts_of(base)) & set(parts_of(committed.image))
    assert len(kept) == 5
    assert [name for _, name in committed.doomed.objects] == [
        name for name in parts_of(base) if name not in kept
    ]


async def test_an_image_that_is_opened_for_writing_and_not_written_is_clean(
    open_writer, base, faulty
):
    faulty.control.clear()
    writer = open_writer(base=base, is_edit=True)

    committed = await writer.commit()
    await writer.close()

    assert committed is None
    assert [r for r in faulty.control.journal() if r.method in {"PUT", "DELETE"}] == []


async def test_a_segment_that_is_written_while_it_is_uploaded_is_uploaded_again(
    open_writer, faulty, client
):
    faulty.control.inject(Fault(method="PUT", target="c_segments/.*/00000000$", delay=0.5))
    writer = open_writer()
    await writer.write(0, RANDOM[: SEGMENT + 1])  # the first segment is on its way

    await trio.sleep(0.2)
    await writer.write(10, b"again")
    committed = await writer.commit()

    assert stored(client) == patched(RANDOM[: SEGMENT + 1], 10, b"again")
    assert sorted(names(client)) == sorted(parts_of(committed.image))


async def test_a_segment_that_was_uploaded_and_is_written_again_leaves_no_other_behind(
    open_writer, client
):
    writer = open_writer()
    await writer.write(0, RANDOM)
    await settled(writer)

    await writer.write(10, b"again")
    committed = await writer.commit()
    left = {name for _, name in committed.doomed.objects}

    assert stored(client) == patched(RANDOM, 10, b"again")
    assert sorted(set(names(client)) - left) == sorted(parts_of(committed.image))


async def test_an_image_that_is_cut_while_it_is_uploaded_is_stored_as_it_was_cut(
    open_writer, faulty, client
):
    faulty.control.inject(Fault(method="PUT", target="c_segments/", delay=0.3, count=None))
    writer = open_writer()
    with trio.move_on_after(0.1):
        await writer.write(0, RANDOM)

    await writer.truncate(SEGMENT + 100)
    faulty.control.clear()
    committed = await writer.commit()
    await settled(writer)

    assert stored(client) == RANDOM[: SEGMENT + 100]
    left = {name for _, name in committed.doomed.objects}
    assert sorted(set(names(client)) - left) == sorted(parts_of(committed.image))


@pytest.mark.parametrize("seed", range(8))
async def test_any_history_of_writes_is_stored_as_it_was_written(
    open_writer, client, content, seed
):
    """Random writes, cuts and commits: what is read and stored is what a file would hold."""
    chance = random.Random(seed)
    writer, plain, left = open_writer(), bytearray(), set()

    for _ in range(60):
        size = chance.choice([1, 100, SEGMENT, 3 * SEGMENT])
        offset = chance.randrange(8 * SEGMENT)
        if chance.random() < 0.15:
            await writer.truncate(offset)
            plain = bytearray(bytes(plain[:offset]).ljust(offset, b"\0"))
        elif chance.random() < 0.1:
            committed = await writer.commit()
            left |= {name for _, name in committed.doomed.objects} if committed else set()
            assert stored(client) == bytes(plain)
        else:
            data = bytes(size) if chance.random() < 0.2 else chance.randbytes(size)
            await writer.write(offset, data)
            plain[len(plain) : offset] = bytes(max(0, offset - len(plain)))
            plain[offset : offset + size] = data
        assert await read_all(writer, content) == bytes(plain)

    committed = await writer.commit()
    image = writer._committer.base
    left |= {name for _, name in committed.doomed.objects} if committed else set()
    await settled(writer)
    await writer.close()
    assert stored(client) == bytes(plain)
    assert set(names(client)) - left == set(parts_of(image))


# ── failures ───────────────────────────────────────────────────────────────────────────


async def test_the_same_bytes_in_other_segments_are_not_taken_for_a_commit(
    open_writer, faulty, client, base
):
    writer = open_writer(base=base)
    await write_all(writer, RANDOM)
    faulty.control.inject(
        Fault(
            method="PUT",
            target="multipart-manifest=put",
            status=503,
            count=None,
            headers={"Retry-After": "0"},
        )
    )

    with pytest.raises(errors.StoreUnavailableError):
        await writer.commit()
    await writer.close()
    faulty.control.clear()

    assert stored(client) == RANDOM
    assert set(parts_of(base)) <= set(names(client))


async def test_an_edit_of_an_image_that_changed_meanwhile_is_refused(open_writer, client, base):
    writer = open_writer(base=base, is_edit=True)
    await writer.write(5, b"edit")
    client.put_object("c", "image", b"theirs")

    with pytest.raises(errors.ImageChangedError):
        await writer.commit()
    await writer.close()

    assert stored(client) == b"theirs"


async def test_bytes_of_a_base_that_is_gone_are_never_made_up(open_writer, client, base):
    writer = open_writer(base=base, is_edit=True)
    client.delete_object("c_segments", parts_of(base)[2])

    await writer.write(2 * SEGMENT + 5, b"edit")
    with pytest.raises(errors.ImageChangedError):
        await writer.commit()


class KeepingEntry(JournalEntry):
    """Takes over what could not be committed."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: tuple[dict[str, object], Path | None, str, bool] | None = None

    async def keep(self, recipe, spool, reason, errno_name="EIO", *, is_told=True):
        moved = spool.rename(spool.with_name("kept")) if spool else None
        self.kept = json.loads(json.dumps(recipe)), moved, errno_name, is_told
        return True


class KeepingJournal(Journal):
    """A journal of one entry."""

    def __init__(self) -> None:
        self.entry = KeepingEntry()

    async def begin(self, container, name, base_etag):
        return self.entry

    async def removing(self, container, name, parts):
        return self.entry


@pytest.mark.parametrize("case", list(itertools.product([True, False], [0, 1, 2])))
async def test_what_could_not_be_committed_is_kept_and_sent_again(
    parts, fetcher, client, faulty, base, case
):
    is_new, stored_before = case
    journal = KeepingJournal()
    shared = replace(parts(), journal=journal)
    name = "new" if is_new else "image"
    writer = ImageWriter(
        shared,
        "c",
        name,
        ImageReader(fetcher),
        base=None if is_new else base,
        is_edit=not is_new,
    )
    expected = patched(b"" if is_new else RANDOM, 0, RANDOM[: 2 * SEGMENT + 10])
    expected = patched(expected, 100, b"early")
    fault = Fault(
        method="PUT", target="/c_segments/", status=507, skip=stored_before, count=None
    )
    faulty.control.inject(fault)
    await writer.write(0, RANDOM[:100] + b"early" + RANDOM[105 : 2 * SEGMENT + 10])
    with pytest.raises(errors.StoreFullError):
        await writer.commit()

    assert await writer.keep()
    await writer.close()
    faulty.control.clear()
    assert journal.entry.kept is not None
    recipe, spool, errno_name, is_told = journal.entry.kept
    assert spool is not None
    before = spool.read_bytes()
    again = ImageWriter.resumed(
        shared, recipe, spool, journal.entry, ImageReader(fetcher), None if is_new else base
    )
    await again.commit()

    assert (errno_name, is_told) == ("ENOSPC", True)
    assert client.get_object("c", name)[1] == expected
    assert spool.read_bytes() == before


async def test_an_image_with_a_gap_is_not_kept(parts, fetcher, faulty, client):
    shared = replace(parts(), journal=KeepingJournal())
    writer = ImageWriter(shared, "c", "image", ImageReader(fetcher), base=None)
    faulty.control.inject(Fault(method="PUT", target="c_segments/", status=507, count=None))
    await writer.write(0, RANDOM[: SEGMENT + 1])
    await settled(writer)
    with pytest.raises(errors.StoreFullError):
        await writer.write(SEGMENT + 1, b"more")

    assert not await writer.keep()
