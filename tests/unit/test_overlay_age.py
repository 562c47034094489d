"""Our changes age: a listing that does not show them for a minute is right."""

from __future__ import annotations

from swiftimgfs.model.overlay import LONGEST_LAG, Overlay
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.records import ImageInfo

PATH = StorePath("c", "x")
INFO = ImageInfo(container="c", name="x", size=1, etag="e", last_modified_ns=5)


def test_what_somebody_else_removed_is_no_ghost_for_ever() -> None:
    now = [0.0]
    overlay = Overlay(clock=lambda: now[0])
    overlay.stored(PATH, INFO)
    at_once = dict(overlay.images_of(StorePath("c")))

    now[0] = LONGEST_LAG + 1

    assert at_once == {"x": INFO}
    assert dict(overlay.images_of(StorePath("c"))) == {}


def test_what_somebody_made_again_shows_after_a_minute() -> None:
    now = [0.0]
    overlay = Overlay(clock=lambda: now[0])
    overlay.removed(PATH, INFO)
    at_once = overlay.is_removed(PATH, 5)

    now[0] = LONGEST_LAG + 1

    assert at_once
    assert not overlay.is_removed(PATH, 5)
