"""Headers and listing rows become values."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.errors import StoreRefusedError
from swiftimgfs.store.records import (
    EMPTY_MD5,
    Manifest,
    account_info,
    container_info,
    container_row,
    format_seconds,
    image_info,
    object_row,
    parse_seconds,
)

SECOND = 1_000_000_000
ROW = {
    "name": "a/b",
    "bytes": 5,
    "hash": "abc",
    "last_modified": "2026-11-23T03:05:00.123450",
    "content_type": "application/octet-stream",
}
ROW_TIME = 1795403100 * SECOND + 123_450_000


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(st.integers(-(10**20), 10**20))
def test_seconds_round_trip_without_losing_a_nanosecond(nanoseconds):
    assert parse_seconds(format_seconds(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1", SECOND),
        ("1.5", 1_500_000_000),
        ("-1.5", -1_500_000_000),
        ("-0.25", -250_000_000),
        (" 1721.000000001 ", 1721 * SECOND + 1),
        ("1.0000000019", SECOND + 1),
        ("1732331100.12345", 1732331100 * SECOND + 123_450_000),
    ],
)
def test_decimal_seconds_are_read_exactly(text, nanoseconds):
    assert parse_seconds(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "now", "1e9", "1.", ".5", "1,5", "nan", "inf", "+1", "1" * 13]
)
def test_what_is_no_decimal_number_of_seconds_is_none(text):
    assert parse_seconds(text) is None


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(st.text(max_size=20))
def test_any_text_is_seconds_or_none(text):
    found = parse_seconds(text)

    assert found is None or isinstance(found, int)


def test_a_listing_row_is_an_object_in_utc():
    row = object_row(ROW)

    assert (row.name, row.size, row.etag, row.last_modified_ns) == ("a/b", 5, "abc", ROW_TIME)
    assert not row.is_slo


def test_a_listing_row_without_microseconds_is_read_too():
    row = object_row({**ROW, "last_modified": "2026-11-23T03:05:00"})

    assert row.last_modified_ns == ROW_TIME - 123_450_000


def test_a_listing_row_with_an_slo_etag_is_an_slo():
    row = object_row({**ROW, "slo_etag": '"fedc"'})

    assert (row.slo_etag, row.is_slo, row.may_be_manifest) == ("fedc", True, True)


@pytest.mark.parametrize(("etag", "may_be"), [(EMPTY_MD5, True), ("abc", False)])
def test_only_what_has_no_bytes_may_be_a_manifest_behind_a_plain_row(etag, may_be):
    row = object_row({**ROW, "hash": etag})

    assert row.may_be_manifest is may_be


@pytest.mark.parametrize(
    ("size", "content_type", "is_marker"),
    [
        (0, "application/directory", True),
        (0, "application/directory;charset=utf-8", True),
        (0, "text/directory", True),
        (1, "application/directory", False),
        (0, "application/octet-stream", False),
    ],
)
def test_an_empty_object_of_a_directory_type_is_a_marker(size, content_type, is_marker):
    row = object_row({**ROW, "bytes": size, "content_type": content_type})
    info = image_info("c", "o", {"content-length": str(size), "content-type": content_type})

    assert (row.is_directory_marker, info.is_directory_marker) == (is_marker, is_marker)


def test_headers_of_a_plain_image_are_its_info():
    info = image_info(
        "c",
        "o",
        {
            "content-length": "7",
            "etag": "abc",
            "x-timestamp": "1795403100.12345",
            "last-modified": "Mon, 23 Nov 2026 03:05:01 GMT",
            "content-type": "x/y",
            "x-object-meta-os": "linux",
        },
    )

    assert (info.container, info.name, info.size, info.etag) == ("c", "o", 7, "abc")
    assert (info.manifest, info.dlo, info.content_type) == (None, None, "x/y")
    assert info.last_modified_ns == info.mtime_ns == ROW_TIME
    assert info.metadata == {"os": "linux"}
    assert info.kept_headers == {}


def test_without_a_timestamp_last_modified_counts():
    info = image_info("c", "o", {"last-modified": "Mon, 23 Nov 2026 03:05:01 GMT"})

    assert info.last_modified_ns == 1795403101 * SECOND


@pytest.mark.parametrize("headers", [{}, {"last-modified": "yesterday"}])
def test_without_any_time_it_is_the_epoch(headers):
    assert image_info("c", "o", headers).last_modified_ns == 0


def test_the_mtime_that_was_noted_is_the_mtime():
    info = image_info("c", "o", {"x-object-meta-mtime": "12.5", "x-timestamp": "99.0"})

    assert (info.mtime_ns, info.last_modified_ns) == (12_500_000_000, 99 * SECOND)


def test_a_senseless_noted_mtime_is_as_good_as_none():
    info = image_info("c", "o", {"x-object-meta-mtime": "never", "x-timestamp": "99.0"})

    assert info.mtime_ns == 99 * SECOND


def test_an_slo_is_known_by_its_header_and_its_etag_loses_the_quotes():
    info = image_info("c", "o", {"x-static-large-object": "True", "etag": '"abc"'})

    assert (info.manifest, info.etag, info.dlo) == (Manifest.SLO, "abc", None)


def test_a_dlo_is_known_by_its_header_which_a_post_must_send_again():
    info = image_info("c", "o", {"x-object-manifest": "segs/o%20b-"})

    assert (info.manifest, info.dlo) == (Manifest.DLO, ("segs", "o b-"))
    assert info.kept_headers == {"x-object-manifest": "segs/o%20b-"}


def test_a_senseless_dlo_header_is_refused():
    with pytest.raises(StoreRefusedError):
        image_info("c", "o", {"x-object-manifest": "nonsense"})


def test_headers_that_a_post_would_lose_are_kept():
    kept = {
        "x-delete-at": "1795403100",
        "content-encoding": "gzip",
        "cache-control": "no-cache",
    }

    info = image_info("c", "o", {**kept, "etag": "x", "content-type": "y/z"})

    assert info.kept_headers == kept


def test_the_account_says_usage_and_quota():
    info = account_info(
        {
            "x-account-bytes-used": "10",
            "x-account-container-count": "2",
            "x-account-object-count": "3",
            "x-account-meta-quota-bytes": "100",
        }
    )

    assert (info.bytes_used, info.container_count, info.object_count) == (10, 2, 3)
    assert info.quota == 100


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({}, None),
        ({"x-account-quota-bytes": "5"}, 5),
        ({"x-account-meta-quota-bytes": "x"}, None),
    ],
)
def test_an_account_without_a_sensible_quota_has_none(headers, quota):
    assert account_info(headers).quota == quota


def test_a_container_row_has_name_count_and_time():
    row = container_row({"name": "c", "count": 4, "last_modified": ROW["last_modified"]})

    assert (row.name, row.object_count, row.last_modified_ns) == ("c", 4, ROW_TIME)


def test_the_container_says_usage_and_acls():
    info = container_info(
        "c",
        {
            "x-container-bytes-used": "10",
            "x-container-object-count": "3",
            "x-timestamp": "99.0",
            "x-container-read": ".r:*",
        },
    )

    assert (info.bytes_used, info.object_count, info.mtime_ns) == (10, 3, 99 * SECOND)
    assert (info.read_acl, info.write_acl) == (".r:*", None)
    assert not info.is_our_segment_container


def test_a_marked_container_is_our_segment_container():
    info = container_info("c", {"x-container-meta-swiftimgfs": "segments"})

    assert info.is_our_segment_container


def test_a_container_keeps_a_noted_mtime():
    info = container_info("c", {"x-container-meta-mtime": "12.5", "x-timestamp": "99.0"})

    assert info.mtime_ns == 12_500_000_000
