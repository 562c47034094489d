"""A name is removed, replaced or taken while this mount stores something under it.

Each is made to happen in the middle by a request that takes a second; a local disk ends
as these tests want it.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.fault_control import Fault
from tests.support.stored import content, orphans, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.mounts import Mounted

pytestmark = pytest.mark.mount

SIZES = {"plain": 1_000, "large": 500_000}  # of the mount that all tests share


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Run something beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def slow(swift: FaultySwift, path: Path, method: str) -> None:
    """Have the next request of a kind for an image take a second."""
    swift.control.clear()
    target = f"{path.parent.name}/{path.name}($|[?])"
    swift.control.inject(Fault(method=method, target=target, delay=1))


def wait_until_slow(swift: FaultySwift) -> None:
    """Return when that request is on its way."""
    wait_for(lambda: any(request.harmed for request in swift.control.journal()))


def stored(swift: FaultySwift, container: str) -> dict[str, bytes | None]:
    """Return what Swift has in a container."""
    with closing(swift.connect()) as client:
        names = [row["name"] for row in client.get_container(container)[1]]
    return {name: content(swift, container, name) for name in names}


@pytest.fixture(params=SIZES.values(), ids=tuple(SIZES))
def size(request: pytest.FixtureRequest) -> int:
    """The size of an image."""
    return int(request.param)


@pytest.fixture(params=["PUT of a new one", "PUT over an old one", "HEAD of an old one"])
def storing(
    request: pytest.FixtureRequest,
    swift: FaultySwift,
    mount: Mounted,
    beside: ThreadPoolExecutor,
    container: str,
    size: int,
) -> tuple[Path, Future[None]]:
    """Begin to store an image; return where, and what is over once it is closed.

    The last step of its commit is on its way: the look at what is replaced, or the PUT.
    """
    method, _, where = request.param.partition(" ")
    path = mount.path / container / "image"
    if "old" in where:
        path.write_bytes(random.Random("old").randbytes(size))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, random.Random("new").randbytes(size))
    slow(swift, path, method)
    closing_it = beside.submit(os.close, descriptor)
    wait_until_slow(swift)
    return path, closing_it


def test_an_image_that_is_removed_while_it_is_stored_is_gone(
    swift: FaultySwift, storing: tuple[Path, Future[None]]
) -> None:
    image, closing_it = storing

    image.unlink()
    closing_it.result()

    container = image.parent.name
    assert os.listdir(image.parent) == []
    wait_for(lambda: content(swift, container, "image") is None)
    assert orphans(swift, container, []) == []


def test_an_image_that_is_replaced_while_it_is_stored_stays_replaced(
    swift: FaultySwift, storing: tuple[Path, Future[None]]
) -> None:
    image, closing_it = storing
    image.with_name("other").write_bytes(b"other")

    image.with_name("other").rename(image)
    closing_it.result()

    container = image.parent.name
    assert image.read_bytes() == b"other"
    assert stored(swift, container) == {"image": b"other"}
    assert orphans(swift, container, ["image"]) == []


def test_an_image_that_was_stored_and_removed_while_it_is_open_is_gone_at_the_close(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    path = mount.path / container / "image"
    with path.open("wb") as file:
        file.write(b"stored by this handle")
        file.flush()
        os.fsync(file.fileno())
        path.unlink()

    wait_for(lambda: content(swift, container, "image") is None)


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
@pytest.mark.parametrize("how", ["create", "rename"])
def test_a_new_image_may_come_while_the_removed_one_is_being_deleted(
    swift: FaultySwift, mount: Mounted, container: str, method: str, how: str
) -> None:
    path = mount.path / container / "small"
    path.write_bytes(b"old")
    if how == "rename":
        path.with_name("other").write_bytes(b"new")
    descriptor = os.open(path, os.O_RDONLY)
    path.unlink()
    slow(swift, path, method)

    os.close(descriptor)  # whose release the kernel does not wait for
    wait_until_slow(swift)
    if how == "rename":
        path.with_name("other").rename(path)
    else:
        path.write_bytes(b"new")

    wait_for(lambda: all(r.duration for r in swift.control.journal() if r.harmed))
    assert content(swift, container, "small") == b"new" == path.read_bytes()
