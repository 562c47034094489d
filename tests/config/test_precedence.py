"""Which of files, environment and command line counts, option by option."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swiftimgfs.config import settings as settings_module
from swiftimgfs.config.load import load_store_config
from swiftimgfs.config.settings import Settings, read_own_files, user_file
from swiftimgfs.errors import ConfigError
from tests.support.sources import KEY, refusal_of_file, written

SYSTEM, USER, ENVIRONMENT, GLANCE, COMMAND_LINE = range(1, 6)


@pytest.mark.parametrize("name", ["region", "swift_store_region"])
@pytest.mark.parametrize("strongest", range(6))
def test_what_is_nearer_to_the_command_line_wins(tmp_path, monkeypatch, name, strongest):
    """Whichever of its names an option has there: the weaker ones say the other here."""
    other = {"region": "swift_store_region", "swift_store_region": "region"}[name]

    def line(layer: int) -> str:
        if layer > strongest:
            return ""
        return f"{name if layer == strongest else other}={layer}\n"

    written(settings_module.SYSTEM_FILE, f"[swiftimgfs]\n{line(SYSTEM)}")
    written(user_file(), f"[swiftimgfs]\n{line(USER)}")
    if strongest >= ENVIRONMENT:
        variable = line(ENVIRONMENT).partition("=")[0].upper()
        monkeypatch.setenv(f"OS_SWIFTIMGFS__{variable}", str(ENVIRONMENT))
    glance = written(
        tmp_path / "glance-api.conf",
        "[glance_store]\nstores = swift\nswift_store_multi_tenant = true\n"
        + (f"swift_store_region = {GLANCE}\n" if strongest >= GLANCE else ""),
    )
    options = [line(COMMAND_LINE)] if strongest >= COMMAND_LINE else []

    config, settings = load_store_config(f"glance:{glance}", options)

    assert settings["swift_store_region"] == (str(strongest) if strongest else None)
    assert config.endpoint.region == settings["swift_store_region"]


def test_without_a_glance_file_the_environment_is_only_below_the_command_line(monkeypatch):
    written(user_file(), "[swiftimgfs]\nretries = 2\ntimeout = 2\n")
    monkeypatch.setenv("OS_SWIFTIMGFS__RETRIES", "3")
    monkeypatch.setenv("OS_SWIFTIMGFS__TIMEOUT", "3")

    settings = load_store_config("env:", ["timeout=4"])[1]

    assert (settings["retries"], settings["timeout"]) == (3, 4.0)


def test_layers_are_merged_option_by_option():
    written(settings_module.SYSTEM_FILE, "[swiftimgfs]\nretries = 2\nconnections = 2\n")
    written(user_file(), "[swiftimgfs]\nretries = 3\n")

    assert read_own_files() == {"retries": 3, "connections": 2}


def test_an_explicit_file_replaces_both_others_but_not_the_environment(tmp_path, monkeypatch):
    written(settings_module.SYSTEM_FILE, "[swiftimgfs]\nretries = 2\n")
    written(user_file(), "[swiftimgfs]\nconnections = 2\n")
    explicit = written(tmp_path / "mine.conf", "[swiftimgfs]\ntimeout = 9\ngid = 9\n")
    monkeypatch.setenv("OS_SWIFTIMGFS__GID", "10")

    assert read_own_files(explicit) == {"timeout": 9.0, "gid": 10}


def test_an_explicit_file_keeps_broken_ones_from_mattering(tmp_path):
    written(user_file(), "nonsense")
    explicit = written(tmp_path / "mine.conf", "")

    assert read_own_files(explicit) == {}


def test_nothing_has_to_be_there():
    assert read_own_files() == {}
    assert not Settings.of().given


def test_an_explicit_file_has_to_be_there(tmp_path):
    assert refusal_of_file(tmp_path / "none.conf").endswith(
        "none.conf: No such file or directory"
    )


def test_the_users_file_is_in_the_home_directory_unless_xdg_says_otherwise(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", "/home/someone")

    assert user_file() == Path("/home/someone/.config/swiftimgfs/swiftimgfs.conf")


def test_who_has_no_home_directory_has_no_file(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    monkeypatch.chdir(tmp_path)
    written(user_file(), "[swiftimgfs]\nretries = 2\n")

    assert read_own_files() == {}


@pytest.mark.parametrize("base", [".", "conf"])
def test_a_relative_directory_of_xdg_does_not_count(tmp_path, monkeypatch, base):
    """Its specification says so: whose directory we happen to be in is nobody's setting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", base)
    written(user_file(), "[swiftimgfs]\nretries = 2\n")

    assert read_own_files() == {}


def test_a_file_that_cannot_be_looked_for_is_refused_and_not_overlooked(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/" + 300 * "x")

    with pytest.raises(ConfigError, match="File name too long"):
        read_own_files()


def test_settings_know_what_somebody_set_apart_from_defaults():
    settings = Settings.of({"swift_store_service_type": "object-store", "retries": 5})

    assert settings.if_given("swift_store_service_type") == "object-store"
    assert settings.if_given("retries") == 5
    assert settings["timeout"] == 60.0
    assert settings.if_given("timeout") is None
    assert settings.given == {"swift_store_service_type", "retries"}


def test_an_empty_value_is_as_good_as_none(tmp_path):
    written(user_file(), "[swiftimgfs]\nregion =\nendpoint =\ncacert =\nservice_type =\n")

    config, _ = load_store_config("env:", [])

    assert (config.endpoint.region, config.endpoint.service_type) == (None, None)
    assert (config.endpoint.storage_url, config.transport.cacert) == (None, None)


def test_settings_do_not_show_what_may_be_a_password():
    assert KEY not in repr(Settings.of({"swift_store_key": KEY}))
