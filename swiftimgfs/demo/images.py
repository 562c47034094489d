"""The images of the demonstration: a filesystem that boots nothing, but is a real disk.

Made by the tools that make images: mke2fs, and qemu-img where it is installed. One goes to
Swift as it is, one in segments as the swift CLI does it, one as Glance's driver writes it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import swiftclient

if TYPE_CHECKING:
    from pathlib import Path

    from swiftimgfs.demo.swift_process import EmbeddedSwift

GLANCE_ID = "0f5d6a2e-6c1b-4c55-9f7e-2d3a5b8c9e10"
GLANCE_CONTAINER = "glance"
CONTAINER = "images"
SEGMENT_SIZE = 8 * 1024**2
DISK_SIZE = "24M"
_CONTENT = "This disk was made by the swiftimgfs demonstration.\n"


class DemoImagesError(Exception):
    """The images cannot be made here."""


def make_images(directory: Path) -> list[Path]:
    """Return new image files in `directory`: a raw disk, and a qcow2 where qemu-img is.

    Raises:
        DemoImagesError: A tool is missing or failed.
    """
    tree = directory / "tree"
    tree.mkdir(parents=True)
    (tree / "README").write_text(_CONTENT * 1000)
    (tree / "noise").write_bytes(os.urandom(12 * 1024**2))  # so that it does not compress
    raw = directory / "disk.raw"
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(raw), DISK_SIZE)
    if shutil.which("qemu-img") is None:
        return [raw]
    qcow2 = directory / "disk.qcow2"
    _run("qemu-img", "convert", "-O", "qcow2", str(raw), str(qcow2))
    return [raw, qcow2]


def store_images(swift: EmbeddedSwift, images: list[Path]) -> None:
    """Store the images in Swift, in the three ways that image stores know."""
    connection = swiftclient.Connection(swift.auth_url, swift.user, swift.key)
    for container in (CONTAINER, f"{CONTAINER}_segments", GLANCE_CONTAINER):
        connection.put_container(container)
    _put_slo(connection, images[0])
    _put_as_glance(connection, images[0])
    for image in images[1:]:
        connection.put_object(CONTAINER, image.name, image.read_bytes(), headers=_mtime(image))
    connection.close()


def _run(tool: str, *arguments: str) -> None:
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    path = shutil.which(tool, path=search)
    if path is None:
        raise DemoImagesError(f"{tool} is not installed (Debian: e2fsprogs)")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoImagesError(f"{tool} failed: {done.stderr.strip()}")


def _segments(image: Path) -> list[bytes]:
    data = image.read_bytes()
    return [data[at : at + SEGMENT_SIZE] for at in range(0, len(data), SEGMENT_SIZE)]


def _mtime(image: Path) -> dict[str, str]:
    return {"X-Object-Meta-Mtime": f"{image.stat().st_mtime:f}"}


def _put_slo(connection: swiftclient.Connection, image: Path) -> None:
    rows = []
    for number, data in enumerate(_segments(image)):
        name = f"{image.name}/slo/{image.stat().st_mtime:f}/{number:08d}"
        etag = connection.put_object(f"{CONTAINER}_segments", name, data)
        rows.append(
            f'{{"path": "/{CONTAINER}_segments/{name}", "etag": "{etag}",'
            f' "size_bytes": {len(data)}}}'
        )
        assert etag == hashlib.md5(data, usedforsecurity=False).hexdigest()  # noqa: S101
    connection.put_object(
        CONTAINER,
        image.name,
        f"[{','.join(rows)}]",
        query_string="multipart-manifest=put",
        headers=_mtime(image),
    )


def _put_as_glance(connection: swiftclient.Connection, image: Path) -> None:
    for number, data in enumerate(_segments(image), start=1):
        connection.put_object(GLANCE_CONTAINER, f"{GLANCE_ID}-{number:05d}", data)
    manifest = {"X-Object-Manifest": f"{GLANCE_CONTAINER}/{GLANCE_ID}-"}
    connection.put_object(GLANCE_CONTAINER, GLANCE_ID, b"", headers=manifest)
