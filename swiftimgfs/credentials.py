"""Secrets that systemd hands to a service, in files of a directory that only it can read.

A file that is called like a variable (`OS_PASSWORD`, `ST_KEY`, `SWIFTIMGFS_KEY`) is that
variable; one called `clouds.yaml` is the clouds.yaml; an empty one is none. They are set in
this process alone: what /proc/<pid>/environ shows is how a process was started.

Source: systemd.exec(5), LoadCredential.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import MutableMapping

DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
CLOUDS_FILE: Final = "clouds.yaml"
CLOUDS_VARIABLE: Final = "OS_CLIENT_CONFIG_FILE"
_VARIABLE: Final = re.compile(r"(?:OS|ST)_[A-Z0-9_]+|SWIFTIMGFS_KEY")


def take_up_credentials(environ: MutableMapping[str, str]) -> None:
    """Set the variables that are files in CREDENTIALS_DIRECTORY, over what was there.

    Raises:
        ConfigError: One cannot be read.
    """
    directory = environ.get(DIRECTORY_VARIABLE)
    if not directory:
        return
    try:
        for path in sorted(Path(directory).iterdir()):
            is_clouds = path.name == CLOUDS_FILE
            if not (is_clouds or _VARIABLE.fullmatch(path.name)):
                continue
            if text := path.read_text(encoding="utf-8").rstrip("\n"):
                environ[CLOUDS_VARIABLE if is_clouds else path.name] = (
                    str(path) if is_clouds else text
                )
    except (OSError, ValueError) as exc:  # ValueError: not UTF-8, or a zero in it
        reason = getattr(exc, "strerror", None) or "not text"
        raise errors.ConfigError(f"credentials in {directory}: {reason}") from None
