"""A real Swift with faults, whose listings have short pages, and a store of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.store.image_store import ImageStore
from tests.support.embedded_swift import faulty_swift
from tests.support.pools import owner_of, pool_of

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
async def pool(faulty):
    async with contextlib.aclosing(pool_of(owner_of(faulty.swift))) as made:
        yield made


@pytest.fixture
async def store(faulty, pool, client):
    """A store that knows its cluster's limits and has a token."""
    connected = ImageStore(pool)
    await connected.connect()
    faulty.control.clear()
    return connected
