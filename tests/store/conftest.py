"""A real Swift with faults, whose listings have short pages, and a store of it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.store.auth import FixedIdentity
from swiftimgfs.store.image_store import ImageStore
from tests.support.embedded_swift import faulty_swift
from tests.support.pools import pool_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded_swift import FaultySwift


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySwift]:
    """Run a Swift that each test finds empty."""
    constraints = {"container_listing_limit": 5}
    with faulty_swift(tmp_path_factory.mktemp("swift"), constraints=constraints) as faulty:
        yield faulty


@pytest.fixture
def client(faulty):
    with faulty.client("c", "segs") as connection:
        yield connection


@pytest.fixture
async def others_store(faulty, client):
    """Of a user of another account, who may do all but what the owner alone may."""
    grant = json.dumps({"read-write": ["other:other"]})
    client.post_account({"X-Account-Access-Control": grant})
    with contextlib.closing(faulty.connect(user="other:other", key="other")) as other:
        token = other.get_auth()[1]
    async with contextlib.aclosing(
        pool_of(FixedIdentity(faulty.swift.storage_url, token))
    ) as pool:
        made = ImageStore(pool)
        await made.connect()
        faulty.control.clear()
        yield made
    client.post_account({"X-Account-Access-Control": ""})
