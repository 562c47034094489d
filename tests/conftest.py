"""Fixtures that several folders use: one real Swift for the whole run, and mounts of it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import uuid
from typing import TYPE_CHECKING

import hypothesis
import pytest

from swiftimgfs.store.image_store import ImageStore
from tests.support.cloud import Cloud, cloud
from tests.support.embedded_swift import FaultySwift, faulty_swift
from tests.support.mounts import Mounted, mounted
from tests.support.pools import owner_of, pool_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import swiftclient

    from swiftimgfs.store.connection import ConnectionPool

hypothesis.settings.register_profile("local", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "local"))

CAN_MOUNT = os.path.exists("/dev/fuse") and shutil.which("fusermount3") is not None


# Folders whose files mostly take seconds; many of the others take minutes on a busy machine.
SHORT = ("config", "disk_cache", "reading", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files before short ones, and skip what mounts where the machine cannot.

    Of several processes none is then left alone with a long file at the end.
    """
    items.sort(key=lambda item: item.path.parent.name in SHORT)
    if not CAN_MOUNT:
        for item in items:
            if item.get_closest_marker("mount"):
                item.add_marker(pytest.mark.skip(reason="needs /dev/fuse and fusermount3"))


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the journals of mounts somewhere else than in this host's own place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Take back what a command that was run in this process has set up of the log."""
    loggers = logging.getLogger(), logging.getLogger("swiftimgfs")
    before = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    yield
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySwift]:
    """Run one Swift for all tests; each test uses containers of its own."""
    with faulty_swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="module")
def mount(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount the whole account, with segments small enough for tests."""
    options = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"
    directory = tmp_path_factory.mktemp("mount")
    with mounted(directory, swift.swift.environ(), options) as running:
        yield running


@pytest.fixture
def client(swift: FaultySwift) -> Iterator[swiftclient.Connection]:
    """Lend a client that sees what is stored without any code of ours."""
    with contextlib.closing(swift.connect()) as connection:
        yield connection


@pytest.fixture
def faulty(server: FaultySwift) -> Iterator[FaultySwift]:
    """Lend `server`, a Swift that a folder or a module has for itself: each test finds it empty."""
    yield server
    server.reset()


@pytest.fixture
async def pool(faulty: FaultySwift) -> AsyncIterator[ConnectionPool]:
    """Have connections to that Swift, as a mount has them."""
    async with contextlib.aclosing(pool_of(owner_of(faulty.swift))) as made:
        yield made


@pytest.fixture
async def store(
    faulty: FaultySwift, pool: ConnectionPool, client: swiftclient.Connection
) -> ImageStore:
    """Return a store that knows its cluster's limits and has a token."""
    connected = ImageStore(pool)
    await connected.connect()
    faulty.control.clear()
    return connected


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Run a Keystone and its Swift for the tests of a module."""
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture
def container(swift: FaultySwift) -> Iterator[str]:
    """Make a container, and forget faults that a test left behind."""
    name = f"c{uuid.uuid4().hex[:12]}"
    client = swift.connect()
    client.put_container(name)
    yield name
    client.close()
    swift.control.clear()
