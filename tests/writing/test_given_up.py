"""Uploads that nobody goes on with: what Swift has of them goes when it answers again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.upload_record import GIVEN_UP, UNCERTAIN
from swiftimgfs.writing.writer import ImageWriter
from tests.support.fault_control import Fault
from tests.support.journals import compute, session_in, uploads_in
from tests.support.writers import BODY, OPTIONS, names, settled, write_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from swiftimgfs.writing.upload_record import UploadRecord


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def journalled(parts, fetcher, state, pool) -> Callable[[], ImageWriter]:
    """Start to write `c/image` with a journal on disk, as a mount does."""

    def start() -> ImageWriter:
        journal = Journal(session_in(state, pool.storage_url), compute)
        shared = replace(parts(OPTIONS), journal=journal)
        return ImageWriter(shared, "c", "image", ImageReader(fetcher), base=None)

    return start


def left_in(state: Path) -> UploadRecord:
    (found,) = uploads_in(state)
    return found.record


async def test_what_could_not_be_deleted_goes_when_swift_answers_again(
    journalled, client, faulty, state, monkeypatch
) -> None:
    monkeypatch.setattr("swiftimgfs.writing.garbage.SETTLED_AFTER", 0.5)
    faulty.control.inject(Fault(method="DELETE", status=503, count=None))
    writer = journalled()
    await write_all(writer, BODY)
    await settled(writer)

    await writer.close()

    assert left_in(state).reason == GIVEN_UP
    assert left_in(state).is_given_up
    assert names(client)
    faulty.control.clear()
    with trio.fail_after(10):
        while uploads_in(state):  # noqa: ASYNC110  # of the disk nobody tells
            await trio.sleep(0.05)
    assert names(client) == []


async def test_what_swift_may_have_stored_is_left_to_the_next_mount(
    journalled, faulty, client, state
) -> None:
    writer = journalled()
    await write_all(writer, BODY)
    lost = Fault(method="PUT", target="multipart-manifest=put", lose_answer=True, count=None)
    faulty.control.inject(lost)
    faulty.control.inject(Fault(method="HEAD", target="/c/image", status=503, count=None))
    with pytest.raises(errors.SwiftImgFsError):
        await writer.commit()

    await writer.close()

    assert left_in(state).reason == UNCERTAIN
    assert names(client) != []
