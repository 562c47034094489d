"""What directories carry: one is asked by itself, many are answered for by a few."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from swiftimgfs import errors
from swiftimgfs.model.entries import Entry
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.markers import SAMPLE, Markers
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.records import ImageInfo

PARENT = StorePath("c", "p")
MANY = [PARENT.child(f"d{number:03d}") for number in range(5 * SAMPLE)]
BARE = Entry("bare", Kind.DIRECTORY)


class Store:
    """Directories, some of which have a marker with a mode; notes who was asked."""

    def __init__(self, *carrying: StorePath, failure: type[Exception] = errors.NotFoundError):
        self.carrying = {(path.container, path.prefix) for path in carrying}
        self.failure = failure
        self.asked: list[str] = []
        self.answers = trio.Event()
        self.answers.set()

    async def head_image(self, container: str, name: str) -> ImageInfo:
        self.asked.append(name)
        await self.answers.wait()
        if (container, name) not in self.carrying:
            raise self.failure(name)
        return ImageInfo(container, name, 0, "etag", 1000, metadata={"mode": "0700"})

    async def head_container(self, container: str) -> Any:
        self.asked.append(container)
        await trio.lowlevel.checkpoint()
        if not self.carrying:
            raise self.failure(container)
        return SimpleNamespace(mtime_ns=5, metadata={})


def markers_of(store: Any, attr_timeout: float = 60) -> Markers:
    return Markers(store, attr_timeout=attr_timeout, list_timeout=60)


def modes(markers: Markers, paths: list[StorePath]) -> list[str | None]:
    return [markers.best(path, BARE).metadata.get("mode") for path in paths]


async def test_many_that_carry_nothing_are_answered_for_by_a_few():
    store = Store()
    markers = markers_of(store)

    await markers.look_at_many(MANY[:20], lambda: MANY)
    await markers.look_at_many(MANY[20:], lambda: MANY)

    assert len(store.asked) <= SAMPLE
    assert all(map(markers.is_settled, MANY))
    assert modes(markers, MANY) == [None] * len(MANY)


async def test_all_are_asked_once_when_one_of_the_few_carries_something():
    store = Store(MANY[0], MANY[7])
    markers = markers_of(store)

    for _ in range(2):
        await markers.look_at_many(MANY, lambda: MANY)

    assert sorted(store.asked) == sorted(path.prefix for path in MANY)
    assert modes(markers, MANY[:8]) == ["0700", *[None] * 6, "0700"]


async def test_one_is_asked_by_itself_whatever_the_others_carry():
    store = Store(MANY[1])
    markers = markers_of(store)
    await markers.look_at_many(MANY, lambda: MANY)
    assert modes(markers, MANY[1:2]) == [None]

    await markers.look_at(MANY[1])

    assert modes(markers, MANY[1:2]) == ["0700"]
    assert markers.is_fresh(MANY[1])
    markers.forget_in(PARENT)
    assert not markers.is_fresh(MANY[1])


@pytest.mark.parametrize("failure", [errors.NotFoundError, errors.ForbiddenError])
async def test_what_cannot_be_read_is_shown_bare(failure: type[Exception]):
    markers = markers_of(Store(failure=failure))

    await markers.look_at(MANY[0])

    assert markers.best(MANY[0], BARE) is BARE
    markers.note_bare(MANY[0], Entry("other", Kind.DIRECTORY))
    assert markers.best(MANY[0], BARE) is BARE


async def test_a_container_that_is_gone_is_not_there_and_stops_no_other():
    store = Store()
    markers = markers_of(store)

    with pytest.raises(errors.NotFoundError):
        await markers.look_at(StorePath("c"))
    await markers.look_at_many([StorePath("c"), StorePath("d")], lambda: [StorePath("d")])


async def test_what_this_mount_made_while_swift_was_asked_is_not_overwritten_by_the_answer():
    store = Store(MANY[0])
    store.answers = trio.Event()
    markers = markers_of(store)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(markers.look_at, MANY[0])
        await trio.testing.wait_all_tasks_blocked()
        markers.note_bare(MANY[0], Entry("made", Kind.DIRECTORY))
        store.answers.set()

    assert markers.best(MANY[0], BARE).component == "made"
