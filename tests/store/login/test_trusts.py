"""Tokens that are renewed, a caller's token, and trusts that outlive it."""

from __future__ import annotations

import contextlib
import time

import pytest

from swiftimgfs import errors
from swiftimgfs.store.login import CallerLogin, ReferenceLogin
from tests.support.cloud import cloud
from tests.support.logins import identity_for, reference, works

LIFETIME = 4  # seconds


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory):
    """A cloud whose tokens live seconds."""
    directory = tmp_path_factory.mktemp("short-lived")
    with cloud(directory, token_expiration=LIFETIME) as running:
        yield running


def trusts_of(running):
    url = f"{running.keystone.auth_url}/OS-TRUST/trusts"
    return running.keystone._admin._session.get(url).json()["trusts"]


# ── renewal ────────────────────────────────────────────────────────────────────────────


def test_a_token_that_lives_seconds_is_renewed_in_time(short_lived):
    identity = identity_for(ReferenceLogin(reference(short_lived)), expire_soon=60)
    tokens = set()
    deadline = time.monotonic() + 2.5 * LIFETIME

    while time.monotonic() < deadline:
        access = identity.access()
        tokens.add(access.headers["X-Auth-Token"])
        assert works(access)

    assert 4 <= len(tokens) <= 7  # one each half life, and not one each request


# ── a caller's token, and trusts ───────────────────────────────────────────────────────


def caller_login(running, **changed):
    service = reference(running, user="service:glance", key="glance", **changed)
    return CallerLogin(None, service)


def test_a_trust_outlives_the_caller_s_token_and_goes_with_the_mount(short_lived):
    token = short_lived.session("demo", "demo").get_token()
    identity = identity_for(caller_login(short_lived), {"OS_AUTH_TOKEN": token})

    with contextlib.closing(identity):
        first = identity.access()
        [trust] = trusts_of(short_lived)
        time.sleep(LIFETIME + 1)  # noqa: TID251  # a test in a thread
        assert not works(type(first)(first.storage_url, {"X-Auth-Token": token}))
        later = identity.access()

        assert first.storage_url == later.storage_url == short_lived.storage_url("demo")
        assert works(later)
        assert trust["impersonation"] is True
        assert trust["project_id"] == short_lived.keystone.project_id("demo")
    assert trusts_of(short_lived) == []


def test_a_trust_is_for_the_roles_of_the_token(openstack):
    token = openstack.session("demo", "demo").get_token()
    identity = identity_for(caller_login(openstack), {"OS_AUTH_TOKEN": token})

    with contextlib.closing(identity):
        identity.access()
        [trust] = trusts_of(openstack)
        url = f"{openstack.keystone.auth_url}/OS-TRUST/trusts/{trust['id']}"
        detailed = openstack.session("demo", "demo").get(url).json()["trust"]

    assert {role["name"] for role in detailed["roles"]} == {
        "swiftoperator",
        "member",
        "reader",
    }  # implied


def test_without_a_service_user_the_caller_s_token_is_used(openstack):
    token = openstack.session("demo", "demo").get_token()
    environ = {"OS_AUTH_TOKEN": token, "OS_AUTH_URL": openstack.keystone.auth_url}

    access = identity_for(CallerLogin(None, None), environ).access()

    assert access.headers["X-Auth-Token"] == token
    assert works(access)
    assert trusts_of(openstack) == []


def test_an_application_credential_cannot_be_trusted_so_the_token_is_used(openstack, caplog):
    """Keystone gives an application credential no other scope than its own."""
    made = openstack.keystone.create_application_credential(
        "t", user="glance", project="service"
    )
    token = openstack.session("demo", "demo").get_token()
    login = caller_login(
        openstack,
        application_credential_id=made.id,
        application_credential_secret=made.secret,
    )

    access = identity_for(login, {"OS_AUTH_TOKEN": token}).access()

    assert access.headers["X-Auth-Token"] == token
    assert trusts_of(openstack) == []
    assert "no trust" in caplog.text
    assert made.secret not in caplog.text


def test_a_caller_s_token_that_is_no_good_is_refused(openstack):
    identity = identity_for(caller_login(openstack), {"OS_AUTH_TOKEN": "gAAAAAnonsense"})

    with pytest.raises(errors.SwiftImgFsError) as caught:
        identity.access()
    assert isinstance(caught.value, errors.AccessDeniedError)
    assert "gAAAAAnonsense" not in str(caught.value)


def test_a_caller_may_be_a_login_instead_of_a_token(openstack, monkeypatch):
    environ = openstack.environ("demo", "demo")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    location = CallerLogin(openstack.storage_url("other"), None)

    access = identity_for(location, environ).access()

    assert access.storage_url == openstack.storage_url("other")


def test_nobody_calling_is_told(openstack):
    with pytest.raises(errors.ConfigError, match="OS_AUTH_TOKEN"):
        identity_for(caller_login(openstack))


def test_no_login_shows_its_secret(openstack):
    login = ReferenceLogin(
        reference(openstack, key="s3cret!", application_credential_secret="s3cret!")
    )

    assert "s3cret!" not in repr(login)
    assert "s3cret!" not in repr(CallerLogin(None, login.reference))
