"""Tools that list, measure and describe: as on a local disk, and in silence."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, mounted, run
from tests.support.trees import LARGE, SMALL, YEAR_2001, quietly

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


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


def test_findmnt_lists_the_mount_by_its_type(store: Mounted) -> None:
    found = run("findmnt", "-n", "-t", "fuse.swiftimgfs", "-o", "TARGET,SOURCE", store.path)

    assert found.split() == [str(store.path), "env:"]
