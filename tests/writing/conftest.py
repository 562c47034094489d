"""A real Swift with faults, and writers to it as a mount has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swiftimgfs.reading.block_cache import BlockCache
from swiftimgfs.reading.fetcher import Fetcher
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.reading.verifier import Verifier
from swiftimgfs.writing.budget import DirtyBudget
from swiftimgfs.writing.parts import WriteParts
from swiftimgfs.writing.writer import ImageWriter
from tests.support.embedded_swift import faulty_swift
from tests.support.writers import OPTIONS, RANDOM, write_all

if TYPE_CHECKING:
    from swiftimgfs.layout import Layout


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Run a Swift that each test finds empty."""
    with faulty_swift(tmp_path_factory.mktemp("swift")) as faulty:
        yield faulty


@pytest.fixture
def client(faulty):
    with faulty.client("c") as connection:
        yield connection


@pytest.fixture
def fetcher(store, pool, nursery):
    cache = BlockCache(16 * 1024**2)
    verifier = Verifier(store, cache, pool.retry, pool.compute, is_on=True)
    return Fetcher(store, cache, verifier, pool.retry, nursery, connections=4)


@pytest.fixture
def parts(store, nursery, tmp_path):
    """Return what the writers of one mount share."""

    def of(options=OPTIONS):
        budget = DirtyBudget(options.memory_limit, options.spool_size)
        slots = trio.Semaphore(options.connections)
        return WriteParts(store, nursery, budget, tmp_path / "spool", options, slots=slots)

    return of


@pytest.fixture
def open_writer(parts, fetcher):
    """Start to write image `c/image`, as a mount does."""

    def start(*, base=None, options=OPTIONS, container="c", is_edit=False):
        reader = ImageReader(fetcher)
        shared = parts(options)
        return ImageWriter(shared, container, "image", reader, base=base, is_edit=is_edit)

    return start


@pytest.fixture
def content(fetcher):
    """Return what a layout's bytes are."""

    async def read(layout: Layout) -> bytes:
        return bytes(await ImageReader(fetcher).read(layout, 0, layout.size))

    return read


@pytest.fixture
async def base(open_writer):
    """Return an image of six segments that is in Swift."""
    writer = open_writer()
    await write_all(writer, RANDOM)
    committed = await writer.commit()
    await writer.close()
    return committed.image
