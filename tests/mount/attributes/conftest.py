"""A Swift with narrow limits of what an image carries."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.support.embedded_swift import FaultySwift, faulty_swift

if TYPE_CHECKING:
    from collections.abc import Iterator

    import swiftclient


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySwift]:
    """Run a Swift with limits of its own, which it tells.

    They are less than what a disk of ext4 takes of all attributes of a file, on which Swift
    would answer 507, and ask that disk no more for a while.
    """
    constraints = {"max_meta_count": 24, "max_meta_overall_size": 2048}
    with faulty_swift(tmp_path_factory.mktemp("swift"), constraints=constraints) as running:
        yield running


@pytest.fixture(scope="session")
def client(swift: FaultySwift) -> Iterator[swiftclient.Connection]:
    with contextlib.closing(swift.connect()) as connection:
        yield connection
