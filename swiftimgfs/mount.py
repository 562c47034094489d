"""The life of one mount: check, connect, mount, serve, leave cleanly.

Nothing is mounted before Swift has said who we are, so that whatever is wrong is an exit
status and a line, and never a directory that hangs. After a crash the kernel keeps a dead
mount (ENOTCONN): that is the safer failure, since a mount point that becomes an empty
directory makes a mirroring job delete everything.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyfuse3
import trio

from swiftimgfs import errors
from swiftimgfs.assembly import (
    build_fetcher,
    build_filesystem,
    check_root,
    make_pool,
    open_session,
    recovery_of,
    write_parts,
)
from swiftimgfs.control.reporter import Reporter
from swiftimgfs.fuse.operations import ImageOperations
from swiftimgfs.fuse.read_ahead import raise_read_ahead
from swiftimgfs.model.usage import StoreUsage
from swiftimgfs.mountpoint import Overheard, check_host, check_mountpoint, why_not_mounted
from swiftimgfs.notify import ServiceManager
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.visibility import facts_of, keep_log_current, let_look, measured
from swiftimgfs.writing.allocator import give_back_in_time, keep_freed_memory
from swiftimgfs.writing.resumption import Resumption

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from swiftimgfs.config.load import Config
    from swiftimgfs.model.filesystem import ImageFilesystem
    from swiftimgfs.reading.fetcher import Fetcher
    from swiftimgfs.store.connection import ConnectionPool
    from swiftimgfs.writing.parts import WriteParts
    from swiftimgfs.writing.state_directory import Session

log = logging.getLogger(__name__)

LEAVING_SECONDS = 60.0
COLLECTOR_THRESHOLD = 20_000  # new objects; Python's own is 700
SHOWING_SECONDS = 5.0  # between two lines about what an unmount waits for


def run_mount(config: Config, ready: Callable[[str], None]) -> None:
    """Mount, call `ready` once it serves, and return after it was unmounted.

    `ready` is told what somebody should know about how we got in; mostly nothing.

    SIGINT and SIGTERM unmount once what is being committed is stored; the second one does
    not wait for that.

    Raises:
        ConfigError: The source or an option makes no sense.
        MountError: The mount point or this host is in the way.
        SwiftImgFsError: Keystone or Swift said no.
    """
    check_host()
    check_mountpoint(config.mountpoint)
    with errors.first_failure():
        trio.run(_mount, config, ready)


async def _mount(config: Config, ready: Callable[[str], None]) -> None:
    pool = make_pool(config.store)
    try:
        await _serve(config, pool, ready, ServiceManager.of_environment(os.environ))
    finally:
        with trio.move_on_after(LEAVING_SECONDS, shield=True):
            await pool.aclose()


async def _serve(
    config: Config, pool: ConnectionPool, ready: Callable[[str], None], manager: ServiceManager
) -> None:
    store = ImageStore(pool, config.store.source.reference, config.view.storage_policy)
    account = await store.connect()
    await check_root(config.store.source.root, store)
    session = None if config.is_read_only else open_session(config, pool.storage_url)
    with (
        contextlib.nullcontext() if session is None else contextlib.closing(session),
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
    ):
        async with trio.open_nursery() as service:
            usage = StoreUsage(store, service, account, config.store.source.root)
            await usage.learn_containers()
            parts = _parts_of(config, pool, store, usage, service, session)
            async with measured(config, pool, parts.reporter):
                _attach(config, parts.operations)
                _start_housekeeping(parts)
                service.start_soon(_terminate_on, signals, parts.filesystem, service, manager)
                try:  # from here on whatever fails unmounts
                    await service.start(let_look, config, parts.place, parts.reporter)
                    log.info(
                        "mounted source=%s mountpoint=%s",
                        config.store.source,
                        config.mountpoint,
                    )
                    ready(pool.warning)
                    _start_when_ready(parts, manager)
                    await pyfuse3.main()
                finally:
                    await _leave(parts)
    log.info("unmounted mountpoint=%s", config.mountpoint)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one mount is made of while it serves.

    Attributes:
        service: Where its tasks run.
        session: Its part of the state directory; None for one that is read-only.
        place: Where it is mounted, with links followed: later that would be a request to
            ourselves.
    """

    config: Config
    pool: ConnectionPool
    service: trio.Nursery
    session: Session | None
    fetcher: Fetcher
    writing: WriteParts
    filesystem: ImageFilesystem
    operations: ImageOperations
    reporter: Reporter
    place: Path


