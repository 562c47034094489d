"""Tools that copy, move, remove and date: as on a local disk, and in silence."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import mounted, run, run_all
from tests.support.trees import LARGE, SMALL, YEAR_2001, facts_of, files_in, quietly

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


# ── copying ──────────────────────────────────────────────────────────────────────────────


def test_cp_a_keeps_bytes_times_and_modes(images: Path, local: Path, tmp_path: Path) -> None:
    quietly("cp", "-a", local, images)
    quietly("cp", "-a", images / "tree", tmp_path / "back")

    assert files_in(images / "tree") == files_in(local)
    assert facts_of(images / "tree") == facts_of(local)
    assert facts_of(tmp_path / "back") == facts_of(local)


def test_cp_inside_the_mount_and_its_ways_not_to_overwrite(images: Path) -> None:
    (images / "a").write_bytes(LARGE)
    (images / "b").write_bytes(SMALL)

    quietly("cp", "--reflink=auto", images / "a", images / "c")
    run("cp", "-n", images / "a", images / "b", status=0)
    quietly("cp", "--remove-destination", images / "b", images / "c")

    assert (images / "b").read_bytes() == SMALL
    assert (images / "c").read_bytes() == SMALL


def test_rsync_a_delete_run_twice_does_nothing_the_second_time(
    images: Path, local: Path
) -> None:
    copy = ["rsync", "-a", "--delete", "--itemize-changes", f"{local}/", f"{images}/"]
    first = run_all(*copy)
    second = run_all(*copy)
    (local / "small").unlink()
    third = run_all(*copy)

    assert first.count(">f") == 4
    assert second == ""
    assert "*deleting   small" in third
    assert files_in(images) == files_in(local)
    assert facts_of(images) == facts_of(local)


def test_rsync_out_of_the_mount_and_with_checksums(
    images: Path, local: Path, tmp_path: Path
) -> None:
    quietly("cp", "-a", f"{local}/.", images)

    quietly("rsync", "-a", f"{images}/", tmp_path / "back")
    again = run_all("rsync", "-aci", f"{images}/", tmp_path / "back")

    assert facts_of(tmp_path / "back") == facts_of(local)
    assert ">f" not in again


def test_tar_packs_and_unpacks(images: Path, local: Path, tmp_path: Path) -> None:
    quietly("tar", "-C", local, "-cf", images / "a.tar", ".")
    (images / "out").mkdir()
    quietly("tar", "-C", images / "out", "-xpf", images / "a.tar")
    differences = run_all("tar", "-C", images / "out", "--compare", "-f", images / "a.tar")
    quietly("tar", "-C", images / "out", "-czf", tmp_path / "b.tgz", ".")

    assert facts_of(images / "out") == facts_of(local)
    assert differences == ""
    assert "./sub/large" in run("tar", "-tzf", tmp_path / "b.tgz")


@pytest.mark.parametrize(
    "command",
    [
        'rsync -aX "$1/" "$2/"',
        'cp -a "$1/." "$2"',
        'tar -C "$1" --xattrs -cf - . | tar -C "$2" --xattrs -xpf -',
    ],
)
def test_attributes_of_one_s_own_are_kept_over_a_round_trip(
    images: Path, local: Path, tmp_path: Path, command: str
) -> None:
    quietly("setfattr", "-n", "user.origin", "-v", "a b", local / "sub" / "large")
    (tmp_path / "back").mkdir()

    quietly("sh", "-c", command, "sh", local, images)
    quietly("sh", "-c", command, "sh", images, tmp_path / "back")

    for tree in (images, tmp_path / "back"):
        assert os.getxattr(tree / "sub" / "large", "user.origin") == b"a b"
        assert facts_of(tree) == facts_of(local)


def test_rsync_ax_delete_run_twice_does_nothing_the_second_time(
    images: Path, local: Path
) -> None:
    quietly("setfattr", "-n", "user.origin", "-v", "a b", local / "sub" / "large")
    copy = ["rsync", "-aXi", "--delete", f"{local}/", f"{images}/"]

    run_all(*copy)

    assert run_all(*copy) == ""


def test_install_makes_a_file_with_a_mode(images: Path, local: Path) -> None:
    quietly("install", "-D", "-m", "600", local / "small", images / "new" / "small")

    assert stat.S_IMODE((images / "new" / "small").stat().st_mode) == 0o600
    assert (images / "new" / "small").read_bytes() == SMALL


# ── moving and removing ──────────────────────────────────────────────────────────────────


def test_mv_renames_replaces_and_refrains(images: Path, tmp_path: Path) -> None:
    (images / "a").write_bytes(LARGE)
    (images / "b").write_bytes(SMALL)

    quietly("mv", images / "a", images / "c")
    run("mv", "-n", images / "c", images / "b")
    refrained = sorted(os.listdir(images))
    quietly("mv", "-f", images / "c", images / "b")
    quietly("mv", images / "b", tmp_path / "out")

    assert refrained == ["b", "c"]
    assert (tmp_path / "out").read_bytes() == LARGE
    assert os.listdir(images) == []


def test_mv_moves_directories_with_all_in_them(images: Path, local: Path) -> None:
    quietly("cp", "-a", local, images)

    quietly("mv", images / "tree", images / "moved")

    assert facts_of(images / "moved") == facts_of(local)
    assert os.listdir(images) == ["moved"]


def test_rm_and_mkdir_work_on_trees(images: Path) -> None:
    quietly("mkdir", "-p", images / "a" / "b" / "c")
    (images / "a" / "b" / "file").write_bytes(SMALL)
    run("rmdir", images / "a", status=1)
    quietly("rm", "-r", images / "a")
    quietly("mkdir", "-p", images / "d" / "e")
    quietly("sh", "-c", 'cd "$1" && rmdir -p d/e', "sh", images)

    assert os.listdir(images) == []


def test_links_and_pipes_are_refused_with_one_line(images: Path) -> None:
    (images / "image").write_bytes(SMALL)

    for command in (f"ln {images}/image {images}/l", f"mkfifo {images}/pipe"):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Operation not permitted" in done.stderr


# ── attributes ───────────────────────────────────────────────────────────────────────────


def test_touch_makes_dates_and_refrains(images: Path) -> None:
    quietly("touch", images / "new")
    quietly("touch", "-d", f"@{YEAR_2001}", images / "new")
    quietly("touch", "-r", images / "new", images / "same")
    quietly("touch", "-c", images / "none")

    assert sorted(os.listdir(images)) == ["new", "same"]
    assert {(images / name).stat().st_mtime for name in ("new", "same")} == {YEAR_2001}
    (images / "new").write_bytes(SMALL)
    quietly("touch", images / "new")
    assert (images / "new").read_bytes() == SMALL
    assert (images / "new").stat().st_mtime > YEAR_2001


def test_chmod_and_chown_are_kept(images: Path, swift: FaultySwift, tmp_path: Path) -> None:
    image = images / "image"
    image.write_bytes(SMALL)

    quietly("chmod", "u=rwx,g=r,o=", image)
    quietly("chmod", "-R", "o+r", images)
    quietly("chown", f"{os.getuid()}:12345", image)

    with mounted(tmp_path, swift.swift.environ()) as again:
        status = (again.path / images.name / "image").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o744, 12345)
