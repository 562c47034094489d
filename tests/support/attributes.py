"""Attributes as an application asks for them, and when they are in Swift."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

# What is told of an image or a container, and not listed.
FACTS = ("location", "etag", "last_modified", "transaction_id", "segments", "content_type")
LARGE = os.urandom(300_000)
META = "x-object-meta-"


def attribute(path: Path, name: str) -> str | None:
    """Return the value of an attribute, None when there is none."""
    try:
        return os.getxattr(path, name).decode()
    except OSError as failure:
        if failure.errno != errno.ENODATA:
            raise
        return None


def settle(path: Path) -> None:
    """Have what was changed by name be in Swift now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def errno_of_setting(path: Path, name: str, value: bytes) -> int | None:
    with pytest.raises(OSError) as caught:
        os.setxattr(path, name, value)
    return caught.value.errno


def attributes_of(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def posts(swift: FaultySwift, name: str) -> int:
    journal = swift.control.journal()
    return sum(r.method == "POST" and r.target.endswith(f"/{name}") for r in journal)
