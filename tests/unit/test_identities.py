"""When an identity authenticates, and when it does not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from swiftimgfs import errors
from swiftimgfs.store import auth
from swiftimgfs.store.auth import Access, FixedIdentity, Grant, RenewingIdentity


class Counting(RenewingIdentity):
    """Gives token 1, 2, 3 …; fails while `failure` is set."""

    def __init__(self, lifetime: float | None = None, expire_soon: float = 60.0) -> None:
        super().__init__(expire_soon)
        self.lifetime = lifetime
        self.count = 0
        self.failure: Exception | None = None
        self.is_waiting = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def _authenticate(self) -> Grant:
        self.count += 1
        self.is_waiting.set()
        assert self.may_go_on.wait(10)
        if self.failure is not None:
            raise self.failure
        access = Access("https://swift/v1/AUTH_a", {"X-Auth-Token": f"token {self.count}"})
        return Grant(access, self.lifetime)


@pytest.fixture
def clock(monkeypatch):
    """Time that only moves when it is told to."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr("swiftimgfs.store.auth.time.monotonic", lambda: Clock.now)
    return Clock


def token_of(identity):
    return identity.access().headers["X-Auth-Token"]


def test_it_authenticates_once_for_many_requests():
    identity = Counting()

    assert {token_of(identity) for _ in range(10)} == {"token 1"}


def test_threads_that_wait_for_a_token_share_one_authentication():
    identity = Counting()
    identity.may_go_on.clear()
    with ThreadPoolExecutor(16) as pool:
        tokens = [pool.submit(token_of, identity) for _ in range(16)]
        assert identity.is_waiting.wait(10)
        time.sleep(0.1)  # noqa: TID251  # for the others to queue up
        identity.may_go_on.set()

        assert {token.result() for token in tokens} == {"token 1"}
    assert identity.count == 1


def test_threads_that_wait_for_a_failing_authentication_share_its_failure():
    identity = Counting()
    identity.failure = errors.AccessDeniedError("no")
    identity.may_go_on.clear()
    with ThreadPoolExecutor(16) as pool:
        tokens = [pool.submit(token_of, identity) for _ in range(16)]
        assert identity.is_waiting.wait(10)
        time.sleep(0.1)  # noqa: TID251
        identity.may_go_on.set()

        failures = {type(token.exception()) for token in tokens}
    assert failures == {errors.AccessDeniedError}
    assert identity.count == 1


def test_who_comes_after_a_failure_tries_again():
    identity = Counting()
    identity.failure = errors.StoreUnavailableError("down")
    with pytest.raises(errors.StoreUnavailableError):
        identity.access()
    identity.failure = None

    assert token_of(identity) == "token 2"


def test_a_token_is_renewed_before_it_ends(clock):
    identity = Counting(lifetime=3600, expire_soon=60)
    identity.access()

    clock.now += 3539
    assert token_of(identity) == "token 1"
    clock.now += 1
    assert token_of(identity) == "token 2"


def test_a_token_that_lives_shorter_than_the_margin_is_renewed_at_half_its_life(clock):
    identity = Counting(lifetime=20, expire_soon=60)
    identity.access()

    clock.now += 9.9
    assert token_of(identity) == "token 1"
    clock.now += 0.1
    assert token_of(identity) == "token 2"


def test_a_token_is_used_to_its_end_when_it_cannot_be_renewed(clock):
    identity = Counting(lifetime=100, expire_soon=60)
    identity.access()
    identity.failure = errors.StoreUnavailableError("Keystone is down")

    clock.now += 50
    assert token_of(identity) == "token 1"
    assert token_of(identity) == "token 1"
    assert identity.count == 2  # not with every request
    clock.now += 50
    with pytest.raises(errors.StoreUnavailableError):
        identity.access()


def test_a_renewal_that_failed_is_tried_again_soon(clock):
    identity = Counting(lifetime=100, expire_soon=60)
    identity.access()
    identity.failure = errors.StoreUnavailableError("Keystone is down")
    clock.now += 50
    identity.access()
    identity.failure = None

    clock.now += auth.RENEWAL_PAUSE
    assert token_of(identity) == "token 3"


def test_a_refused_token_is_not_used_again():
    identity = Counting()
    identity.invalidate(identity.access())

    assert token_of(identity) == "token 2"


def test_threads_that_were_refused_with_one_token_renew_it_once():
    identity = Counting()
    refused = identity.access()
    for _ in range(8):
        identity.invalidate(refused)
        identity.access()

    assert identity.count == 2


def test_a_fixed_token_stays_whatever_is_said_of_it():
    identity = FixedIdentity("https://swift/v1/AUTH_a/", "secret")
    identity.invalidate(identity.access())

    assert identity.access().headers == {"X-Auth-Token": "secret"}
    assert identity.access().storage_url == "https://swift/v1/AUTH_a"


def test_nothing_that_is_printed_has_the_token():
    access = FixedIdentity("https://swift/v1/AUTH_a", "secret").access()

    assert "secret" not in repr(access)
    assert "secret" not in str(Grant(access, 1.0))
