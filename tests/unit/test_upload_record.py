"""What the journal says of an upload comes back as it was written, or is called damaged."""

from __future__ import annotations

import json

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.writing.upload_record import (
    Attempt,
    DamagedRecordError,
    Owner,
    State,
    UploadRecord,
    format_owner,
    format_record,
    new_token,
    parse_owner,
    parse_record,
)

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
names = st.tuples(texts, texts)
owners = st.builds(
    Owner,
    account=texts,
    pid=st.integers(1, 2**22),
    mountpoint=st.text(max_size=10),
    arguments=st.lists(texts, max_size=3).map(tuple),
)
records = st.builds(
    UploadRecord,
    token=texts,
    owner=owners,
    container=texts,
    name=texts,
    base_etag=st.none() | texts,
    started=st.floats(0, 2e9),
    changed=st.floats(0, 2e9),
    state=st.sampled_from(State),
    places=st.lists(names, max_size=3).map(tuple),
    objects=st.lists(names, max_size=3).map(tuple),
    attempts=st.lists(
        st.builds(Attempt, texts, st.lists(names, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
    moved_from=st.none() | names,
    size=st.none() | st.integers(0, 2**60),
    recipe=st.none() | st.just({"size": 3, "extents": [[3, "spool"]]}),
    has_spool=st.booleans(),
    reason=st.text(max_size=10),
)


def a_record() -> UploadRecord:
    return UploadRecord("t", Owner("http://a", 1), "c", "image", None, 1.0, 2.0)


@hypothesis.given(records)
def test_a_record_comes_back_as_it_was_written(record: UploadRecord) -> None:
    assert parse_record(format_record(record)) == record


@hypothesis.given(owners)
def test_an_owner_comes_back_as_it_was_written(owner: Owner) -> None:
    assert parse_owner(format_owner(owner)) == owner


@hypothesis.given(records, st.data())
def test_a_record_that_was_cut_off_is_damaged(record: UploadRecord, data) -> None:
    text = format_record(record)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]

    with pytest.raises(DamagedRecordError):
        parse_record(cut)


@pytest.mark.parametrize(
    "changes",
    [
        {"token": ""},
        {"container": ""},
        {"name": None},
        {"state": "finished"},
        # An empty prefix would be every object of the container.
        {"places": [["c", ""]]},
        {"objects": [["", "x"]]},
        {"attempts": [{"etag": "e", "replaced": ["c/x"]}]},
        {"unknown": 1},
        {"owner": {"account": "", "pid": 1, "mountpoint": "", "arguments": []}},
    ],
    ids=str,
)
def test_what_nobody_wrote_is_damaged(changes) -> None:
    fields = json.loads(format_record(a_record())) | changes

    with pytest.raises(DamagedRecordError):
        parse_record(json.dumps(fields).encode())


def test_a_later_version_is_named_as_one() -> None:
    fields = json.loads(format_record(a_record())) | {"version": 2}

    with pytest.raises(DamagedRecordError, match="version 2"):
        parse_record(json.dumps(fields).encode())


@pytest.mark.parametrize("text", [b"", b"\0" * 100, b"[]", b"null", b"{}", b"\xff"])
def test_what_is_no_record_is_damaged(text: bytes) -> None:
    with pytest.raises(DamagedRecordError):
        parse_record(text)


def test_damage_does_not_repeat_what_was_in_the_file() -> None:
    with pytest.raises(DamagedRecordError) as caught:
        parse_record(b'{"version": 1, "secret')

    assert "secret" not in str(caught.value)


def test_tokens_differ() -> None:
    assert len({new_token() for _ in range(1000)}) == 1000


def test_what_is_below_a_place_is_known() -> None:
    record = UploadRecord("t", Owner("a", 1), "c", "i", None, 0, 0, places=(("s", "i/slo/"),))

    assert record.is_placed("s", "i/slo/00000001")
    assert not record.is_placed("c", "i/slo/00000001")
    assert not record.is_placed("s", "i/slo")
