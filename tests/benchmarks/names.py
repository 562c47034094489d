"""The jobs about names: directories that are listed, walked, copied and renamed.

A job fills a store once, with objects put straight onto Swift's disk where there are many,
and is then done in a new mount for each run. What counts is time and requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.listing_baseline import list_with_swiftclient
from tests.benchmarks.peers import (
    OURS,
    OURS_LISTING,
    RCLONE,
    RCLONE_LISTING,
    SWIFTCLIENT,
)
from tests.benchmarks.processes import ToolError, run
from tests.benchmarks.servers import SWIFT
from tests.benchmarks.stock import Stock, StoredObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.endpoint import Endpoint

JOB_SECONDS = 160
PLAIN_OBJECTS = 100_000
IMAGES = 1_000
SEGMENTS = 20  # of each of those that are large
CONTAINERS, IN_EACH = 1_000, 100
MIRRORED_AT = 1_000_000_000
MANY_NAMES = 1_000_000
ROWS, ROW_BYTES = 160, 64 * 1024 * 1024  # of an image of 10 GiB


@dataclass(frozen=True, slots=True)
class Walked:
    """What a job came to: how many names, and how long that took."""

    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class NamesJob:
    """One thing that is done with names.

    Attributes:
        name: As `--jobs` takes it.
        fill: Puts into the store what the job needs; once.
        work: Does it in the mount's root, and looks at whether it was done right.
        peers: Who takes part.
        server: Where that is.
        prepare: Done in the mount before anything is counted.
        baseline: Does it without a mount, for the peer `SWIFTCLIENT`.
        is_writable: The job changes something.
        most_runs: For those that take minutes.
    """

    name: str
    fill: Callable[[Stock], None]
    work: Callable[[Path], Walked]
    peers: tuple[str, ...]
    server: str = SWIFT
    prepare: Callable[[Path], object] | None = None
    baseline: Callable[[Endpoint], Walked] | None = None
    is_writable: bool = False
    most_runs: int | None = None


# ── what is in the store ──────────────────────────────────────────────────────────────


def fill_plain(stock: Stock) -> None:
    """Store plain objects without metadata of their own."""
    stock.plant(
        StoredObject("plain", f"object-{number:06d}") for number in range(PLAIN_OBJECTS)
    )


def fill_many(stock: Stock) -> None:
    """List names, of which there are no objects: they are only looked through."""
    stock.plant(
        (StoredObject("many", f"name-{number:07d}") for number in range(MANY_NAMES)),
        rows_only=True,
    )


def fill_images(stock: Stock) -> None:
    """Store images as Glance does: plain ones, and as many of segments."""
    stock.plant(_images())


def _images() -> Iterator[StoredObject]:
    for number in range(IMAGES):
        image = str(uuid.UUID(int=number * 2**88 + number, version=4))
        if number % 2:
            yield StoredObject("glance", image, "plain")
            continue
        for segment in range(1, SEGMENTS + 1):
            yield StoredObject("glance", f"{image}-{segment:05d}", f"segment {segment:02d}")
        yield StoredObject("glance", image, "", {"X-Object-Manifest": f"glance/{image}-"})


def fill_mirror(stock: Stock) -> None:
    """Store images as the first `rsync -a` leaves them, with their own times."""
    mtime = {"X-Object-Meta-Mtime": f"{MIRRORED_AT}.000000"}
    stock.plant(
        StoredObject("mirror", f"image-{number:04d}", "mirrored", mtime)
        for number in range(IMAGES)
    )


def fill_containers(stock: Stock) -> None:
    """Store a few images in each of many containers."""
    stock.plant(
        StoredObject(f"box-{box:04d}", f"image-{number:03d}")
        for box in range(CONTAINERS)
        for number in range(IN_EACH)
    )


def fill_large(stock: Stock) -> None:
    """Store an image of 10 GiB: a manifest may name the same segment again and again."""
    with contextlib.closing(stock.connect()) as client:
        client.put_container("large")
        etag = client.put_object("large", ".segments/zeros", bytes(ROW_BYTES))
        row = {"path": "/large/.segments/zeros", "etag": etag, "size_bytes": ROW_BYTES}
        client.put_object(
            "large",
            "there",
            json.dumps([row] * ROWS),
            query_string="multipart-manifest=put",
        )


# ── what is done ──────────────────────────────────────────────────────────────────────


def list_plain(root: Path) -> Walked:
    """List all with their attributes."""
    finished = run(["ls", "-l", root / "plain"], JOB_SECONDS)
    return Walked(
        _expected(len(finished.output.splitlines()) - 1, PLAIN_OBJECTS), finished.seconds
    )


def list_images(root: Path) -> Walked:
    """List all with their attributes, and compare the sizes."""
    finished = run(["ls", "-l", root / "glance"], JOB_SECONDS)
    sizes = [int(line.split()[4]) for line in finished.output.splitlines()[1:]]
    large = len("segment 00") * SEGMENTS
    if sorted(sizes) != sorted([len("plain"), large] * (IMAGES // 2)):
        raise ToolError(f"wrong sizes, of {len(sizes)}: {sorted(set(sizes))[:9]}")
    return Walked(len(sizes), finished.seconds)


def find_all(root: Path) -> Walked:
    """Walk through these containers, and past those of other jobs."""
    others = ["!", "-path", root, "!", "-path", f"{root}/box-*", "-prune"]
    finished = run(["find", root, *others, "-o", "-type", "f", "-print"], JOB_SECONDS)
    count = _expected(len(finished.output.splitlines()), CONTAINERS * IN_EACH)
    return Walked(count, finished.seconds)


def move_large(root: Path) -> Walked:
    """Rename the image, by turns there and back; look at its size then."""
    old, new = root / "large" / "there", root / "large" / "back"
    if new.exists():
        old, new = new, old
    finished = run(["mv", old, new], JOB_SECONDS)
    if old.exists() or new.stat().st_size != ROWS * ROW_BYTES:
        raise ToolError(f"{new} is not what {old} was")
    return Walked(1, finished.seconds)


def find_many(root: Path) -> Walked:
    """Walk through one large directory."""
    finished = run(["find", root / "many", "-printf", "."], JOB_SECONDS)
    return Walked(len(finished.output), finished.seconds)


def mirror_again(root: Path) -> Walked:
    """Run the second `rsync -a --delete` of all images, which transfers nothing."""
    with tempfile.TemporaryDirectory() as name:
        for number in range(IMAGES):
            image = Path(name, f"image-{number:04d}")
            image.write_text("mirrored")
            os.utime(image, (MIRRORED_AT, MIRRORED_AT))
        options = ["-a", "--delete", "--no-perms", "--omit-dir-times", "--itemize-changes"]
        finished = run(["rsync", *options, f"{name}/", root / "mirror/"], JOB_SECONDS)
    if finished.output:
        raise ToolError(f"rsync changed something: {finished.output[:200]!r}")
    return Walked(_expected(len(os.listdir(root / "mirror")), IMAGES), finished.seconds)


def _expected(count: int, wanted: int) -> int:
    if count != wanted:
        raise ToolError(f"{count} names, not {wanted}")
    return count


def baseline_plain(endpoint: Endpoint) -> Walked:
    """Get the pages of the listing and nothing else."""
    count, seconds = list_with_swiftclient(endpoint, "plain")
    return Walked(_expected(count, PLAIN_OBJECTS), seconds)


NAMES_JOBS = (
    NamesJob(
        "ls",
        fill_plain,
        list_plain,
        (OURS, OURS_LISTING, SWIFTCLIENT, RCLONE_LISTING),
        baseline=baseline_plain,
    ),
    NamesJob("ls-warm", fill_plain, list_plain, (OURS, RCLONE_LISTING), prepare=list_plain),
    NamesJob("ls-images", fill_images, list_images, (OURS, RCLONE, RCLONE_LISTING)),
    NamesJob("rsync-again", fill_mirror, mirror_again, (OURS, RCLONE), is_writable=True),
    NamesJob("find", fill_containers, find_all, (OURS, RCLONE_LISTING), most_runs=1),
    NamesJob("mv", fill_large, move_large, (OURS,), is_writable=True),
    NamesJob("million", fill_many, find_many, (OURS,), most_runs=1),
)
