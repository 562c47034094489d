"""A Keystone whose catalog has more than one Swift."""

from __future__ import annotations

import pytest

from tests.support.cloud import cloud


@pytest.fixture(scope="session")
def openstack(tmp_path_factory):
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        add_endpoints(running)
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
