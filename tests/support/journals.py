"""State directories of tests, and mounts that die on them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from swiftimgfs.writing.state_directory import Found, StateDirectory
from swiftimgfs.writing.upload_record import Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from swiftimgfs.writing.state_directory import Session

ACCOUNT = "http://swift.example/v1/AUTH_test"


async def compute(blocking: Callable[[], None]) -> None:
    """Run what the journal does with the disk, here and now."""
    blocking()


def session_in(directory: Path, account: str = ACCOUNT) -> Session:
    """Return the session of a mount."""
    return StateDirectory(directory).open_session(Owner(account, os.getpid(), "/mnt"))


def die(session: Session) -> None:
    """Do what the kernel does for a process that is killed: let go of the lock."""
    os.close(session._descriptor)


def uploads_in(directory: Path) -> list[Found]:
    """Return the uploads of the host, which must all be in order."""
    found = list(StateDirectory(directory).all_uploads())
    assert all(isinstance(upload, Found) for upload in found), found
    return [upload for upload in found if isinstance(upload, Found)]
