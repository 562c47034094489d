"""References of Glance's single-tenant store, and which Swift of the catalog is meant."""

from __future__ import annotations

import pytest

from swiftimgfs import errors
from swiftimgfs.store.login import CallerLogin, EnvironmentLogin, ReferenceLogin, missing_key
from swiftimgfs.store.references import AccountReference
from tests.support.logins import identity_for, reference, works

# ── references: Glance's single-tenant store ───────────────────────────────────────────


def test_a_reference_logs_in_with_user_and_key(openstack):
    access = identity_for(ReferenceLogin(reference(openstack))).access()

    assert access.storage_url == openstack.storage_url("demo")
    assert works(access)


@pytest.mark.parametrize("ending", ["", "/", "/v3", "/v3/"])
def test_the_version_and_the_slash_at_an_auth_address_s_end_may_be_missing(openstack, ending):
    address = openstack.keystone.auth_url.removesuffix("/v3") + ending

    assert works(
        identity_for(ReferenceLogin(reference(openstack, auth_address=address))).access()
    )


def test_a_reference_logs_in_with_an_application_credential(openstack):
    made = openstack.keystone.create_application_credential("reference")
    login = ReferenceLogin(
        reference(
            openstack,
            user="",
            key="",
            application_credential_id=made.id,
            application_credential_secret=made.secret,
        )
    )

    assert identity_for(login).access().storage_url == openstack.storage_url("demo")


def test_a_wrong_key_is_refused_without_being_told(openstack):
    with pytest.raises(errors.AccessDeniedError) as caught:
        identity_for(ReferenceLogin(reference(openstack, key="s3cret!"))).access()

    assert "s3cret!" not in str(caught.value)


def test_domains_are_named_by_id_or_by_name(openstack):
    by_name = AccountReference(
        "r",
        openstack.keystone.auth_url,
        "demo:demo",
        "demo",
        user_domain_name="Default",
        project_domain_name="Default",
    ).with_domains()
    wrong = AccountReference(
        "r", openstack.keystone.auth_url, "demo:demo", "demo", user_domain_id="nowhere"
    ).with_domains()

    assert works(identity_for(ReferenceLogin(by_name)).access())
    with pytest.raises(errors.AccessDeniedError):
        identity_for(ReferenceLogin(wrong)).access()


@pytest.mark.parametrize("user", ["demo", "a:b:c"])
def test_a_user_that_is_not_project_and_user_is_refused_before_anything_is_sent(
    openstack, user
):
    with pytest.raises(errors.ConfigError, match="project:user"):
        identity_for(ReferenceLogin(reference(openstack, user=user)))


def test_a_location_s_user_without_a_key_takes_it_from_the_environment(openstack):
    login = ReferenceLogin(reference(openstack, key=""))

    assert missing_key(login, {}) == f"demo:demo at {openstack.keystone.auth_url}"
    assert missing_key(login, {"SWIFTIMGFS_KEY": "demo"}) is None
    assert works(identity_for(login, {"SWIFTIMGFS_KEY": "demo"}).access())


def test_a_reference_to_tempauth_logs_in_with_version_1(openstack):
    swift = openstack.swift
    login = ReferenceLogin(AccountReference("r", swift.auth_url, swift.user, swift.key))

    assert works(identity_for(login).access())


# ── which Swift of the catalog ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ({"region": "RegionTwo"}, "http://two.example.org/v1/KEY_x"),
        ({"region": "RegionTwo", "interface": "publicURL"}, "http://two.example.org/v1/KEY_x"),
        (
            {"region": "RegionTwo", "interface": "internalURL"},
            "http://inside.example.org/v1/KEY_x",
        ),
        ({"service_type": "object-archive"}, "http://archive.example.org/v1/KEY_x"),
        ({"storage_url": "https://front/v1/KEY_y/"}, "https://front/v1/KEY_y"),
    ],
)
@pytest.mark.parametrize("kind", ["reference", "env", "caller"])
def test_the_endpoint_is_the_one_that_was_asked_for(
    openstack, monkeypatch, kind, endpoint, expected
):
    environ = openstack.environ("demo", "demo")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OS_REGION_NAME")
    login = {
        "reference": ReferenceLogin(reference(openstack)),
        "env": EnvironmentLogin(),
        "caller": CallerLogin(None, None),
    }[kind]
    if kind == "caller":
        token = openstack.session("demo", "demo").get_token()
        environ = {"OS_AUTH_URL": openstack.keystone.auth_url, "OS_AUTH_TOKEN": token}

    assert identity_for(login, environ, **endpoint).access().storage_url == expected


def test_a_region_that_the_catalog_does_not_have_is_told(openstack):
    identity = identity_for(ReferenceLogin(reference(openstack)), region="Atlantis")

    with pytest.raises(errors.StoreRefusedError, match="Atlantis"):
        identity.access()
