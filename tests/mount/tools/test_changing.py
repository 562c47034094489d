"""Tools that write into images, and programs with windows: as on a local disk."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, run
from tests.support.trees import LARGE, SMALL, quietly

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mount


# ── bytes ────────────────────────────────────────────────────────────────────────────────


def dd(*arguments: object) -> None:
    run("dd", *arguments, "status=none")


def test_dd_writes_in_the_middle_appends_and_skips(images: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"X" * 1000)
    image = images / "image"
    image.write_bytes(LARGE)

    dd(f"if={tmp_path}/x", f"of={image}", "bs=1000", "seek=100", "conv=notrunc,fsync")
    dd(f"if={tmp_path}/x", f"of={image}", "oflag=append", "conv=notrunc")
    dd(f"if={image}", f"of={tmp_path}/out", "bs=1000", "skip=99", "count=3")

    expected = LARGE[:100_000] + b"X" * 1000 + LARGE[101_000:] + b"X" * 1000
    assert image.read_bytes() == expected
    assert (tmp_path / "out").read_bytes() == expected[99_000:102_000]


def test_truncate_and_fallocate_change_the_size(images: Path) -> None:
    image = images / "image"
    image.write_bytes(LARGE)

    quietly("truncate", "-s", "100000", image)
    shorter = image.read_bytes()
    quietly("truncate", "-s", "+100000", image)

    assert shorter == LARGE[:100_000]
    assert image.read_bytes() == LARGE[:100_000] + bytes(100_000)


def test_text_tools_work_in_place(images: Path) -> None:
    image = images / "text"
    image.write_bytes(SMALL)

    quietly("sed", "-i", "s/another/one more/", image)
    quietly("sort", "-r", "-o", image, image)
    quietly("sh", "-c", 'echo end >> "$1" && cat "$1" "$1" > "$1.twice"', "sh", image)

    assert image.read_text() == "one more line\na line\nend\n"
    assert (images / "text.twice").read_text() == image.read_text() * 2
    assert run("tail", "-n", "1", image) == "end\n"
    assert run("head", "-c", "3", image) == "one"
    assert sorted(os.listdir(images)) == ["text", "text.twice"]


def test_split_and_cat_make_the_same_image(images: Path) -> None:
    (images / "image").write_bytes(LARGE)

    quietly("split", "-b", "100000", images / "image", images / "part-")
    quietly("sh", "-c", 'cat "$1"/part-?? > "$1"/joined', "sh", images)

    assert len(list(images.glob("part-*"))) == 3
    quietly("cmp", images / "image", images / "joined")


def test_flock_locks_on_this_host(images: Path) -> None:
    (images / "lock").touch()
    nested = f"flock -n {images}/lock true"

    assert run("flock", images / "lock", "echo", "held") == "held\n"
    run("flock", images / "lock", "sh", "-c", nested, status=1)


def test_qemu_img_creates_converts_checks_and_compares(images: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(LARGE + bytes(1_000_000 - 300_000) + LARGE[:48_576])
    qcow2 = images / "disk.qcow2"

    run("qemu-img", "convert", "-O", "qcow2", tmp_path / "raw", qcow2)
    info = run("qemu-img", "info", qcow2)
    check = run("qemu-img", "check", qcow2)
    compared = run("qemu-img", "compare", tmp_path / "raw", qcow2)
    run("qemu-img", "create", "-q", "-f", "raw", images / "empty.raw", "10M")
    run("qemu-img", "resize", "-q", "-f", "raw", images / "empty.raw", "+1M")

    assert "file format: qcow2" in info
    assert "No errors were found" in check
    assert "identical" in compared
    assert (images / "empty.raw").stat().st_size == 11 << 20


# ── a desktop ────────────────────────────────────────────────────────────────────────────


def test_a_file_manager_copies_moves_and_describes(images: Path, local: Path) -> None:
    quietly("gio", "copy", local / "small", images / "copied")
    quietly("gio", "move", images / "copied", images / "moved")
    info = run("gio", "info", images / "moved")
    listed = run("gio", "list", "-h", images).split()
    quietly("gio", "mkdir", images / "folder")
    run("gio", "rename", images / "moved", "named")
    quietly("gio", "remove", images / "folder")

    assert re.search(rf"standard::size: {len(SMALL)}\b", info)
    assert listed == ["moved"]
    assert (images / "named").read_bytes() == SMALL
    assert os.listdir(images) == ["named"]


def test_a_file_manager_s_trash_takes_and_gives_back(store: Mounted, images: Path) -> None:
    """The calls of the trash specification (freedesktop.org), with `.Trash-UID` at the top."""
    image = images / "image"
    image.write_bytes(LARGE)
    trash = store.path / f".Trash-{os.getuid()}"
    assert not (store.path / ".Trash").exists()

    for directory in (trash, trash / "files", trash / "info"):
        directory.mkdir(mode=0o700)
    with (trash / "info" / "image.trashinfo").open("x") as note:
        note.write(f"[Trash Info]\nPath={images.name}/image\n")
    image.rename(trash / "files" / "image")
    is_gone = not image.exists()
    (trash / "files" / "image").rename(image)
    quietly("rm", "-r", trash)

    assert is_gone
    assert image.read_bytes() == LARGE


def test_an_editor_saves_by_a_new_file_and_a_rename(images: Path) -> None:
    """What gedit, vim and their like do: write beside, sync, keep the old one, rename over."""
    document = images / "notes.txt"
    document.write_bytes(SMALL)
    document.chmod(0o640)
    with (images / ".notes.txt.swp").open("xb") as new:
        new.write(b"new " + SMALL)
        new.flush()
        os.fsync(new.fileno())
        os.fchmod(new.fileno(), 0o640)
    document.rename(images / "notes.txt~")
    (images / ".notes.txt.swp").rename(document)

    assert document.read_bytes() == b"new " + SMALL
    assert stat.S_IMODE(document.stat().st_mode) == 0o640
    assert sorted(os.listdir(images)) == ["notes.txt", "notes.txt~"]
