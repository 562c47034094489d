"""Mounts of one flat directory, over many containers and over those of tenants."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.flat_images import MAKES, flat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded_swift import FaultySwift
    from tests.support.mounts import Mounted


@pytest.fixture(scope="module")
def seeded_mount(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    with flat(swift, tmp_path_factory, f"multiple_containers_seed=2,{MAKES}") as running:
        yield running


@pytest.fixture(scope="module")
def tenant_mount(
    swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    with flat(swift, tmp_path_factory, f"multi_tenant,{MAKES}") as running:
        yield running


@pytest.fixture
def account(swift: FaultySwift) -> FaultySwift:
    """Return a Swift in which there is nothing yet."""
    swift.reset()
    return swift


@pytest.fixture
def seeded(account: FaultySwift, seeded_mount: Mounted) -> Iterator[Mounted]:
    """Lend the mount of a store of many containers, made as they are needed."""
    yield seeded_mount
    os.listdir(seeded_mount.path)  # else it goes on showing what the next test does not have


@pytest.fixture
def tenant(account: FaultySwift, tenant_mount: Mounted) -> Iterator[Mounted]:
    """Lend the mount of a store where each image has a container of its own."""
    yield tenant_mount
    os.listdir(tenant_mount.path)
