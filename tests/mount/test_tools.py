"""The tools that people use, on a mount with the options as they come: as on a local disk.

What a tool needs of one part in depth is tested with that part. Here is, for each tool and
each of its behaviours that docs/semantics.md names, that it does its work, in silence.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, mounted, run, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

OPTIONS = "segment_size=64K,large_object_size=256K,timeout=10"
SMALL = b"a line\nanother line\n"
LARGE = os.urandom(300_000)
YEAR_2001 = 1_000_000_000


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


def quietly(*arguments: object) -> None:
    """Run a tool that must have nothing to say."""
    assert run_all(*arguments) == ""


def files_in(tree: Path) -> dict[str, bytes]:
    """Return the files in a tree by their path in it."""
    found = sorted(path for path in tree.rglob("*") if path.is_file())
    return {str(path.relative_to(tree)): path.read_bytes() for path in found}


def facts_of(tree: Path) -> dict[str, tuple[int, int, int]]:
    """Return size, mode and mtime (whole seconds) of the files in a tree."""
    return {
        name: (status.st_size, stat.S_IMODE(status.st_mode), int(status.st_mtime))
        for name in files_in(tree)
        for status in [(tree / name).stat()]
    }


# ── looking ──────────────────────────────────────────────────────────────────────────────


def test_ls_shows_names_sizes_times_and_modes(images: Path, local: Path) -> None:
    quietly("cp", "-a", f"{local}/.", images)

    names = run("ls", "-a", images).split()
    line = run("ls", "-l", "--time-style=+%s", images / "small").split()
    recursive = run("ls", "-R", images)

    assert names == [".", "..", ".hidden", "small", "sub"]
    assert (line[0], line[4]) == ("-rw-r-----", str(len(SMALL)))
    assert int(line[5]) == int((local / "small").stat().st_mtime)
    assert "large" in recursive
    assert "segments" not in recursive


def test_ls_sorts_by_size_and_by_time(images: Path, local: Path) -> None:
    quietly("cp", "-a", local / "small", local / "sub" / "large", images)

    assert run("ls", "-S", images).split() == ["large", "small"]
    assert run("ls", "-rt", images).split() == ["small", "large"]


def test_find_looks_by_name_size_time_and_kind(images: Path, local: Path) -> None:
    quietly("cp", "-a", f"{local}/.", images)

    def found(*tests: str) -> set[str]:
        return set(run("find", images, *tests, "-printf", "%P\n").split())

    assert found("-name", "la*") == {"sub/large"}
    assert found("-size", "+100k") == {"sub/large"}
    assert found("-type", "f", "-empty") == {"sub/deep/empty"}
    assert found("-type", "d", "-mindepth", "1") == {"sub", "sub/deep"}
    assert found("-type", "f", "-newermt", "2002-01-01") == set()
    assert found("-perm", "640") == {"small"}


def test_find_removes_what_it_finds(images: Path, local: Path) -> None:
    quietly("cp", "-a", f"{local}/.", images)

    quietly("find", images, "-mindepth", "1", "-delete")

    assert os.listdir(images) == []


def test_stat_tells_what_is_stored(images: Path) -> None:
    image = images / "image"
    image.write_bytes(SMALL)
    os.utime(image, (YEAR_2001, YEAR_2001))

    told = run("stat", "-c", "%F|%s|%h|%Y|%U", image).strip().split("|")
    filesystem = run("stat", "-f", "-c", "%T %l", images).split()

    assert told[:4] == ["regular file", str(len(SMALL)), "1", str(YEAR_2001)]
    assert told[4] == run("id", "-un").strip()
    assert filesystem == ["fuseblk", "255"]


def test_md5sum_is_the_etag(images: Path) -> None:
    (images / "image").write_bytes(SMALL)

    digest = run("md5sum", images / "image").split()[0]
    etag = run("getfattr", "--only-values", "-n", "user.swift.etag", images / "image")

    assert digest == etag == hashlib.md5(SMALL, usedforsecurity=False).hexdigest()


def test_getfattr_dumps_what_was_set_and_tells_what_swift_says(images: Path) -> None:
    image = images / "image"
    image.write_bytes(LARGE)
    quietly("setfattr", "-n", "user.origin", "-v", "here", image)

    dump = run("getfattr", "-d", "--absolute-names", image)
    manifest = run("getfattr", "-n", "user.swift.manifest", "--absolute-names", image)

    assert dump.splitlines()[1:] == ['user.origin="here"', ""]
    assert 'user.swift.manifest="slo"' in manifest


# ── how full ─────────────────────────────────────────────────────────────────────────────


def df_columns(path: Path, *columns: str) -> list[int]:
    output = run("df", "-B1", f"--output={','.join(columns)}", path)
    return [int(number) for number in output.splitlines()[1].split()]


def test_df_of_the_account_shows_what_is_stored_and_that_there_is_room(store: Mounted) -> None:
    size, used, avail = df_columns(store.path, "size", "used", "avail")
    inodes, free = df_columns(store.path, "itotal", "iavail")

    assert size == used + avail
    assert avail >= 1 << 40
    assert inodes >= free > 0


def test_df_of_a_container_follows_its_quota(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    client = swift.connect()
    quota = {"X-Container-Meta-Quota-Bytes": "1000000", "X-Container-Meta-Quota-Count": "12"}
    client.post_container(container, quota)
    client.put_object(container, "p/one", b"x" * 100_000)
    client.put_object(container, "two", b"x" * 50_000)
    environ = swift.swift.environ()
    with (
        mounted(tmp_path, environ, source=f"env::{container}") as whole,
    ):
        size, avail = df_columns(whole.path, "size", "avail")
        inodes, used_inodes = df_columns(whole.path, "itotal", "iused")
        human = run("df", "-h", whole.path).splitlines()[1].split()

    assert 990_000 < size <= 1_004_096
    assert avail == 850_000 // 4096 * 4096
    assert (inodes, used_inodes) == (12, 2)
    assert "%" in human[-2]
    client.close()


def test_df_of_a_container_counts_its_segments(
    swift: FaultySwift, container: str, images: Path, tmp_path: Path
) -> None:
    (images / "image").write_bytes(LARGE)
    with mounted(tmp_path, swift.swift.environ(), source=f"env::{container}") as whole:
        (used,) = df_columns(whole.path, "used")

    assert used >= len(LARGE)


def test_du_counts_what_is_stored_and_apparent_size_what_is_seen(
    images: Path, tmp_path: Path
) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.write(LARGE)
        file.truncate(50_000_000)
    quietly("cp", "--sparse=always", sparse, images / "sparse")

    apparent = int(run("du", "-b", images / "sparse").split()[0])
    stored = int(run("du", "-B1", images / "sparse").split()[0])
    whole = int(run("du", "-s", "--apparent-size", "-B1", images).split()[0])

    assert apparent == whole == 50_000_000
    assert len(LARGE) <= stored < 1_000_000
    quietly("cmp", sparse, images / "sparse")


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


def test_findmnt_lists_the_mount_by_its_type(store: Mounted) -> None:
    found = run("findmnt", "-n", "-t", "fuse.swiftimgfs", "-o", "TARGET,SOURCE", store.path)

    assert found.split() == [str(store.path), "env:"]
