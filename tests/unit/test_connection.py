"""Requests as they are sent, and the policy by which they are sent again."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.errors import StoreUnavailableError
from swiftimgfs.store.request import (
    LONGEST_BACKOFF,
    LONGEST_RETRY_AFTER,
    Payload,
    Request,
    RetryPolicy,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
FAILURE = StoreUnavailableError("down")


def test_the_account_is_the_storage_url_itself():
    assert Request("HEAD").target == ""


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(NAMES.filter(lambda name: "/" not in name), NAMES)
def test_any_name_is_quoted_so_that_it_comes_back(container, name):
    path = Request("GET", container, name).path

    assert path.isascii()
    assert not set(path) & set("?# \r\n")
    assert unquote(path) == f"/{container}/{name}"


def test_slashes_of_a_name_stay_slashes_and_a_percent_sign_is_quoted():
    assert Request("GET", "c", "a/b%2F").path == "/c/a/b%252F"


def test_the_query_is_quoted_too():
    request = Request("GET", "c", query={"prefix": "a&b=ä/", "limit": "5"})

    assert request.target == "/c?prefix=a%26b%3D%C3%A4%2F&limit=5"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Request("HEAD"), "HEAD account"),
        (Request("HEAD", "c"), "HEAD c"),
        (Request("GET", "c", "a/b", {"secret": "x"}, {"X-Auth-Token": "y"}), "GET c/a/b"),
    ],
)
def test_a_request_is_named_without_query_and_headers(request_, text):
    assert str(request_) == text


def test_a_payload_is_its_buffers_any_number_of_times():
    payload = Payload([b"abc", memoryview(b"de")])

    assert (b"".join(payload), b"".join(payload), len(payload)) == (b"abcde", b"abcde", 5)
    assert payload.md5() == hashlib.md5(b"abcde").hexdigest()


def test_an_empty_payload_is_still_a_payload():
    assert Payload([])
    assert Payload([]).md5() == hashlib.md5(b"").hexdigest()


@pytest.mark.parametrize(("attempt", "longest"), [(2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0)])
def test_each_retry_waits_twice_as_long_give_or_take_a_half(attempt, longest):
    waits = [RetryPolicy().wait_before(attempt, FAILURE) for _ in range(100)]

    assert longest / 2 <= min(waits) <= max(waits) <= longest


def test_no_retry_waits_longer_than_half_a_minute():
    assert RetryPolicy().wait_before(200, FAILURE) <= LONGEST_BACKOFF


@pytest.mark.parametrize(
    ("asked", "waited"), [(0.0, 0.0), (7.0, 7.0), (86400.0, LONGEST_RETRY_AFTER)]
)
def test_the_server_is_given_the_time_it_asks_for_within_reason(asked, waited):
    failure = StoreUnavailableError("busy", retry_after=asked)

    assert RetryPolicy().wait_before(2, failure) == waited


def test_a_large_body_is_given_more_time():
    policy = RetryPolicy(timeout=10)
    small = policy.deadline(Request("PUT", "c", "o", body=b""))
    large = policy.deadline(Request("PUT", "c", "o", body=Payload([bytes(1024)] * 1024)))

    assert (small, large) == (30, 34)
