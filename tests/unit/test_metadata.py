"""What an image carries over, when it is stored again or posted to."""

from __future__ import annotations

from swiftimgfs.store import metadata
from swiftimgfs.store.records import image_info

HEADERS = {
    "content-type": "x/y",
    "content-length": "3",
    "etag": "e",
    "x-object-manifest": "c/p-",
    "x-delete-at": "4102444800",
    "cache-control": "no-cache",
    "content-language": "de",
    "x-object-meta-mode": "0600",
    "x-object-meta-foreign": "kept",
}
CARRIED = {k: v for k, v in HEADERS.items() if k not in {"content-length", "etag"}}
INFO = image_info("c", "o", HEADERS)


def test_all_that_swift_would_forget_is_carried_over():
    assert metadata.carried(INFO) == CARRIED


def test_what_is_stored_as_bytes_from_now_on_is_no_dlo_any_more():
    carried = metadata.carried_by_bytes(INFO)

    assert carried == {k: v for k, v in CARRIED.items() if k != "x-object-manifest"}


def test_a_post_sends_all_but_a_content_type_that_nobody_changed():
    changes = metadata.changes_of({"mode": None, "uid": "7"})

    sent = metadata.for_post(INFO, changes)

    left_out = {"content-type", "x-object-meta-mode"}
    expected = {k: v for k, v in CARRIED.items() if k not in left_out}
    assert sent == expected | {"x-object-meta-uid": "7"}
    assert metadata.for_post(INFO, {"content-type": "a/b"})["content-type"] == "a/b"


def test_metadata_is_what_it_was_after_it_was_made_headers():
    assert metadata.metadata_of(metadata.headers_of(INFO.metadata)) == INFO.metadata
    assert metadata.metadata_of(CARRIED) == {"mode": "0600", "foreign": "kept"}
