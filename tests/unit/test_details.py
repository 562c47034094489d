"""What images are said to be when the answers of Swift and our own changes cross."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.model.details import ExactTimes, ImageDetails
from swiftimgfs.model.paths import StorePath
from swiftimgfs.model.segments import SegmentRegistry
from swiftimgfs.store.records import ImageInfo

PATH = StorePath("c", "image")
STORED = ImageInfo("c", "image", 10, "etag", 2000)


class SlowStore:
    """Says that there is no image, after it was asked and something else has happened."""

    def __init__(self):
        self.asked = trio.Event()
        self.answers = trio.Event()

    async def head_image(self, container, name):
        self.asked.set()
        await self.answers.wait()
        raise errors.NotFoundError(f"{container}/{name}")


def details_of(store: Any) -> ImageDetails:
    return ImageDetails(
        store,
        SegmentRegistry(),
        attr_timeout=60,
        list_timeout=60,
        exact_times=ExactTimes.LIKELY,
    )


async def test_what_is_gone_is_not_there_for_a_while():
    store = SlowStore()
    store.answers.set()
    details = details_of(store)
    details.note(STORED)
    details.expire(PATH)

    for _ in range(2):
        with pytest.raises(errors.NotFoundError):
            await details.image(PATH)

    assert details.best(STORED) is None


async def test_what_is_stored_while_swift_says_that_there_is_none_stays():
    store = SlowStore()
    details = details_of(store)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_in_vain, details)
        await store.asked.wait()
        details.note(STORED)
        store.answers.set()

    assert await details.image(PATH) is STORED


async def ask_in_vain(details: ImageDetails) -> None:
    with pytest.raises(errors.NotFoundError):
        await details.image(PATH)
