"""Who looks at one name, and who at a whole directory; and what is opened next."""

from __future__ import annotations

import pytest

from swiftimgfs.model.entries import Entry, Listing
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.paths import StorePath
from swiftimgfs.model.samples import NEWEST, SPREAD, carries_attributes, sample_of, stratum_of
from swiftimgfs.model.walks import AHEAD, FEW, FEW_WHILE_OPEN, WINDOW, Bursts, WalkAhead
from swiftimgfs.store.records import ImageInfo

PATH = StorePath("c", "d")
ROOT = StorePath()


def bursts_at(now, memory=60.0):
    return Bursts(memory, clock=lambda: now[0])


def test_many_names_at_once_are_a_walk():
    now = [0.0]
    bursts = bursts_at(now)

    few = [bursts.count(PATH) for _ in range(FEW)]
    was_walked = bursts.is_walked(PATH)
    bursts.count(PATH)

    assert few == list(range(1, FEW + 1))
    assert not was_walked
    assert bursts.is_walked(PATH)
    assert not bursts.is_walked(ROOT)


def test_one_name_now_and_then_is_no_walk():
    now = [0.0]
    bursts = bursts_at(now)

    for _ in range(5 * FEW):
        now[0] += WINDOW / 2
        bursts.count(PATH)

    assert not bursts.is_walked(PATH)


def test_a_walk_goes_on_and_is_forgotten():
    now = [0.0]
    bursts = bursts_at(now, memory=10.0)
    for _ in range(FEW + 1):
        bursts.count(PATH)

    now[0] += WINDOW + 0.1
    goes_on = bursts.count(PATH) > FEW
    now[0] += 11

    assert goes_on
    assert not bursts.is_walked(PATH)
    assert bursts.count(PATH) == 1


@pytest.fixture
def siblings():
    names = [f"box-{number}" for number in range(20)]
    return Listing({name: Entry(name, Kind.DIRECTORY) for name in names}, 0, 0.0)


def opened(walk, siblings, *numbers):
    return [
        [path.container for path in walk.next_after(StorePath(f"box-{number}"), siblings)]
        for number in numbers
    ]


def test_the_next_directories_are_loaded_for_who_opens_them_in_order(siblings):
    loaded = opened(WalkAhead(), siblings, 0, 1, 2)

    assert loaded[0] == []
    assert loaded[1] == [f"box-{number}" for number in range(2, 2 + AHEAD)]
    assert loaded[2] == [f"box-{2 + AHEAD}"]


def test_who_jumps_about_gets_nothing_loaded(siblings):
    assert opened(WalkAhead(), siblings, 3, 9, 5, 0) == [[], [], [], []]


def test_a_sample_has_the_newest_and_some_from_anywhere():
    images = [ImageInfo("c", f"x{number}", 1, "e", number) for number in range(100)]

    asked = [info.last_modified_ns for info in sample_of(images, lambda _: False)]

    assert {99, 98, 97, 96, 95, 94} < set(asked)
    assert min(asked) < 100 / SPREAD
    assert len(asked) == NEWEST + SPREAD


def test_who_was_asked_already_counts_for_the_sample():
    images = [ImageInfo("c", f"x{number}", 1, "e", number) for number in range(100)]

    asked = sample_of(images, lambda info: info.last_modified_ns in {0, 1, 98})

    assert len(asked) == NEWEST - 1 + SPREAD - 2
    assert {info.last_modified_ns for info in asked}.isdisjoint({0, 1, 98})


def test_images_of_glances_are_a_kind_of_their_own():
    image_id = "0a0b0c0d-1111-4222-8333-444455556666"
    images = [ImageInfo("c", name, 1, "e", 0) for name in (image_id, "disk", f"d/{image_id}")]

    assert len({stratum_of(info) for info in images}) == 3


def test_what_stat_does_not_show_is_no_attribute():
    assert carries_attributes({"mtime": "1", "colour": "red"})
    assert not carries_attributes({"colour": "red"})


def test_of_an_open_directory_fewer_names_make_a_walk():
    bursts = bursts_at([0.0])
    bursts.opened(PATH)
    bursts.opened(PATH)
    bursts.closed(PATH)
    for _ in range(FEW_WHILE_OPEN + 1):
        bursts.count(PATH)

    assert bursts.is_walked(PATH)

    bursts.closed(PATH)

    assert bursts.few(PATH) == FEW
