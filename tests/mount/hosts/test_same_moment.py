"""Two hosts change one image at the same moment: neither can know, and neither must harm it.

Swift has no condition for a PUT that replaces something, and none for a DELETE. So a request
of one host is held on its way, after that has looked at the image, until the other is done.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.writing.garbage import OTHERS_COMMIT
from tests.support.fault_control import Fault
from tests.support.hosts import held
from tests.support.stored import content, names_in, orphans, wait_for
from tests.support.two_hosts import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

EDITED = b"edited" + LARGE[len(b"edited") :]
OTHER = LARGE[::-1]


def edit(image: Path, data: bytes = b"edited") -> None:
    with image.open("r+b", buffering=0) as file:
        file.write(data)


def edit_twice(image: Path) -> None:
    """Store a first edit at fsync and the second one at close."""
    with image.open("r+b", buffering=0) as file:
        file.write(b"first")
        os.fsync(file.fileno())
        file.seek(0)
        file.write(b"edited")


def overwrite(image: Path) -> None:
    image.write_bytes(OTHER)


def rename_over(image: Path) -> None:
    image.with_suffix(".new").rename(image)


def is_edit(store: Callable[[Path], None]) -> bool:
    return store in (edit, edit_twice)


def told(act: Callable[[], object]) -> int:
    """Do something; return the errno that is told, 0 for none."""
    try:
        act()
    except OSError as exc:
        return exc.errno or 0
    return 0


@contextlib.contextmanager
def on_its_way(
    swift: FaultySwift, act: Callable[[], object], request: Fault
) -> Iterator[Callable[[], int]]:
    """Have something be done, whose request waits as long as the context lasts.

    Yields:
        To be called after the context: returns the errno that was told.
    """
    with ThreadPoolExecutor() as threads, held(swift, request) as wait:
        doing = threads.submit(told, act)
        wait()
        yield doing.result
        assert not doing.done()
    time.sleep(OTHERS_COMMIT + 1)  # noqa: TID251  # by then what was replaced is gone


def commit_of(image: Path) -> Fault:
    """Return what holds the request that stores a large image."""
    target = rf"/{image.parent.name}/{image.name}\?.*multipart-manifest=put"
    return Fault(method="PUT", target=target, hold="before")


@pytest.mark.parametrize("store", [edit, overwrite])
def test_what_is_stored_after_another_host_has_edited_it_is_whole(
    here: Path, there: Path, swift: FaultySwift, container: str, store: Callable[[Path], None]
) -> None:
    (here / "image").write_bytes(LARGE)

    with on_its_way(swift, lambda: store(here / "image"), commit_of(here / "image")) as end:
        edit(there / "image", b"theirs")

    assert end() == 0
    assert content(swift, container, "image") == (EDITED if store is edit else OTHER)


@pytest.mark.parametrize("is_renamed", [False, True], ids=["overwritten", "renamed over"])
def test_an_edit_that_comes_after_another_hosts_version_is_whole(
    here: Path, there: Path, swift: FaultySwift, container: str, *, is_renamed: bool
) -> None:
    (here / "image").write_bytes(LARGE)
    (there / "new").write_bytes(OTHER)

    with on_its_way(swift, lambda: edit(here / "image"), commit_of(here / "image")) as end:
        if is_renamed:
            (there / "new").rename(there / "image")
        else:
            overwrite(there / "image")

    assert end() == 0
    assert content(swift, container, "image") == EDITED


@pytest.mark.parametrize("store", [edit, overwrite])
def test_what_is_stored_after_another_host_renamed_the_image_leaves_both_whole(
    here: Path, there: Path, swift: FaultySwift, container: str, store: Callable[[Path], None]
) -> None:
    (here / "image").write_bytes(LARGE)

    with on_its_way(swift, lambda: store(here / "image"), commit_of(here / "image")) as end:
        (there / "image").rename(there / "renamed")

    assert end() == 0
    assert content(swift, container, "image") == (EDITED if store is edit else OTHER)
    assert content(swift, container, "renamed") == LARGE
    (there / "image").unlink()
    assert content(swift, container, "renamed") == LARGE


@pytest.mark.parametrize("store", [edit, edit_twice, overwrite, rename_over])
def test_what_is_stored_while_another_host_takes_the_old_name_away_is_lost_on_neither(
    here: Path, there: Path, swift: FaultySwift, container: str, store: Callable[[Path], None]
) -> None:
    (here / "image").write_bytes(LARGE)
    (here / "image.new").write_bytes(OTHER)

    last = Fault(method="DELETE", target=f"/{container}/image$", hold="before")
    with on_its_way(swift, lambda: (there / "image").rename(there / "new"), last) as end:
        store(here / "image")

    assert end() == 0
    assert content(swift, container, "new") == LARGE
    assert content(swift, container, "image") == (EDITED if is_edit(store) else OTHER)
    (there / "new").unlink()
    (there / "image.new").unlink(missing_ok=True)
    assert content(swift, container, "image") == (EDITED if is_edit(store) else OTHER)
    assert orphans(swift, container, ["image"]) == []


def test_what_another_host_removes_or_renames_at_once_does_not_come_back(
    here: Path, there: Path, swift: FaultySwift, container: str
) -> None:
    (here / "image").write_bytes(LARGE)
    (here / "image").rename(here / "before")
    (here / "before").rename(here / "image")
    for act in ((there / "image").unlink, lambda: (there / "image").rename(there / "other")):
        (here / "image").write_bytes(OTHER)
        edit(here / "image")
        act()
    time.sleep(OTHERS_COMMIT + 1)  # noqa: TID251

    assert names_in(swift, container) == ["other"]
    assert content(swift, container, "other") == b"edited" + OTHER[len(b"edited") :]


def test_an_image_that_another_host_removed_does_not_come_back_without_its_segments(
    here: Path, there: Path, swift: FaultySwift, container: str
) -> None:
    (here / "image").write_bytes(LARGE)
    (there / "other").write_bytes(OTHER)
    (there / "image").stat()

    with ThreadPoolExecutor() as threads:
        with on_its_way(swift, lambda: edit(here / "image"), commit_of(here / "image")) as end:
            # The name is gone, and Swift finds the segments still that the edit names.
            late = Fault(method="DELETE", target="_segments/image/", delay=3, count=None)
            swift.control.inject(late)
            removed = threads.submit(told, (there / "image").unlink)
            wait_for(
                lambda: any(
                    r.method == "DELETE" and "_segments" in r.path
                    for r in swift.control.journal()
                )
            )
        assert (end(), removed.result()) == (0, 0)

    assert content(swift, container, "other") == OTHER
    assert orphans(swift, container, ["other"]) == []
    assert names_in(swift, container) == ["other"]


def test_of_two_renames_of_one_image_one_is_told_that_it_is_gone(
    here: Path, there: Path, swift: FaultySwift, container: str
) -> None:
    for name in ("before", "image"):
        (here / name).write_bytes(LARGE)
    swift.control.clear()
    (here / "before").rename(here / "renamed")
    looks = [
        r for r in swift.control.journal() if (r.method, r.path[-7:]) == ("HEAD", "/before")
    ]

    last = Fault(
        method="HEAD", target=f"/{container}/image\\?", skip=len(looks) - 1, hold="before"
    )
    with on_its_way(swift, lambda: (here / "image").rename(here / "one"), last) as end:
        (there / "image").rename(there / "two")

    assert end() == errno.ENOENT
    assert content(swift, container, "one") is None
    assert content(swift, container, "two") == LARGE
