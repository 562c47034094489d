"""How the kernel asks a mount: in requests of 1 MiB, so that what is wanted is one GET."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.mounts import Mounted, mounted

if TYPE_CHECKING:
    from tests.support.embedded_swift import FaultySwift

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may set a mount's read-ahead"),
]

KIB = 1024
SECONDS = 10


def read_ahead_of(place: Path) -> int:
    """Return the KiB that the kernel reads ahead, once the mount has had the time to set it."""
    device = place.stat().st_dev  # which asks the mount: INIT was answered before
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    deadline = time.monotonic() + SECONDS
    while int(setting.read_text()) == 128 and time.monotonic() < deadline:
        time.sleep(0.02)  # noqa: TID251  # no trio here
    return int(setting.read_text())


def test_the_kernel_reads_ahead_a_mib(swift: FaultySwift, tmp_path: Path) -> None:
    directory = tmp_path / "a b"  # which the list of mounts has in octal
    directory.mkdir()
    with mounted(directory, swift.swift.environ()) as running:
        assert read_ahead_of(running.path) == 1024


def test_a_read_by_chance_of_256_kib_is_one_get(
    swift: FaultySwift, mount: Mounted, container: str
) -> None:
    data = os.urandom(3_000_000)
    client = swift.connect()
    client.put_object(container, "image", data)
    client.close()
    assert read_ahead_of(mount.path) == 1024

    with (mount.path / container / "image").open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        swift.control.clear()
        read = os.pread(file.fileno(), 256 * KIB, 1024 * KIB)

    assert read == data[1024 * KIB : 1280 * KIB]
    gets = [r for r in swift.control.journal() if r.method == "GET" and "image" in r.path]
    assert [get.headers.get("range") for get in gets] == [f"bytes={1 << 20}-{(1280 << 10) - 1}"]
