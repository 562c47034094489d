"""Attributes as metadata, and back."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.model.attributes import (
    AttributeChanges,
    StoredAttributes,
    stored_attributes,
)

IDS = st.integers(0, 2**32 - 2)


def test_what_is_not_changed_is_not_stored():
    assert AttributeChanges(size=10).metadata() == {}


def test_a_mode_is_stored_in_octal_without_the_type_of_the_file():
    assert AttributeChanges(mode=0o100640).metadata() == {"mode": "0640"}


def test_an_mtime_is_stored_in_seconds_as_the_swift_cli_does():
    assert AttributeChanges(mtime_ns=1_500_000_000).metadata() == {"mtime": "1.500000000"}


def test_the_superuser_and_the_epoch_are_changes_too():
    changes = AttributeChanges(mode=0, uid=0, gid=0, mtime_ns=0)

    assert changes.metadata() == {
        "mode": "0000",
        "uid": "0",
        "gid": "0",
        "mtime": "0.000000000",
    }


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(st.integers(0, 0o7777), IDS, IDS)
def test_attributes_round_trip(mode, uid, gid):
    metadata = AttributeChanges(mode=mode, uid=uid, gid=gid).metadata()

    assert stored_attributes(metadata) == StoredAttributes(mode, uid, gid)


@pytest.mark.parametrize("text", ["", "x", "-1", "99999999999", "1.5"])
def test_senseless_attributes_count_as_none(text):
    found = stored_attributes({"mode": text, "uid": text, "gid": text})

    assert found == StoredAttributes(None, None, None)


def test_nobody_at_all_is_no_owner():
    assert stored_attributes({"uid": str(2**32 - 1)}).uid is None


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(st.text(max_size=20))
def test_whatever_somebody_stored_does_no_harm(text):
    found = stored_attributes({"mode": text, "uid": text, "gid": text})

    assert found.mode is None or 0 <= found.mode <= 0o7777
    assert found.uid is None or 0 <= found.uid < 2**32 - 1
