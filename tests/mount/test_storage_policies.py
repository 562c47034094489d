"""Containers of different storage policies: what moves between them, and what stays."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from swiftimgfs.writing.garbage import OTHERS_COMMIT
from tests.support.embedded_swift import FaultySwift, faulty_swift
from tests.support.kinds import make_image
from tests.support.mounts import Mounted, mounted, run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mount

LARGE = os.urandom(600_000)
HERE, THERE = "here", "there"


@pytest.fixture(scope="module")
def tiered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySwift]:
    directory = tmp_path_factory.mktemp("tiered")
    with faulty_swift(directory, policies=("gold", "silver")) as running:
        yield running


@pytest.fixture
def client(tiered: FaultySwift) -> Iterator[Any]:
    """Have a container of each policy, and nothing else."""
    tiered.reset()
    with contextlib.closing(tiered.connect()) as connection:
        connection.put_container(HERE)
        connection.put_container(THERE, {"X-Storage-Policy": "silver"})
        yield connection


@pytest.fixture(scope="module")
def store(tiered: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    options = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"
    with mounted(tmp_path_factory.mktemp("store"), tiered.swift.environ(), options) as running:
        yield running


def policy_of(store: Mounted, container: str) -> str:
    return os.getxattr(store.path / container, "user.swift.storage_policy").decode()


def objects_of(client: Any) -> set[str]:
    """Return the names of all objects of the account, with their containers."""
    containers = [row["name"] for row in client.get_account()[1]]
    return {
        f"{container}/{row['name']}"
        for container in containers
        for row in client.get_container(container)[1]
    }


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("plain", {"s1", "s2"}),
        ("slo", {"s2"}),
        ("ranges", {"s2"}),
        ("nested", {"s2"}),
        ("dlo", set()),
    ],
)
def test_an_image_moves_to_a_container_of_another_policy_and_its_segments_stay(
    client: Any, store: Mounted, kind: str, left: set[str]
) -> None:
    """What is `left` of them when the image is removed is what it does not name."""
    expected = make_image(client, HERE, kind)
    segments = objects_of(client) - {f"{HERE}/old"}

    run("mv", store.path / HERE / "old", store.path / THERE / "new")

    assert (policy_of(store, HERE), policy_of(store, THERE)) == ("gold", "silver")
    assert (store.path / THERE / "new").read_bytes() == expected
    assert client.get_object(THERE, "new")[1] == expected
    assert objects_of(client) == segments | {f"{THERE}/new"}
    run("rm", store.path / THERE / "new")
    assert objects_of(client) == {f"{HERE}_elsewhere/{name}" for name in left}


def test_an_image_of_ours_moves_and_goes_with_all_its_segments(
    client: Any, store: Mounted
) -> None:
    (store.path / HERE / "old").write_bytes(LARGE)

    run("mv", store.path / HERE / "old", store.path / THERE / "new")
    with (store.path / THERE / "new").open("ab") as image:
        image.write(b"more")

    assert client.get_object(THERE, "new")[1] == LARGE + b"more"
    assert client.head_container(f"{HERE}_segments")["x-storage-policy"] == "gold"
    run("rm", store.path / THERE / "new")
    time.sleep(OTHERS_COMMIT + 0.5)  # noqa: TID251  # what the edit replaced goes by then
    assert objects_of(client) == set()


def test_a_directory_moves_to_a_container_of_another_policy(
    client: Any, store: Mounted
) -> None:
    (store.path / HERE / "d" / "e").mkdir(parents=True)
    (store.path / HERE / "d" / "large").write_bytes(LARGE)
    (store.path / HERE / "d" / "e" / "small").write_bytes(b"small")

    run("mv", store.path / HERE / "d", store.path / THERE)

    assert client.get_container(HERE)[1] == []
    assert (store.path / THERE / "d" / "large").read_bytes() == LARGE
    assert (store.path / THERE / "d" / "e" / "small").read_bytes() == b"small"
