"""What a mount lets others see of it: its control socket and its metrics, wired."""

from __future__ import annotations

import logging
import os
import time
from importlib import metadata
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs.control.exporter import metrics_at
from swiftimgfs.control.mounts import mount_at
from swiftimgfs.control.report import MountFacts
from swiftimgfs.control.server import serve_control
from swiftimgfs.control.sockets import meeting_place, socket_path
from swiftimgfs.store.login import name_of
from swiftimgfs.writing.state_directory import Found, StateDirectory

if TYPE_CHECKING:
    import contextlib
    from pathlib import Path

    from swiftimgfs.config.load import Config
    from swiftimgfs.control.reporter import Reporter
    from swiftimgfs.store.connection import ConnectionPool

LOG_SECONDS: Final = 60.0


def facts_of(config: Config, account: str) -> MountFacts:
    """Return what a mount says of itself to who looks at it."""
    return MountFacts(
        source=str(config.store.source),
        identity=name_of(config.store.source.login, os.environ),
        account=account,
        mountpoint=str(config.mountpoint),
        pid=os.getpid(),
        uid=os.geteuid(),
        started=time.time(),
        version=metadata.version("swiftimgfs"),
        is_read_only=config.is_read_only,
        state_directory=str(config.state_directory),
    )


def measured(
    config: Config, pool: ConnectionPool, reporter: Reporter
) -> contextlib.AbstractAsyncContextManager[None]:
    """Return what has the mount's metrics where its options want them, while it lasts.

    Raises:
        MountError: They cannot be there.
    """

    def failed_uploads() -> int:
        kept = StateDirectory(config.state_directory).kept_uploads()
        return sum(_is_of(upload, config.mountpoint) for upload in kept)

    return metrics_at(config.metrics, reporter.report, failed_uploads, pool.compute)


def _is_of(upload: object, mountpoint: Path) -> bool:
    return isinstance(upload, Found) and upload.record.owner.mountpoint == str(mountpoint)


async def keep_log_current() -> None:
    """Have the log say now and then what it left out, until cancelled."""
    while True:
        await trio.sleep(LOG_SECONDS)
        for handler in logging.getLogger().handlers:
            handler.flush()


async def let_look(
    config: Config,
    place: Path,
    reporter: Reporter,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer who asks what the mount at `place` does, until cancelled."""
    entry = mount_at(place)
    if entry is None:  # unmounted already
        task_status.started()
        return
    known = meeting_place(os.geteuid())
    directories = [*([known] if known else []), config.state_directory]
    paths = [socket_path(directory, entry.device) for directory in dict.fromkeys(directories)]
    await serve_control(paths, reporter.report, task_status=task_status)
