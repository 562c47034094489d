"""Mounts with the layout `images`, and images in the containers below them."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.support.embedded_swift import FaultySwift

SMALL = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"
FLAT = f"layout=images,{SMALL}"
MAKES = "create_container_on_put"
OURS = {"X-Object-Meta-Mtime": "1300000000.5"}  # what Glance does not store with an image


def new_id(start: str = "") -> str:
    """Return the id of an image that no test has had: mounts remember what they did."""
    return start + str(uuid.uuid4())[len(start) :]


def container_of(image_id: str, seed: int) -> str:
    return f"glance_{image_id[:seed]}" if seed else "glance"


def containers_of(swift: FaultySwift) -> list[str]:
    with contextlib.closing(swift.connect()) as client:
        return [row["name"] for row in client.get_account()[1]]


def put(swift: FaultySwift, container: str, name: str, data: bytes, **headers: str) -> None:
    with contextlib.closing(swift.connect()) as client:
        client.put_container(container)
        client.put_object(container, name, data, headers=headers)


def put_dlo(swift: FaultySwift, container: str, name: str, *parts: bytes) -> None:
    """Store an image in segments, as Glance does."""
    for number, part in enumerate(parts, 1):
        put(swift, container, f"{name}-{number:05d}", part)
    put(swift, container, name, b"", **{"X-Object-Manifest": f"{container}/{name}-"})


@contextlib.contextmanager
def flat(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory, options: str
) -> Iterator[Mounted]:
    directory = tmp_path_factory.mktemp("flat")
    with mounted(directory, swift.swift.environ(), f"{FLAT},{options}") as running:
        yield running
