"""Times and modes through the kernel: what is set, what is shown of it, and what that costs."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import settle
from tests.support.mounts import Mounted, mounted, run, run_all

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


# ── directories, whose attributes no listing tells ───────────────────────────────────────


def heads_of(swift: FaultySwift) -> int:
    return sum(request.method == "HEAD" for request in swift.control.journal())


def test_a_mount_shows_what_an_earlier_one_stored_with_directories(
    swift: FaultySwift, mount: Mounted, directory: Path, tmp_path: Path
) -> None:
    for path in (directory / "d", directory / "d" / "e", directory):
        path.mkdir(exist_ok=True)
        path.chmod(0o750)
        os.utime(path, (YEAR_2001, YEAR_2001))
        settle(path)
    with mounted(tmp_path, swift.swift.environ()) as fresh:
        seen = fresh.path / directory.name
        listed = run("ls", "-l", "--time-style=+%s", fresh.path, seen, seen / "d")
        stats = [path.stat() for path in (seen, seen / "d", seen / "d" / "e")]

    rows = [line.split() for line in listed.splitlines() if line.startswith("drwxr-x---")]
    assert {row[-1]: row[-2] for row in rows} == dict.fromkeys(
        [directory.name, "d", "e"], str(YEAR_2001)
    )
    assert {(status.st_mtime, stat.S_IMODE(status.st_mode)) for status in stats} == {
        (YEAR_2001, 0o750)
    }


def test_what_another_host_sets_of_a_directory_is_seen(
    swift: FaultySwift, directory: Path, tmp_path: Path
) -> None:
    (directory / "d").mkdir()
    os.listdir(directory)
    with mounted(tmp_path, swift.swift.environ()) as other:
        for path in (directory / "d", directory):
            there = other.path / path.relative_to(directory.parent)
            there.chmod(0o710)
            os.utime(there, (YEAR_2001, YEAR_2001))
            settle(there)

            status = path.stat()

            assert (status.st_mtime, stat.S_IMODE(status.st_mode)) == (YEAR_2001, 0o710)
            path.chmod(0o755)
            settle(path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o755
            there.chmod(0o711)
            settle(there)
            assert stat.S_IMODE(path.stat().st_mode) == 0o711


def test_rsync_of_a_tree_of_directories_does_nothing_the_second_time_in_another_mount(
    swift: FaultySwift, directory: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    for number in range(16):
        (source / f"d{number:02d}" / "e").mkdir(parents=True)
        (source / f"d{number:02d}" / "image").write_bytes(b"bytes")
    for path in [*source.rglob("*"), source]:
        os.utime(path, (YEAR_2001, YEAR_2001))
    run("rsync", "-a", f"{source}/", directory)
    for path in [directory, *directory.glob("**/")]:
        settle(path)
    with mounted(tmp_path, swift.swift.environ()) as fresh:
        swift.control.clear()

        changed = run("rsync", "-ai", "--delete", f"{source}/", fresh.path / directory.name)

    assert changed == ""
    assert {r.method for r in swift.control.journal()} == {"GET", "HEAD"}


def test_directories_that_carry_nothing_take_no_request_each(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    client = swift.connect()
    for number in range(100):
        client.put_object(container, f"d{number:02d}/image", b"x")
    client.close()
    with mounted(tmp_path, swift.swift.environ()) as fresh:
        swift.control.clear()

        listed = run("ls", "-l", fresh.path / container)

        assert listed.count("\nd") == 100
        assert heads_of(swift) < 30
