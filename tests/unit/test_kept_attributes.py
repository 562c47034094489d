"""Attributes that applications set, as metadata: nothing of them is lost."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiftimgfs import errors
from swiftimgfs.store import kept_attributes as kept
from swiftimgfs.store.cluster import Limits
from swiftimgfs.store.metadata import check_room

LONGEST = 256
NAMES = st.binary(min_size=1, max_size=24) | st.text("ab.-_A2 é", min_size=1).map(str.encode)
VALUES = (
    st.binary(max_size=900)
    | st.text(max_size=400).map(str.encode)
    | st.text("a \u00a0à0s=", max_size=700).map(str.encode)
)


def stored(name: bytes, value: bytes) -> dict[str, str]:
    changes = kept.changes_for({}, name, value, LONGEST)
    return {key: text for key, text in changes.items() if text is not None}


@pytest.mark.parametrize(
    ("name", "value", "metadata"),
    [
        (b"origin", b"https://host/a b", {"xattr-origin": "https://host/a b"}),
        (b"xdg.origin.url", b"x", {"xattr-xdg-origin-url": "x"}),
        (b"my_key", "größe".encode(), {"xattr-my--5fkey": "größe"}),
        (b"A-b", b"\0\1", {"xattr---41--2db": "0sAAE="}),
        (b"empty", b"", {"xattr-empty": "0s"}),
        (b"blank", b" x", {"xattr-blank": "0sIHg="}),
        (b"looks", b"0sAAE=", {"xattr-looks": "0sMHNBQUU9"}),
    ],
)
def test_readable_values_stay_readable_for_other_clients(name, value, metadata):
    assert stored(name, value) == metadata
    assert kept.value_of(metadata, name) == value


@given(NAMES, VALUES)
def test_any_name_and_value_come_back(name, value):
    metadata = stored(name, value)

    assert kept.value_of(metadata, name) == value
    assert kept.names_in(metadata) == [name]


@given(NAMES, VALUES)
def test_what_is_stored_survives_http(name, value):
    for key, text in stored(name, value).items():
        raw = text.encode().decode("latin-1")
        assert re.fullmatch(r"[a-z0-9-]+", key)
        assert kept.is_kept_key(key)
        assert 0 < len(text.encode()) <= LONGEST
        assert raw == raw.strip()
        assert "\r" not in raw
        assert "\n" not in raw


@given(NAMES, NAMES)
def test_two_names_are_two_keys(one, other):
    assert (kept.encoded_name(one) == kept.encoded_name(other)) == (one == other)


@given(VALUES, VALUES)
def test_a_new_value_leaves_nothing_of_the_old_one(old, new):
    metadata = {**stored(b"n", old), "xattr-other": "x"}

    changes = kept.changes_for(metadata, b"n", new, LONGEST)
    after = {k: v for k, v in {**metadata, **changes}.items() if v is not None}

    assert after == {**stored(b"n", new), "xattr-other": "x"}


def test_what_another_client_wrote_is_shown_as_it_is():
    assert kept.value_of({"xattr-n": "0s?"}, b"n") == b"0s?"
    assert kept.names_in({"xattr-a_b": "x", "xattr---zz": "x", "xattr-": "x", "m": "x"}) == []


@pytest.mark.parametrize(
    ("metadata", "failure"),
    [
        ({"k" * 129: "x"}, errors.AttributeTooLargeError),
        ({"k": "x" * 257}, errors.AttributeTooLargeError),
        ({f"k{n}": "x" * 250 for n in range(16)}, errors.AttributesFullError),
        ({f"k{n}": "x" for n in range(90)}, errors.AttributesFullError),
    ],
)
def test_what_swift_would_refuse_is_refused(metadata, failure):
    with pytest.raises(failure):
        check_room(metadata, Limits())


def test_what_the_mount_keeps_itself_always_has_room():
    limits = Limits()
    longest = {"mode": "0644", "uid": "4294967294", "gid": "4294967294", "md5": "f" * 32}
    longest |= {"mtime": "-99999999999.123456789", "allocated": "9" * 15, "verified": "x" * 20}
    longest |= {"os-hash-algo": "sha512", "os-hash-value": "f" * 128}
    others: dict[str, str] = {}
    with contextlib.suppress(errors.AttributesFullError):
        for number in range(100):
            check_room({**others, f"k{number}": "x" * 100}, limits)
            others[f"k{number}"] = "x" * 100

    both = {**others, **longest}
    assert 3000 < sum(len(k) + len(v) for k, v in both.items()) <= limits.largest_metadata
