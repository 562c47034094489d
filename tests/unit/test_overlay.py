"""Our own changes show over a stale listing, and somebody else's newer ones over ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiftimgfs.model.overlay import Overlay
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.records import ImageInfo, ObjectRow

DIRECTORY = StorePath("c", "d")
PATH = DIRECTORY.child("image")
OURS = ImageInfo("c", "d/image", 10, "ours", 2000)
SAME_ROW = ObjectRow("d/image", 10, "ours", 1999, "x/y")
OLD_ROW = ObjectRow("d/image", 10, "theirs", 1000, "x/y")
NEW_ROW = ObjectRow("d/image", 10, "theirs", 3000, "x/y")


@pytest.fixture
def overlay():
    return Overlay()


def settle(overlay, row):
    return overlay.settle(DIRECTORY, "image", row)


def test_without_changes_of_ours_every_row_is_believed(overlay):
    assert settle(overlay, OLD_ROW)
    assert list(overlay.images_of(DIRECTORY)) == []
    assert list(overlay.directories_of(DIRECTORY)) == []


def test_what_we_stored_shows_until_a_listing_has_it(overlay):
    overlay.stored(PATH, OURS)

    before = list(overlay.images_of(DIRECTORY))
    is_believed = settle(overlay, SAME_ROW)

    assert before == [("image", OURS)]
    assert is_believed
    assert list(overlay.images_of(DIRECTORY)) == []


def test_a_stale_row_does_not_hide_what_we_stored(overlay):
    overlay.stored(PATH, OURS)

    assert not settle(overlay, OLD_ROW)
    assert list(overlay.images_of(DIRECTORY)) == [("image", OURS)]


def test_a_newer_row_of_somebody_else_is_believed(overlay):
    overlay.stored(PATH, OURS)

    assert settle(overlay, NEW_ROW)
    assert list(overlay.images_of(DIRECTORY)) == []


def test_an_slo_is_recognised_by_the_etag_of_its_manifest(overlay):
    overlay.stored(PATH, OURS)

    assert settle(overlay, replace(OLD_ROW, slo_etag="ours"))


def test_a_stale_row_of_what_we_removed_is_not_believed(overlay):
    overlay.removed(PATH, OURS)

    assert not settle(overlay, SAME_ROW)
    assert not settle(overlay, OLD_ROW)
    assert overlay.is_removed(PATH, 2000)
    assert not overlay.is_removed(PATH, 2001)


def test_what_somebody_else_stored_after_we_removed_is_believed(overlay):
    overlay.removed(PATH, OURS)

    assert settle(overlay, NEW_ROW)
    assert not overlay.is_removed(PATH, 1000)


def test_what_was_removed_before_swift_had_it_leaves_no_trace(overlay):
    overlay.stored(PATH, OURS)

    overlay.removed(PATH, None)

    assert list(overlay.images_of(DIRECTORY)) == []
    assert settle(overlay, OLD_ROW)


def test_what_we_stored_again_after_removing_it_shows(overlay):
    overlay.removed(PATH, OURS)

    overlay.stored(PATH, replace(OURS, etag="again"))

    assert not overlay.is_removed(PATH, 1)
    assert [info.etag for _, info in overlay.images_of(DIRECTORY)] == ["again"]


def test_a_removal_takes_back_what_we_stored(overlay):
    overlay.stored(PATH, OURS)

    overlay.removed(PATH, OURS)

    assert list(overlay.images_of(DIRECTORY)) == []


def test_directories_that_we_made_and_removed_are_remembered(overlay):
    overlay.made_directory(PATH)
    made = overlay.directory(PATH)
    overlay.removed_directory(PATH)

    assert made is True
    assert overlay.directory(PATH) is False
    assert overlay.directory(DIRECTORY) is None
    assert list(overlay.directories_of(DIRECTORY)) == [("image", False)]


def test_an_image_where_a_directory_was_takes_its_place(overlay):
    overlay.removed_directory(PATH)

    overlay.stored(PATH, OURS)

    assert overlay.directory(PATH) is None


def test_changes_in_one_directory_do_not_show_in_another(overlay):
    overlay.stored(PATH, OURS)
    overlay.removed(DIRECTORY.child("gone"), OURS)

    assert list(overlay.images_of(StorePath("c"))) == []
    assert overlay.settle(StorePath("c"), "gone", OLD_ROW)


def test_a_directory_that_we_made_is_left_to_listings_that_show_it():
    now = [0.0]
    overlay = Overlay(lambda: now[0])
    overlay.made_directory(PATH)

    overlay.settle_directories(DIRECTORY, {"image"})
    young = overlay.directory(PATH)
    now[0] = 61.0
    overlay.settle_directories(DIRECTORY, set())
    emptied = overlay.directory(PATH)
    overlay.settle_directories(DIRECTORY, {"image"})

    assert (young, emptied, overlay.directory(PATH)) == (True, True, None)


def test_what_we_did_below_a_directory_is_found_and_can_be_forgotten(overlay):
    overlay.stored(PATH, OURS)
    overlay.made_directory(DIRECTORY)
    overlay.made_directory(StorePath("other"))

    assert overlay.below(StorePath("c")) == ([PATH], [DIRECTORY])
    assert overlay.below(StorePath())[1] == [DIRECTORY, StorePath("other")]
    overlay.forget(PATH)
    assert overlay.below(DIRECTORY) == ([], [])
