"""docs/glance.md has all of the driver, and the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swiftimgfs.config.glance_options import GLANCE_OPTIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glance.md").read_text(encoding="utf-8")

# glance_store's API page for `glance_store._drivers.swift.store`, class by class.
DRIVER = {
    "BaseStore": (
        "CHUNKSIZE OPTIONS add configure create_location delete get get_connection get_manager"
        " get_schemes get_size get_store_connection init_client"
    ),
    "ChunkReader": "do_read read",
    "MultiTenantStore": (
        "EXAMPLE_URL create_location delete get_connection get_manager init_client set_acls"
    ),
    "SingleTenantStore": (
        "EXAMPLE_URL configure configure_add create_location get_connection"
        " get_container_name get_manager init_client"
    ),
    "StoreLocation": "get_uri parse_uri process_specs swift_url",
}
NAMES = [f"{of}.{name}" for of, names in DRIVER.items() for name in names.split()]


@pytest.mark.parametrize("name", [*DRIVER, *NAMES, "Store(conf)", "swift_retry_iter"])
def test_each_name_of_the_driver_is_there(name):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("option", [option.name for option in GLANCE_OPTIONS])
def test_each_option_is_there(option):
    assert f"`{option}`" in PAGE


NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def test_there_are_tests_named():
    assert len(NAMED) > 20


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_each_test_that_is_named_is_there(file, test):
    assert re.search(rf"def {test}\(", (ROOT / file).read_text(encoding="utf-8"))
