"""Attributes as an application asks for them, and when they are in Swift."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What is told of an image or a container, and not listed.
FACTS = ("location", "etag", "last_modified", "transaction_id", "segments", "content_type")


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
