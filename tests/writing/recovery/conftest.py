"""What a mount left that died, and the next one that looks after it."""

from __future__ import annotations

import contextlib

import pytest

from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.recovery import Recovery
from swiftimgfs.writing.state_directory import StateDirectory
from tests.support.embedded_swift import faulty_swift
from tests.support.journals import compute, die, session_in
from tests.support.leftovers import SETTLE
from tests.support.pools import owner_of, pool_of


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    constraints = {"container_listing_limit": 20}
    with faulty_swift(tmp_path_factory.mktemp("swift"), constraints=constraints) as faulty:
        yield faulty


@pytest.fixture
def client(faulty):
    with faulty.client("c", "s") as connection:
        yield connection


@pytest.fixture
async def pool(faulty):
    async with contextlib.aclosing(pool_of(owner_of(faulty.swift), tries=1)) as made:
        yield made


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def dead(state, pool, store):
    """A session that dies when the test recovers."""
    return session_in(state, pool.storage_url)


@pytest.fixture
async def entry(dead):
    """An upload of c/image over what is there."""
    entry = await Journal(dead, compute).begin("c", "image", "base")
    await entry.place("s", "image/slo/new/")
    return entry


@pytest.fixture
def recover(store, state, pool, dead):
    async def recover(*, send_again=None, settle=SETTLE):
        async def refuse(found, entry):
            raise AssertionError(found)

        with contextlib.suppress(OSError):
            die(dead)
        await Recovery(
            store,
            StateDirectory(state),
            pool.storage_url,
            compute,
            settle_seconds=settle,
            send_again=send_again or refuse,
        ).run()

    return recover
