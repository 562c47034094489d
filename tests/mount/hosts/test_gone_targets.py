"""A rename to a name that another host has freed a moment ago, as this one does not know yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.stored import names_in
from tests.support.two_hosts import LARGE, SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_an_image_is_renamed_over_one_that_is_gone(
    believing: Path, there: Path, content: bytes
) -> None:
    (there / "image").write_bytes(LARGE)
    (believing / "new").write_bytes(content)
    assert (believing / "image").stat().st_size == len(LARGE)

    (there / "image").unlink()
    (believing / "new").rename(believing / "image")

    assert (believing / "image").read_bytes() == content
    assert (there / "image").read_bytes() == content
    assert os.listdir(there) == ["image"]


def test_an_image_is_not_renamed_over_a_directory_that_came_in_its_place(
    believing: Path, there: Path
) -> None:
    (there / "image").write_bytes(SMALL)
    (believing / "new").write_bytes(SMALL)
    assert (believing / "image").is_file()

    (there / "image").unlink()
    (there / "image").mkdir()
    with pytest.raises(IsADirectoryError):
        (believing / "new").rename(believing / "image")

    assert sorted(os.listdir(there)) == ["image", "new"]


def test_a_directory_is_renamed_over_one_that_is_gone(
    swift: FaultySwift, believing: Path, there: Path
) -> None:
    (there / "d").mkdir()
    (believing / "new").mkdir()
    (believing / "new" / "image").write_bytes(SMALL)
    assert (believing / "d").is_dir()

    (there / "d").rmdir()
    (believing / "new").rename(believing / "d")

    assert (believing / "d" / "image").read_bytes() == SMALL
    assert names_in(swift, there.name) == ["d/", "d/image"]
