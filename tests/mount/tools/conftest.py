"""A mount with the options as they come, and a tree to be copied to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, mounted
from tests.support.trees import LARGE, OPTIONS, SMALL, YEAR_2001

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift


@pytest.fixture(scope="module")
def store(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount the account as somebody does who sets nothing but small segments."""
    with mounted(tmp_path_factory.mktemp("tools"), swift.swift.environ(), OPTIONS) as running:
        yield running


@pytest.fixture
def images(store: Mounted, container: str) -> Path:
    """Return an empty container."""
    return store.path / container


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """Return a local tree: small, large and empty files, in directories, with times and modes."""
    tree = tmp_path / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / "small").write_bytes(SMALL)
    (tree / "sub" / "large").write_bytes(LARGE)
    (tree / "sub" / "deep" / "empty").touch()
    (tree / ".hidden").write_bytes(b"h")
    for number, path in enumerate(sorted(tree.rglob("*"))):
        os.utime(path, (YEAR_2001 + number, YEAR_2001 + number))
    (tree / "small").chmod(0o640)
    return tree
