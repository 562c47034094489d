"""Every way to log in, with a real Keystone, and what each gives."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time

import pytest
import requests

from swiftimgfs import errors
from swiftimgfs.store.auth import EndpointOptions, TransportOptions
from swiftimgfs.store.login import (
    CallerLogin,
    CloudLogin,
    EnvironmentLogin,
    ReferenceLogin,
    log_in,
    missing_key,
)
from swiftimgfs.store.references import AccountReference
from tests.support.cloud import cloud

TRANSPORT = TransportOptions(timeout=10)
LIFETIME = 4  # seconds


@pytest.fixture(scope="module")
def openstack(tmp_path_factory):
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        add_endpoints(running)
        yield running


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory):
    """A cloud whose tokens live seconds."""
    directory = tmp_path_factory.mktemp("short-lived")
    with cloud(directory, token_expiration=LIFETIME) as running:
        yield running


def add_endpoints(running):
    """Register a second region, another URL inside, and a second service."""
    identity = running.keystone._admin
    [service] = identity.list_matching("services", type="object-store")
    other = identity.create("services", "service", type="object-archive", name="archive")
    identity.create("regions", "region", id="RegionTwo")
    for service_id, interface, region, url in (
        (service["id"], "public", "RegionTwo", "http://two.example.org/v1/KEY_x"),
        (other["id"], "public", "RegionOne", "http://archive.example.org/v1/KEY_x"),
        (service["id"], "internal", "RegionTwo", "http://inside.example.org/v1/KEY_x"),
    ):
        identity.create(
            "endpoints",
            "endpoint",
            interface=interface,
            region_id=region,
            service_id=service_id,
            url=url,
        )


def identity_for(login, environ=None, **endpoint):
    identity, _ = log_in(login, EndpointOptions(**endpoint), TRANSPORT, environ or {})
    return identity


def works(access):
    return requests.get(access.storage_url, headers=access.headers, timeout=10).ok


def reference(running, **changed):
    given = {
        "name": "ref1",
        "auth_address": running.keystone.auth_url,
        "user": "demo:demo",
        "key": "demo",
    }
    return AccountReference(**(given | changed)).with_domains()


def trusts_of(running):
    url = f"{running.keystone.auth_url}/OS-TRUST/trusts"
    return running.keystone._admin._session.get(url).json()["trusts"]


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


# ── the environment and clouds.yaml ────────────────────────────────────────────────────


def test_a_token_with_a_storage_url_is_used_as_it_is(openstack):
    token = openstack.session("demo", "demo").get_token()
    environ = {"OS_STORAGE_URL": openstack.storage_url("demo"), "OS_AUTH_TOKEN": token}

    access = identity_for(EnvironmentLogin(), environ).access()

    assert access.storage_url == openstack.storage_url("demo")
    assert works(access)


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({}, "ST_AUTH"),
        ({"ST_AUTH": "http://x", "ST_USER": "a:b"}, "ST_KEY"),
        ({"ST_AUTH": "ftp://x", "ST_USER": "a:b", "ST_KEY": "k"}, "not a URL"),
        ({"OS_STORAGE_URL": "swift.example.org"}, "not a URL"),
        ({"OS_STORAGE_URL": "http://[::1/v1/x"}, "not a URL"),
        ({"OS_STORAGE_URL": "http://h:bad/v1/x"}, "not a URL"),
        ({"OS_STORAGE_URL": "http://u:p@h/v1/x"}, "a password in it"),
    ],
)
def test_variables_that_do_not_make_a_login_are_told(environ, word):
    with pytest.raises(errors.ConfigError, match=word):
        identity_for(EnvironmentLogin(), environ)


@pytest.mark.parametrize(
    "plugin", ["v3password", "v3applicationcredential", "v3token", "token"]
)
def test_plugins_of_keystoneauth_are_loaded_by_their_name(openstack, monkeypatch, plugin):
    environ = {
        "OS_AUTH_TYPE": plugin,
        "OS_AUTH_URL": openstack.keystone.auth_url,
        "OS_REGION_NAME": "RegionOne",
    }
    if "token" in plugin:
        environ["OS_TOKEN"] = openstack.session("demo", "demo").get_token()
        environ |= {"OS_PROJECT_NAME": "demo", "OS_PROJECT_DOMAIN_ID": "default"}
    elif "application" in plugin:
        made = openstack.keystone.create_application_credential(plugin)
        environ |= openstack.keystone.credential_environ(made)
    else:
        environ |= openstack.environ("demo", "demo")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    access = identity_for(EnvironmentLogin(), environ).access()

    assert access.storage_url == openstack.storage_url("demo")
    assert works(access)


def test_a_cloud_without_a_password_asks_for_one(openstack, monkeypatch, tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text(
        f"""
