"""Which paths are in mounts of ours, for the verbs that are given some."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.control.mounts import our_mounts

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_mounted(paths: Sequence[str]) -> None:
    """Refuse paths that exist elsewhere; one that does not exist is for the caller to report.

    Raises:
        ConfigError: One is in no mount of ours.
    """
    devices = {entry.device for entry in our_mounts()}
    for path in paths:
        try:
            device = os.stat(path).st_dev  # noqa: PTH116  # as the other names here
        except OSError:
            continue
        if f"{os.major(device)}:{os.minor(device)}" not in devices:
            raise errors.ConfigError(f"{path} is not in a mount of swiftimgfs")
