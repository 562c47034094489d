"""Images that are edited in place, and what Swift has of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from typing import TYPE_CHECKING

from swiftimgfs.writing.garbage import OTHERS_COMMIT
from tests.support.stored import content

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

SEGMENT = 65_536
DATA = random.Random(1).randbytes(10 * SEGMENT + 1000)


def objects(swift: FaultySwift, container: str) -> list[str]:
    with contextlib.closing(swift.connect()) as client:
        names = [row["name"] for row in client.get_account()[1]]
        if container not in names:
            return []
        return [row["name"] for row in client.get_container(container)[1]]


def objects_after_edits(swift: FaultySwift, container: str) -> list[str]:
    """Return what is there when what edits have replaced is gone."""
    time.sleep(OTHERS_COMMIT + 0.5)  # noqa: TID251  # no event loop here
    return objects(swift, container)


def stored(swift: FaultySwift, container: str, name: str) -> bytes:
    """Return an image as Swift has it, which has to be there."""
    body = content(swift, container, name)
    assert body is not None
    return body


def segments_of(file: Path) -> list[dict[str, object]]:
    """Return the rows of a large image that are objects, and no holes."""
    found: list[dict[str, object]] = json.loads(os.getxattr(file, "user.swift.segments"))
    return [row for row in found if "name" in row]


def edit(file: Path, offset: int, data: bytes) -> None:
    fd = os.open(file, os.O_WRONLY)
    try:
        os.pwrite(fd, data, offset)
    finally:
        os.close(fd)
