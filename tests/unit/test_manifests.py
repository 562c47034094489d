"""Which objects that may be manifests are asked before a directory shows, and what is put off."""

from __future__ import annotations

from typing import Any

import pytest

from swiftimgfs import errors
from swiftimgfs.model.details import ExactTimes, ImageDetails
from swiftimgfs.model.manifests import FEW_EMPTY, Manifests
from swiftimgfs.model.segments import SegmentRegistry
from swiftimgfs.store.records import EMPTY_MD5, ImageInfo, Manifest, ObjectRow

MANY = [f"e{number:03d}" for number in range(FEW_EMPTY + 1)]


def row(name: str, size: int = 0, **more: Any) -> ObjectRow:
    return ObjectRow(name, size, "etag" if size else EMPTY_MD5, 1000, "x/y", **more)


class Store:
    """Objects that are empty but for `dlos`, by their prefixes; notes who was asked."""

    def __init__(self, gone: tuple[str, ...] = (), **dlos: str):
        self.gone = gone
        self.dlos = dlos
        self.asked: list[str] = []

    async def head_image(self, container: str, name: str) -> ImageInfo:
        self.asked.append(name)
        if name in self.gone:
            raise errors.NotFoundError(name)
        if name in self.dlos:
            dlo = (container, self.dlos[name])
            return ImageInfo(container, name, 9, '"9"', 1000, manifest=Manifest.DLO, dlo=dlo)
        return ImageInfo(container, name, 0, EMPTY_MD5, 1000)


class Found:
    """The parts together, for one store."""

    def __init__(self, store: Any):
        self.segments = SegmentRegistry()
        self.details = ImageDetails(
            store,
            self.segments,
            attr_timeout=60,
            list_timeout=60,
            exact_times=ExactTimes.NOBODY,
        )
        self.manifests = Manifests(store, self.details)

    async def settle(self, *rows: ObjectRow, **options: bool) -> set[str]:
        listed = sorted(rows, key=lambda one: one.name)
        return await self.manifests.settle("c", listed, (), **options)


async def test_few_empty_objects_are_all_asked_once():
    store = Store(a="s/")
    found = Found(store)
    rows = [row("a"), row("b"), row("image", 5)]

    put_off = [await found.settle(*rows), await found.settle(*rows)]

    assert put_off == [set(), set()]
    assert sorted(store.asked) == ["a", "b"]
    assert found.segments.is_segment("c", "s/1")


async def test_of_many_only_those_are_asked_that_others_begin_with():
    store = Store(near="near-")
    found = Found(store)

    put_off = await found.settle(row("near"), row("near-1", 5), *map(row, MANY))

    assert store.asked == ["near"]
    assert put_off == set(MANY)
    assert found.segments.is_segment("c", "near-1")


async def test_links_are_asked_however_many_empty_objects_there_are():
    store = Store()

    put_off = await Found(store).settle(row("link", is_link=True), *map(row, MANY))

    assert store.asked == ["link"]
    assert "link" not in put_off


async def test_who_must_know_all_segments_has_all_asked():
    store = Store(e000="s/")
    found = Found(store)

    assert await found.settle(*map(row, MANY), asks_all=True) == set()
    assert sorted(store.asked) == MANY
    assert found.segments.is_segment("c", "s/1")


async def test_what_is_put_off_shows_as_listed_and_is_asked_at_a_look_whatever_the_times():
    store = Store(e000="s/")
    found = Found(store)
    put_off = await found.settle(*map(row, MANY))
    listed = [found.manifests.of("c", row(name), put_off) for name in MANY]
    images = [info for info in listed if info is not None]

    assert [info.size for info in images] == [0] * len(MANY)
    assert not any(map(found.details.is_settled, images))
    await found.details.exact(images[:2], lambda: images)

    best = [found.details.best(info) for info in images[:2]]
    assert [info.size for info in best if info is not None] == [9, 0]
    assert store.asked == MANY[:2]
    assert found.details.is_settled(images[0])
    assert not found.details.is_settled(images[2])


@pytest.mark.parametrize("names", [["a"], MANY])
async def test_what_was_asked_and_is_gone_does_not_show(names: list[str]):
    found = Found(Store(gone=(names[0],)))
    rows = [row(name) for name in names]
    put_off = await found.settle(*rows, asks_all=True)

    shown = [one.name for one in rows if found.manifests.of("c", one, put_off) is not None]

    assert shown == names[1:]
