"""Locations as glance_store reads them."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.store.location import format_storage_location

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("storage_url", "location"),
    [
        ("https://host:8080/v1/AUTH_a", "swift+https://host:8080/v1/AUTH_a/c/o"),
        ("http://host/v1/AUTH_a/", "swift+http://host/v1/AUTH_a/c/o"),
        ("https://host/swift/v1", "swift+https://host/swift/v1/c/o"),
        ("https://[::1]:8080/v1/AUTH_a", "swift+https://[::1]:8080/v1/AUTH_a/c/o"),
    ],
)
def test_a_location_is_the_storage_url_with_container_and_name(storage_url, location):
    assert format_storage_location(storage_url, "c", "o") == location


def test_the_location_of_a_container_ends_with_it():
    assert format_storage_location("https://h/v1/A", "c") == "swift+https://h/v1/A/c"


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(NAMES, NAMES)
def test_the_last_two_parts_of_a_location_are_container_and_name(container, name):
    location = format_storage_location("https://h/v1/A", container, name)

    parts = urlsplit(location).path.split("/")
    assert [unquote(part) for part in parts] == ["", "v1", "A", container, name]
