"""Times through the kernel: what utimensat(2) sets, what is shown of it, what it costs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import settle
from tests.support.mounts import run, run_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

YEAR_2001 = 1_000_000_000


@pytest.fixture
def image(directory: Path) -> Path:
    path = directory / "image"
    path.write_bytes(b"bytes")
    run("touch", "-d", f"@{YEAR_2001}", path)
    settle(path)
    return path


def posts_of(swift: FaultySwift) -> int:
    return sum(request.method == "POST" for request in swift.control.journal())


# ── the time of the last access, which Swift does not keep ───────────────────────────────


def test_the_time_of_the_last_access_is_that_of_the_last_change(image: Path) -> None:
    image.read_bytes()

    status = image.stat()

    assert status.st_atime_ns == status.st_mtime_ns == YEAR_2001 * 10**9


@pytest.mark.parametrize(
    "command",
    [
        "touch -a {0}",
        "touch -a -d @1 {0}",
        "tar --atime-preserve=replace -cf /dev/null -C / {0}",
    ],
)
def test_setting_that_of_the_last_access_alone_succeeds_and_takes_no_request(
    swift: FaultySwift, image: Path, command: str
) -> None:
    swift.control.clear()

    said = run_all(*command.format(str(image)).split())
    settle(image)

    assert "Operation" not in said
    assert posts_of(swift) == 0
    assert image.stat().st_mtime == image.stat().st_atime == YEAR_2001


def test_tar_reads_without_leaving_a_trace(image: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    run("tar", "--atime-preserve=system", "-cf", archive, "-C", image.parent, image.name)

    run("tar", "-xf", archive, "-C", tmp_path)

    assert (tmp_path / "image").read_bytes() == b"bytes"
    assert (tmp_path / "image").stat().st_mtime == YEAR_2001


@pytest.mark.parametrize("tool", ["cp -a", "rsync -a", "rsync -aU"])
def test_copies_keep_the_time_of_the_last_change(
    directory: Path, tmp_path: Path, tool: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"bytes")
    os.utime(source, (YEAR_2001 + 5, YEAR_2001))

    said = run_all(*tool.split(), source, directory / "copy")

    assert said == ""
    status = (directory / "copy").stat()
    assert status.st_atime == status.st_mtime == YEAR_2001


def test_rsync_of_access_times_sends_them_again_and_no_bytes(
    swift: FaultySwift, directory: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_bytes(b"bytes")
        os.utime(source / name, (YEAR_2001 + 5, YEAR_2001))
    run("rsync", "-aU", f"{source}/", directory)
    swift.control.clear()

    run("rsync", "-aU", f"{source}/", directory)

    assert [r for r in swift.control.journal() if r.method == "PUT"] == []
    assert (directory / "a").stat().st_mtime == YEAR_2001
