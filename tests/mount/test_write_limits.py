"""What is written and not in Swift yet stays inside its limits, and a full disk is told."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted
from tests.support.stored import content, orphans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
SEGMENT = 1 * MIB
OPTIONS = "segment_size=1M,attr_timeout=0,list_timeout=0"


def status_of(mount: Mounted, name: str) -> int:
    """Return a size of a mount's process in bytes, such as VmHWM."""
    text = Path(f"/proc/{mount.process.pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) * 1024


def disk_use(directory: Path) -> int:
    """Return what the files below a directory take, also those that are deleted and open."""
    return sum(
        os.lstat(os.path.join(parent, name)).st_blocks * 512
        for parent, _, names in os.walk(directory)
        for name in names
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, in memory."""
    directory = tmp_path / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8M,mode=700", "tmpfs", str(directory)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a tmpfs")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def write_randomly(descriptor: int, size: int, block: int = 64 * 1024) -> None:
    """Write every second block of an image, in any order: nothing that is complete soon."""
    offsets = list(range(0, size, 2 * block))
    random.Random(1).shuffle(offsets)
    for offset in offsets:
        os.pwrite(descriptor, random.Random(offset).randbytes(block), offset)


def test_a_full_disk_is_told_at_write_and_not_later(
    swift: FaultySwift, container: str, small_disk: Path, tmp_path: Path
) -> None:
    options = f"{OPTIONS},spool_dir={small_disk},spool_size=1G,memory_limit=8M"
    # Swift takes nothing while the disk fills.
    swift.control.inject(Fault(method="PUT", target=f"/{container}", hold="before", count=None))
    with mounted(tmp_path, swift.swift.environ(), options) as running:
        descriptor = os.open(running.path / container / "image", os.O_RDWR | os.O_CREAT)
        with pytest.raises(OSError) as caught:
            write_randomly(descriptor, 256 * MIB)
        swift.control.clear()
        try:
            os.close(descriptor)
        except OSError as failure:
            closed = failure.errno
        else:
            closed = None
        # Who was told goes on, here and with other images.
        (running.path / container / "other").write_bytes(b"other")

    assert caught.value.errno == errno.ENOSPC
    assert closed in {None, errno.ENOSPC}
    assert content(swift, container, "other") == b"other"
    assert orphans(swift, container, ["image", "other"]) == []


@pytest.mark.parametrize("order", ["in order", "random"])
def test_memory_and_spool_are_bounded_while_swift_takes_nothing(
    swift: FaultySwift, container: str, tmp_path: Path, order: str
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    options = f"{OPTIONS},spool_dir={spool},spool_size=16M,memory_limit=16M,connections=4"
    size = 160 * MIB
    is_over = threading.Event()

    with mounted(tmp_path, swift.swift.environ(), options) as running:
        path = running.path / container / "image"
        (running.path / container / "warm").write_bytes(b"warm up")
        before = status_of(running, "VmRSS")
        swift.control.inject(Fault(method="PUT", target="_segments/", delay=0.1, count=None))

        def write() -> None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            if order == "random":
                write_randomly(descriptor, size, 512 * 1024)
            else:
                for offset in range(0, size // 2, MIB):
                    os.pwrite(descriptor, random.Random(offset).randbytes(MIB), offset)
            os.close(descriptor)
            is_over.set()

        writer = threading.Thread(target=write)
        writer.start()
        largest = 0
        while not is_over.wait(0.05):
            largest = max(largest, disk_use(spool))
        writer.join()
        peak = status_of(running, "VmHWM")
        written = path.stat().st_size

    assert written >= size // 2 - MIB
    assert largest <= 24 * MIB
    assert peak - before <= 80 * MIB
    assert orphans(swift, container, ["image", "warm"]) == []


def test_a_writer_waits_for_uploads_at_the_limit_and_goes_on(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    options = f"{OPTIONS},spool_size=8M,memory_limit=8M,connections=2"
    held = Fault(method="PUT", target=f"/{container}_segments/", delay=3, count=4)
    data = random.Random(7).randbytes(24 * MIB)
    with mounted(tmp_path, swift.swift.environ(), options) as running:
        swift.control.inject(held)
        begin = time.monotonic()
        with (running.path / container / "image").open("wb", buffering=0) as file:
            for offset in range(0, len(data), MIB):
                file.write(data[offset : offset + MIB])
            waited = time.monotonic() - begin
        assert waited > 2

    assert content(swift, container, "image") == data


def test_a_size_that_no_image_can_have_is_refused_at_once(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    with mounted(tmp_path, swift.swift.environ(), OPTIONS) as running:
        image = running.path / container / "image"
        image.write_bytes(b"as it was")
        with pytest.raises(OSError) as caught:
            os.truncate(image, 2**50)

        assert caught.value.errno == errno.EFBIG
        assert image.read_bytes() == b"as it was"
