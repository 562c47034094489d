"""Where metrics go: an HTTP server, or a file that node_exporter's textfile collector reads."""

from __future__ import annotations

import contextlib
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    start_http_server,
    write_to_textfile,
)

from swiftimgfs import errors
from swiftimgfs.control.metrics import Measured, ReportCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from swiftimgfs.control.report import Report

    InThread = Callable[[Callable[[], None]], Awaitable[None]]

log = logging.getLogger(__name__)

FILE_SECONDS: Final = 15.0
Target = tuple[str, int] | Path  # address and port, or a file


@contextlib.asynccontextmanager
async def metrics_at(
    target: Target | None,
    report: Callable[[], Report],
    failed_uploads: Callable[[], int],
    in_thread: InThread,
) -> AsyncIterator[None]:
    """Have metrics at `target` while the context lasts; they are made in other threads.

    Args:
        target: None for nowhere.
        report: Called in this loop.
        failed_uploads: Called in the other thread; may read from the disk.
        in_thread: Runs what blocks.

    Raises:
        MountError: The address or the file cannot be used.
    """
    if target is None:
        yield
        return
    registry = CollectorRegistry()
    token = trio.lowlevel.current_trio_token()

    def measure() -> Measured:
        now = trio.from_thread.run_sync(report, trio_token=token)
        return Measured(now, failed_uploads())

    registry.register(ReportCollector(measure))
    where = _in_file if isinstance(target, Path) else _over_http
    async with where(target, registry, in_thread):  # type: ignore[arg-type]  # as it says
        yield


@contextlib.asynccontextmanager
async def _over_http(
    target: tuple[str, int], registry: CollectorRegistry, in_thread: InThread
) -> AsyncIterator[None]:
    address, port = target
    ProcessCollector(namespace="swiftimgfs", registry=registry)
    try:
        server, _ = start_http_server(port, address, registry)
    except (OSError, OverflowError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise errors.MountError(f"metrics={address}:{port}: {reason}") from None
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):  # half a second
            await in_thread(server.shutdown)
        server.server_close()


@contextlib.asynccontextmanager
async def _in_file(
    path: Path, registry: CollectorRegistry, in_thread: InThread
) -> AsyncIterator[None]:
    # Written beside and renamed: who reads sees all of it, of one moment.
    write = functools.partial(write_to_textfile, str(path), registry)
    try:
        await in_thread(write)
    except OSError as exc:
        raise errors.MountError(f"metrics={path}: {exc.strerror}") from None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_writing, path, write, in_thread)
            yield
            nursery.cancel_scope.cancel()
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # noqa: ASYNC240  # numbers of a mount that is gone mislead


async def _keep_writing(path: Path, write: Callable[[], None], in_thread: InThread) -> None:
    while True:
        await trio.sleep(FILE_SECONDS)
        try:
            await in_thread(write)
        except OSError as exc:
            log.warning("metrics not written file=%s reason=%s", path, exc.strerror)
