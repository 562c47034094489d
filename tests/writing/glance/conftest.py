"""Writers in Glance's format, to the Swift that other folders use too."""

from __future__ import annotations

import pytest

from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.writing.writer import ImageWriter
from tests.support.glance_writers import OPTIONS, World


@pytest.fixture
def faulty(swift):
    """The Swift of all tests: each here has a container of its own."""
    return swift


@pytest.fixture
def client(faulty, container):
    with faulty.client(container) as connection:
        yield connection


@pytest.fixture
def world(swift, client, store, container):
    return World(swift, client, store, container)


@pytest.fixture
def open_writer(world, parts, fetcher):
    def start(*, base=None, is_edit=False, name=None, options=OPTIONS):
        place = world.container, name or world.image_id
        reader = ImageReader(fetcher)
        return ImageWriter(parts(options), *place, reader, base=base, is_edit=is_edit)

    return start


@pytest.fixture
def edit(open_writer, world):
    """Open an image as it is, to be changed."""

    async def start():
        info = await world.store.head_image(world.container, world.image_id)
        return open_writer(base=await world.store.resolve(info), is_edit=True)

    return start
