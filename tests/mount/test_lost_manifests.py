"""An image of which a manifest in its manifest is gone: there, and to be got rid of."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.kinds import PIECE, make_image, put_slo
from tests.support.mounts import run
from tests.support.stored import content, names_in, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

NEW = b"new" * 1000
REST = 5 * 4096  # the first page in which there is nothing of what is gone


@pytest.fixture(params=["gone", "replaced"])
def image(request: pytest.FixtureRequest, client: Any, directory: Path) -> Path:
    """Return an image whose first two thirds were named by a manifest of their own."""
    make_image(client, directory.name, "nested")
    segments = f"{directory.name}_elsewhere"
    if request.param == "gone":
        client.delete_object(segments, "inner")
    else:
        client.put_object(segments, "inner", b"something else")
    return directory / "old"


def test_only_what_it_named_cannot_be_read(image: Path) -> None:
    with image.open("rb", buffering=0) as file:
        file.seek(REST)
        rest = file.read()
        file.seek(0)
        with pytest.raises(OSError) as caught:
            file.read(100)

    assert image.stat().st_size == 3 * len(PIECE)
    assert rest == PIECE[REST - 2 * len(PIECE) :]
    assert caught.value.errno == errno.ESTALE


def test_it_can_be_copied_over(image: Path, swift: FaultySwift, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(NEW)

    run("cp", tmp_path / "new", image)

    assert content(swift, image.parent.name, "old") == NEW
    assert_gone(swift, image)


def test_what_it_named_can_be_written_again(image: Path, swift: FaultySwift) -> None:
    with image.open("r+b") as file:
        file.write(PIECE[::-1] * 2)

    assert content(swift, image.parent.name, "old") == PIECE[::-1] * 2 + PIECE


def test_it_can_be_renamed_over(image: Path, swift: FaultySwift) -> None:
    image.with_name("new").write_bytes(NEW)

    run("mv", image.with_name("new"), image)

    assert content(swift, image.parent.name, "old") == NEW
    assert_gone(swift, image)


def test_it_can_be_removed(image: Path, swift: FaultySwift) -> None:
    image.unlink()

    assert os.listdir(image.parent) == []
    assert_gone(swift, image)


def test_its_directory_can_be_removed(image: Path, client: Any, swift: FaultySwift) -> None:
    path = f"/{image.parent.name}_elsewhere/s1"
    inner = f"{image.parent.name}_elsewhere", "inner2"
    put_slo(client, *inner, [{"path": path}])
    put_slo(client, image.parent.name, "d/image", [{"path": "/" + "/".join(inner)}])
    client.delete_object(*inner)
    image.unlink()

    run("rm", "-r", image.parent / "d")

    assert os.listdir(image.parent) == []
    assert_gone(swift, image)


def assert_gone(swift: FaultySwift, image: Path) -> None:
    """Insist on only that being left which it never named itself."""
    segments = f"{image.parent.name}_elsewhere"
    wait_for(lambda: names_in(swift, segments) == ["s2"])
