"""Tools that edit in place, and edits of images that are mapped, renamed or unlinked."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.edited import DATA, objects, segments_of, stored
from tests.support.mounts import Mounted, run
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a sparse raw image with some data, as qemu-img has it."""
    file = tmp_path / "raw"
    with file.open("wb") as writer:
        for offset in (0, 3_000_000, 5_000_000):
            writer.seek(offset)
            writer.write(random.Random(offset).randbytes(500_000))
        writer.truncate(16 << 20)
    return file


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_qemu_img_converts_into_the_mount(
    mount: Mounted, container: str, raw: Path, kind: str
) -> None:
    target = mount.path / container / f"image.{kind}"

    run("qemu-img", "convert", "-f", "raw", "-O", kind, raw, target)

    run("qemu-img", "compare", "-f", "raw", "-F", kind, raw, target)


def test_qemu_io_writes_into_an_image_of_the_mount(
    mount: Mounted, container: str, raw: Path, tmp_path: Path
) -> None:
    target, local = mount.path / container / "image.qcow2", tmp_path / "local.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, local)
    run("cp", local, target)
    steps = ["-c", "write -P 7 1M 300k", "-c", "write -z 3M 200k", "-c", "write -P 9 15M 64k"]

    for file in (local, target):
        run("qemu-io", "-f", "qcow2", *steps, file)

    run("qemu-img", "compare", local, target)
    run("qemu-img", "check", target)


def test_dd_without_truncating_changes_a_part(slo: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"p" * 3000)

    run("dd", f"if={part}", f"of={slo}", "bs=1000", "seek=50", "conv=notrunc", "status=none")

    assert slo.read_bytes() == DATA[:50_000] + b"p" * 3000 + DATA[53_000:]


def test_rsync_in_place_changes_a_part(slo: Path, tmp_path: Path) -> None:
    source = tmp_path / "slo"
    changed = bytearray(DATA)
    changed[200_000:200_100] = b"c" * 100
    source.write_bytes(changed)

    run("rsync", "-aI", "--inplace", "--no-whole-file", source, slo)

    assert slo.read_bytes() == bytes(changed)


def test_a_mapping_that_outlives_its_descriptor_is_stored(
    swift: FaultySwift, slo: Path, container: str
) -> None:
    script = (
        "import mmap, os, sys;"
        "fd = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd);"
        "m[70000:70004] = b'late'"
    )
    run("python3", "-c", script, slo)

    for _ in range(50):
        if stored(swift, container, "slo")[70000:70004] == b"late":
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert stored(swift, container, "slo")[70000:70004] == b"late"


@pytest.mark.parametrize("size", [10, 300_000])
def test_an_image_renamed_over_another_before_it_is_stored_replaces_it_when_it_is(
    swift: FaultySwift, mount: Mounted, container: str, size: int
) -> None:
    target, temporary = mount.path / container / "x", mount.path / container / "x.tmp"
    target.write_bytes(DATA[:size])
    with temporary.open("wb", buffering=0) as file:
        file.write(b"new" * size)
        temporary.rename(target)
        during = stored(swift, container, "x")

    assert during == DATA[:size]
    assert stored(swift, container, "x") == target.read_bytes() == b"new" * size
    assert objects(swift, container) == ["x"]
    in_use = {str(s["name"]) for s in segments_of(target)} if size > 10 else set()
    wait_for(lambda: len(objects(swift, f"{container}_segments")) == len(in_use))


def test_a_plain_image_that_is_unlinked_while_it_is_edited_can_still_be_read(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    file = mount.path / container / "x"
    file.write_bytes(DATA[:50_000])
    fd = os.open(file, os.O_RDWR)
    os.pwrite(fd, b"edit", 5)
    file.unlink()

    read = os.pread(fd, 50_000, 0)
    os.close(fd)

    assert read == DATA[:5] + b"edit" + DATA[9:50_000]
    for _ in range(50):
        if not objects(swift, container):
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert objects(swift, container) == []
