"""Manifests: what Swift says becomes segments, and segments what Swift is told."""

from __future__ import annotations

import base64
import hashlib
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.errors import StoreRefusedError
from swiftimgfs.store.large_objects import (
    Segment,
    format_dlo_header,
    format_slo,
    parse_dlo_header,
    parse_slo,
    slo_etag,
)

ROW = {"name": "/segs/a/0001", "bytes": 100, "hash": "abc", "content_type": "x/y"}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
CONTAINERS = NAMES.filter(lambda name: "/" not in name)


def parse(*rows: object) -> list[Segment | bytes]:
    return parse_slo(json.dumps(rows).encode())


def test_a_row_is_a_whole_object():
    assert parse(ROW) == [Segment("segs", "a/0001", 100, "abc", 0, 100)]


def test_a_row_with_a_range_is_a_part_of_an_object():
    assert parse({**ROW, "range": "10-19"}) == [Segment("segs", "a/0001", 100, "abc", 10, 10)]


def test_a_range_of_one_byte_has_the_length_one():
    assert parse({**ROW, "range": "0-0"}) == [Segment("segs", "a/0001", 100, "abc", 0, 1)]


def test_a_row_of_data_is_its_bytes():
    data = b"\x00\xffheader"

    assert parse({"data": base64.b64encode(data).decode()}) == [data]


def test_a_row_of_a_nested_manifest_says_so():
    (row,) = parse({**ROW, "sub_slo": True})

    assert isinstance(row, Segment)
    assert row.is_slo


def test_rows_keep_their_order():
    rows = [{**ROW, "name": f"/segs/{n}"} for n in (3, 1, 2)]

    names = [row.name for row in parse(*rows) if isinstance(row, Segment)]

    assert names == ["3", "1", "2"]


def test_a_name_outside_of_ascii_is_read_as_it_is():
    (row,) = parse({**ROW, "name": "/größe/ä b/1"})

    assert isinstance(row, Segment)
    assert (row.container, row.name) == ("größe", "ä b/1")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"null",
        b"17",
        b"{}",
        b'""',
        b'{"name": "/c/o"}',
        b"[1]",
        b"[null]",
        b'["data"]',
        b"[[]]",
        b"[{}]",
        b'[{"name": "/only-a-container", "bytes": 1, "hash": "x"}]',
        b'[{"name": "/c/o", "bytes": "many", "hash": "x"}]',
        b'[{"name": "/c/o", "hash": "x"}]',
        b'[{"name": "/c/o", "bytes": 1}]',
        b'[{"name": "/c/o", "bytes": 9, "hash": "x", "range": "5"}]',
        b'[{"name": "/c/o", "bytes": 9, "hash": "x", "range": "-5"}]',
        b'[{"name": "/c/o", "bytes": 9, "hash": "x", "range": "5-"}]',
        b'[{"name": "/c/o", "bytes": 9, "hash": "x", "range": "1-2-3"}]',
        b'[{"data": "not base64!"}]',
        b'[{"data": 5}]',
    ],
)
def test_what_is_no_manifest_is_refused(manifest):
    with pytest.raises(StoreRefusedError, match="not an SLO manifest"):
        parse_slo(manifest)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(st.binary(max_size=64))
def test_bytes_are_a_manifest_or_refused_and_nothing_else(manifest):
    try:
        rows = parse_slo(manifest)
    except StoreRefusedError:
        return

    assert isinstance(rows, list)


def test_a_manifest_names_path_etag_and_size_of_each_segment():
    segments = [Segment("segs", "ä/1", 10, "e1", 0, 10), Segment("segs", "ä/2", 5, "e2", 0, 5)]

    rows = json.loads(format_slo(segments))

    assert rows == [
        {"path": "/segs/ä/1", "etag": "e1", "size_bytes": 10},
        {"path": "/segs/ä/2", "etag": "e2", "size_bytes": 5},
    ]


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
    st.lists(st.tuples(CONTAINERS, NAMES, st.integers(1, 2**40), st.text("0123456789abcdef")))
)
def test_segments_that_swift_gives_back_are_the_ones_it_was_given(given):
    segments = [Segment(c, n, size, etag, 0, size) for c, n, size, etag in given]

    told = json.loads(format_slo(segments))

    # Swift's own renaming: path, etag and size_bytes are name, hash and bytes in its answer.
    answer = [
        {"name": row["path"], "hash": row["etag"], "bytes": row["size_bytes"]} for row in told
    ]
    assert parse(*answer) == segments


def test_the_etag_of_a_manifest_is_the_md5_of_its_segments_etags():
    etags = [hashlib.md5(part).hexdigest() for part in (b"one", b"two")]
    segments = [Segment("c", "s", 3, etag, 0, 3) for etag in etags]

    assert slo_etag(segments) == hashlib.md5("".join(etags).encode()).hexdigest()


def test_a_row_of_part_of_a_segment_names_its_range_and_counts_in_the_etag():
    part = Segment("c", "s", 10, "e1", 2, 5)

    (row,) = json.loads(format_slo([part]))

    assert row == {"path": "/c/s", "etag": "e1", "size_bytes": 10, "range": "2-6"}
    assert slo_etag([part]) == hashlib.md5(b"e1:2-6;").hexdigest()


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(CONTAINERS, NAMES)
def test_a_dlo_header_round_trips_for_any_name(container, prefix):
    header = format_dlo_header(container, prefix)

    assert header.isascii()
    assert not set(header) & set("?& \r\n")
    assert parse_dlo_header(header) == (container, prefix)


@pytest.mark.parametrize("value", ["container/name-", "/container/name-", "container/name%2D"])
def test_a_dlo_header_is_read_as_others_write_it(value):
    assert parse_dlo_header(value) == ("container", "name-")


@pytest.mark.parametrize("value", ["", "/", "container", "container/", "/container/", "//x"])
def test_what_is_no_dlo_header_is_refused(value):
    with pytest.raises(StoreRefusedError, match="X-Object-Manifest"):
        parse_dlo_header(value)