def _parts_of(
    config: Config,
    pool: ConnectionPool,
    store: ImageStore,
    usage: StoreUsage,
    service: trio.Nursery,
    session: Session | None,
) -> _Parts:
    fetcher = build_fetcher(config, pool, store, service)
    writing = write_parts(config, pool, store, fetcher, service, session)
    filesystem = build_filesystem(config, store, usage, writing, fetcher)
    operations = ImageOperations(filesystem, config.presentation)
    reporter = Reporter(
        facts_of(config, pool.storage_url),
        pool.traffic,
        fetcher,
        writing.budget,
        filesystem.files,
        operations.refusals,
    )
    return _Parts(
        config,
        pool,
        service,
        session,
        fetcher,
        writing,
        filesystem,
        operations,
        reporter,
        config.mountpoint.resolve(),
    )


def _start_housekeeping(parts: _Parts) -> None:
    """Start what a mount does for itself, whoever asks it for something."""
    parts.service.start_soon(keep_log_current)
    parts.service.start_soon(_raise_read_ahead, parts.operations, parts.place)
    if parts.session is not None:
        keep_freed_memory(parts.config.writing.memory_limit)
        parts.service.start_soon(
            give_back_in_time,
            parts.writing.budget,
            parts.fetcher.cache.room,
            parts.pool.compute,
        )
    _spare_the_collector()


def _start_when_ready(parts: _Parts, manager: ServiceManager) -> None:
    """Start what is of use only once somebody was told that it serves."""
    name = f"{parts.config.store.source} at {parts.config.mountpoint}"
    files = parts.filesystem.files
    parts.service.start_soon(manager.attend, name, files.being_committed, files.being_written)
    if parts.session is not None:
        resumption = Resumption(parts.writing, parts.fetcher)
        recovery = recovery_of(parts.config, parts.pool, parts.session, resumption)
        parts.service.start_soon(recovery.run)


async def _leave(parts: _Parts) -> None:
    """Store what is open, as far as that is possible within a minute, and unmount."""
    with trio.move_on_after(LEAVING_SECONDS, shield=True):
        await parts.filesystem.files.close_all()
    pyfuse3.close(unmount=True)
    parts.service.cancel_scope.cancel()


def _attach(config: Config, operations: ImageOperations) -> None:
    """Ask the kernel for the mount.

    max_read and its like are refused by libfuse through pyfuse3, and leave a dead mount:
    only options that mount(8) knows are passed.
    """
    name = str(config.store.source).replace("\\", "\\\\").replace(",", "\\,")
    options = {f"fsname={name}", "subtype=swiftimgfs", "default_permissions"}
    options |= {"ro"} if config.is_read_only else set()
    options |= {"allow_other"} if config.is_for_all else set()
    options |= {"noexec"} if config.is_without_programs else set()
    overheard = Overheard()
    try:
        with overheard:
            pyfuse3.init(operations, str(config.mountpoint), options)
    except RuntimeError as exc:
        reason = why_not_mounted(overheard.text, str(exc))
        raise errors.MountError(f"cannot mount at {config.mountpoint}: {reason}") from exc


def _spare_the_collector() -> None:
    """Have Python look for garbage less often, and not among what stays for good.

    Each request makes hundreds of objects that reference counts free: with the threshold as
    it comes, looking through everything else took a fifteenth of the time of random reads.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD)


async def _raise_read_ahead(operations: ImageOperations, mountpoint: Path) -> None:
    """Do it once the kernel and libfuse have agreed, which sets it to what libfuse says."""
    await operations.is_serving.wait()
    raise_read_ahead(mountpoint)


async def _terminate_on(
    signals: AsyncIterator[int],
    filesystem: ImageFilesystem,
    service: trio.Nursery,
    manager: ServiceManager,
) -> None:
    """Unmount at the first signal, when what somebody waits for is stored; at the second now.

    What was not stored then is in the journal, and its bytes are with it.
    """
    is_leaving = False
    async for number in signals:
        name = signal.Signals(number).name
        if is_leaving:
            log.warning("leaving at once, what is not stored is kept signal=%s", name)
            service.cancel_scope.cancel()
            return
        log.info("unmounting signal=%s", name)
        manager.tell_stopping()
        service.start_soon(_show_what_is_waited_for, filesystem)
        pyfuse3.terminate()
        is_leaving = True


async def _show_what_is_waited_for(filesystem: ImageFilesystem) -> None:
    while waiting := filesystem.files.being_committed():
        for path, size in waiting:
            log.info("unmounting, waiting for an upload image=%s bytes=%d", path, size)
        await trio.sleep(SHOWING_SECONDS)