clouds:
  mine:
    region_name: RegionOne
    auth:
      auth_url: {openstack.keystone.auth_url}
      username: demo
      project_name: demo
      user_domain_name: Default
      project_domain_name: Default
"""
    )
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    login = CloudLogin("mine")

    assert missing_key(login, {}) == "demo of cloud mine"
    with pytest.raises(errors.ConfigError, match="no password"):
        identity_for(login)
    assert works(identity_for(login, {"SWIFTIMGFS_KEY": "demo"}).access())


def test_a_cloud_that_is_not_there_is_told(monkeypatch, tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds: {mine: {auth: {}}, other: {auth: {}}}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))

    with pytest.raises(
        errors.ConfigError, match=f"no cloud 'nowhere': {file} has mine, other$"
    ):
        identity_for(CloudLogin("nowhere"))
    file.write_text("clouds: {}")
    with pytest.raises(errors.ConfigError, match=f"no cloud 'nowhere': {file} has none$"):
        identity_for(CloudLogin("nowhere"))


def test_without_a_clouds_yaml_the_places_are_told_where_one_was_looked_for(tmp_path):
    program = """
from swiftimgfs.store.clouds import region_of_cloud
region_of_cloud("nocloud")
"""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    said = done.stderr.strip().splitlines()[-1]
    assert "no cloud 'nocloud': there is no clouds.yaml in " in said
    for place in (tmp_path, tmp_path / "config" / "openstack", "/etc/openstack"):
        assert re.search(rf" {re.escape(str(place))}[,;]", said), said
    assert "OS_CLIENT_CONFIG_FILE can name one" in said


@pytest.mark.parametrize("text", [None, "hello", "[", "a: !!python/object:os.system x"])
def test_a_clouds_yaml_that_was_named_and_cannot_be_read_is_not_replaced_by_another(
    monkeypatch, tmp_path, text
):
    file = tmp_path / "clouds.yaml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))

    with pytest.raises(errors.ConfigError, match="OS_CLIENT_CONFIG_FILE"):
        identity_for(CloudLogin("mine"))


@pytest.mark.parametrize(
    "entry",
    [
        "{auth: ~}",
        "[]",
        "hello",
        "{auth: [1]}",
        "{auth_type: nonsense}",
        "{auth: {auth_url: 'http://['}}",
    ],
)
def test_a_cloud_of_the_wrong_shape_is_one_clear_refusal(monkeypatch, tmp_path, entry):
    file = tmp_path / "clouds.yaml"
    file.write_text(f"clouds:\n  mine: {entry}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))

    with pytest.raises(errors.ConfigError):
        identity_for(CloudLogin("mine"))


@pytest.mark.parametrize(
    "plugin",
    ["v3token", "token", "v3totp", "http_basic", "v3kerberos", "v2password", "nonsense"],
)
def test_variables_that_a_plugin_does_not_take_are_one_clear_refusal(
    openstack, monkeypatch, plugin
):
    environ = openstack.environ("demo", "demo") | {"OS_AUTH_TYPE": plugin}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(errors.ConfigError, match="env:"):
        identity_for(EnvironmentLogin(), environ)


def test_a_password_is_used_where_there_is_a_token_beside_it(openstack, monkeypatch):
    environ = openstack.environ("demo", "demo") | {"OS_AUTH_TOKEN": "gAAAAAnonsense"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert works(identity_for(EnvironmentLogin(), environ).access())


def test_a_token_and_the_address_of_keystone_are_enough(openstack):
    token = openstack.session("demo", "demo").get_token()
    environ = {"OS_AUTH_TOKEN": token, "OS_AUTH_URL": openstack.keystone.auth_url}

    identity = identity_for(EnvironmentLogin(), environ)

    assert works(identity.access())
    assert "cannot be renewed" in identity.warning


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
