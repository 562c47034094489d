"""qemu-img on cold qcow2 images in the mount: right, and in few round trips."""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fault_control import Fault, Request
from tests.support.mounts import Mounted, mounted, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
TABLES = 48
DATA = 448 * 1024  # so that no two tables are in neighbouring blocks
LATENCY = 0.05
KINDS = [("0.10", "plain"), ("1.1", "slo")]
SEGMENT = 3_000_001  # so that tables cross segments


@pytest.fixture
def cold(swift: FaultySwift, tmp_path: Path) -> Iterator[Mounted]:
    """A mount as it comes, which looks at names once, and has read nothing."""
    with mounted(tmp_path, swift.swift.environ()) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS, ids=["version 2, plain", "version 3, slo"])
def disk(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a disk of 8 GiB, of which little is used, all over it and in no order."""
    image = tmp_path_factory.mktemp("disk") / f"{request.param[1]}.qcow2"
    options = f"compat={request.param[0]},cluster_size=4K"
    run("qemu-img", "create", "-f", "qcow2", "-o", options, image, "8G")
    places = [number * (8192 // TABLES) * MIB for number in range(TABLES)]
    random.Random(1).shuffle(places)
    script = "".join(f"write -P {1 + n % 250} {p} {DATA}\n" for n, p in enumerate(places))
    subprocess.run(["qemu-io", str(image)], input=script, text=True, check=True, timeout=60)
    image.write_bytes(image.read_bytes())  # of holes in the file `map` tells, too
    return image


@pytest.fixture
def remote(swift: FaultySwift, cold: Mounted, container: str, disk: Path) -> Path:
    """Store the disk as its name says, and look up the image's."""
    client = swift.connect()
    data = disk.read_bytes()
    if disk.stem == "plain":
        client.put_object(container, "disk.qcow2", data)
    else:
        rows = []
        for number, start in enumerate(range(0, len(data), SEGMENT)):
            row = f"{container}/.s/{number}"
            client.put_object(container, f".s/{number}", data[start : start + SEGMENT])
            rows.append({"path": f"/{row}"})
        manifest = json.dumps(rows)
        client.put_object(
            container, "disk.qcow2", manifest, query_string="multipart-manifest=put"
        )
    client.close()
    path = cold.path / container / "disk.qcow2"
    assert path.stat().st_size == len(data)
    swift.control.clear()
    swift.control.inject(Fault(method="GET", target=container, count=None, delay=LATENCY))
    return path


def told(command: str, path: Path) -> dict[str, Any]:
    """Return what qemu-img tells of an image, but for its name and its size as a file."""
    content = json.loads(run("qemu-img", command, "--output=json", path))
    if isinstance(content, list):
        return {"map": content}
    about_the_file = {"filename", "actual-size", "children"}
    return {key: value for key, value in content.items() if key not in about_the_file}


def gets_of_bytes(swift: FaultySwift) -> list[Request]:
    """Return all requests but those that resolved the image's manifest."""
    return [item for item in swift.control.journal() if "manifest=get" not in item.query]


def rounds(swift: FaultySwift) -> int:
    """Return how many requests, at least, waited for one another."""
    count, free_at = 0, 0.0
    done = sorted(gets_of_bytes(swift), key=lambda item: item.started + (item.duration or 0))
    for request in done:
        if request.started >= free_at:
            count += 1
            free_at = request.started + (request.duration or 0)
    return count


def test_info_of_a_cold_image_is_three_requests(
    swift: FaultySwift, remote: Path, disk: Path
) -> None:
    about = told("info", remote)

    assert about == told("info", disk)
    assert len(gets_of_bytes(swift)) <= 3


@pytest.mark.parametrize("command", ["map", "check"])
def test_all_tables_of_a_cold_image_are_read_in_few_rounds(
    swift: FaultySwift, remote: Path, disk: Path, command: str
) -> None:
    about = told(command, remote)

    assert about == told(command, disk)
    ranges = [(item.path, item.range) for item in gets_of_bytes(swift)]
    assert len(ranges) >= TABLES - 4  # but for the first few, each is one by itself
    assert len(ranges) == len(set(ranges))
    assert rounds(swift) <= TABLES // 2


def test_a_converted_image_is_the_same(
    swift: FaultySwift, remote: Path, disk: Path, tmp_path: Path
) -> None:
    run("qemu-img", "convert", "-O", "qcow2", remote, tmp_path / "copy.qcow2")

    assert "identical" in run("qemu-img", "compare", tmp_path / "copy.qcow2", disk)
