"""What was closed on one host is seen on the other."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from swiftimgfs import cli
from tests.support.fault_control import Fault
from tests.support.mounts import mounted
from tests.support.two_hosts import LARGE, SEGMENTS, SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_what_one_host_makes_changes_and_removes_the_other_sees(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "image").write_bytes(content)
    made = (there / "image").read_bytes()
    (here / "image").write_bytes(content + b"+")
    changed = (there / "image").read_bytes(), (there / "image").stat().st_size
    listed = os.listdir(there)
    (here / "image").unlink()

    assert made == content
    assert changed == (content + b"+", len(content) + 1)
    assert listed == ["image"]
    assert not (there / "image").exists()
    assert os.listdir(there) == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_a_rename_on_one_host_is_one_on_the_other(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "old").write_bytes(content)
    assert (there / "old").read_bytes() == content

    (here / "old").rename(here / "new")

    assert os.listdir(there) == ["new"]
    assert not (there / "old").exists()
    assert (there / "new").read_bytes() == content


def test_directories_and_attributes_are_seen_by_the_other(here: Path, there: Path) -> None:
    (here / "d").mkdir()
    (here / "d" / "image").write_bytes(SMALL)
    os.utime(here / "d" / "image", (1_000_000_000, 1_000_000_000))
    (here / "d" / "image").chmod(0o640)

    deadline = time.monotonic() + 10  # what is changed goes to Swift a moment later
    status = (there / "d" / "image").stat()
    while status.st_mode & 0o777 != 0o640 and time.monotonic() < deadline:
        threading.Event().wait(0.05)
        status = (there / "d" / "image").stat()
    (there / "d" / "image").unlink()
    (there / "d").rmdir()

    assert (status.st_mtime, status.st_mode & 0o777) == (1_000_000_000, 0o640)
    assert not (here / "d" / "image").exists()


def test_within_the_attribute_timeout_the_other_sees_a_change(
    here: Path, swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    """With the defaults: 1 s."""
    (here / "image").write_bytes(SMALL)
    with mounted(tmp_path, swift.swift.environ(), SEGMENTS) as default:
        image = default.path / container / "image"
        assert image.read_bytes() == SMALL
        (here / "image").write_bytes(LARGE)
        deadline = time.monotonic() + 10  # a loaded machine
        while image.stat().st_size != len(LARGE) and time.monotonic() < deadline:
            threading.Event().wait(0.05)

        assert image.read_bytes() == LARGE


def test_a_mapping_of_pages_is_of_one_version(here: Path, there: Path) -> None:
    """The kernel's pages of the old version go when the new one is opened."""
    (here / "image").write_bytes(b"a" * 100_000)
    assert (there / "image").read_bytes() == b"a" * 100_000

    (here / "image").write_bytes(b"b" * 100_000)

    assert (there / "image").read_bytes() == b"b" * 100_000


def test_what_this_mount_stored_and_another_removed_is_listed_no_more(
    here: Path, there: Path
) -> None:
    (here / "image").write_bytes(SMALL)
    (here / "kept").write_bytes(SMALL)
    assert sorted(os.listdir(there)) == ["image", "kept"]

    (there / "image").unlink()

    assert os.listdir(here) == ["kept"]


def test_what_was_looked_at_and_found_gone_is_listed_no_more(
    swift: FaultySwift, container: str, there: Path, tmp_path: Path
) -> None:
    """With the defaults: a listing is good for a minute."""
    with mounted(tmp_path, swift.swift.environ(), SEGMENTS) as default:
        own = default.path / container
        (own / "image").write_bytes(SMALL)
        assert os.listdir(own) == ["image"]
        (there / "image").unlink()
        assert cli.main(["refresh", str(own / "image")]) == 1

        assert os.listdir(own) == []


def test_what_a_listing_lacks_that_lags_shows_all_the_same(
    swift: FaultySwift, here: Path, container: str
) -> None:
    (here / "image").write_bytes(SMALL)
    lagging = Fault(method="GET", target=f"/{container}\\?", status=200, body="[]", count=None)
    swift.control.inject(lagging)

    assert os.listdir(here) == ["image"]


def test_a_directory_that_this_mount_removed_and_another_made_again_is_seen(
    here: Path, there: Path
) -> None:
    (here / "d").mkdir()
    assert cli.main(["refresh", str(there)]) == 0
    (there / "d").rmdir()
    assert cli.main(["refresh", str(here)]) == 0
    (here / "d").mkdir()
    (here / "d" / "image").write_bytes(SMALL)
    assert cli.main(["refresh", str(there)]) == 0

    assert os.listdir(there) == ["d"]
    assert (there / "d" / "image").read_bytes() == SMALL


def test_a_tree_without_markers_is_removed_as_a_whole(
    swift: FaultySwift, container: str, here: Path
) -> None:
    with contextlib.closing(swift.connect()) as client:
        for name in ("a/b/c", "a/b/d", "a/e/f/g"):
            client.put_object(container, name, b"image")
        assert cli.main(["refresh", str(here)]) == 0
        subprocess.run(["rm", "-r", here / "a"], check=True)

        assert os.listdir(here) == []
        assert client.get_container(container)[1] == []
