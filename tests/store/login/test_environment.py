"""Logins of the environment and of clouds.yaml."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from swiftimgfs import errors
from swiftimgfs.store.login import CloudLogin, EnvironmentLogin, missing_key
from tests.support.logins import identity_for, works


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
