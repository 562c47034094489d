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
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyfuse3
import trio

from swiftimgfs import errors
from swiftimgfs.control.reporter import Reporter
from swiftimgfs.fuse.operations import ImageOperations
from swiftimgfs.fuse.read_ahead import raise_read_ahead
from swiftimgfs.model.directories import Directories
from swiftimgfs.model.files import OpenFiles
from swiftimgfs.model.filesystem import ImageFilesystem
from swiftimgfs.model.inodes import InodeTable
from swiftimgfs.model.usage import StoreUsage
from swiftimgfs.model.views import view_of
from swiftimgfs.mountpoint import check_host, check_mountpoint
from swiftimgfs.notify import ServiceManager
from swiftimgfs.reading.block_cache import BlockCache
from swiftimgfs.reading.disk_cache import DiskCache
from swiftimgfs.reading.disk_reads import DiskFirstStore
from swiftimgfs.reading.disk_writes import DiskWriter
from swiftimgfs.reading.fetcher import Fetcher
from swiftimgfs.reading.verifier import Verifier
from swiftimgfs.store.connection import ConnectionPool
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.store.login import log_in
from swiftimgfs.store.request import TIMEOUTS_IN_AN_EXCHANGE
from swiftimgfs.visibility import facts_of, keep_log_current, let_look, measured
from swiftimgfs.writing import hooks
from swiftimgfs.writing.allocator import give_back_when_idle, keep_freed_memory
from swiftimgfs.writing.budget import DirtyBudget
from swiftimgfs.writing.byte_watch import ImageWatches
from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.parts import WriteParts
from swiftimgfs.writing.recovery import Recovery
from swiftimgfs.writing.resumption import Resumption
from swiftimgfs.writing.state_directory import StateDirectory
from swiftimgfs.writing.upload_record import Owner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from swiftimgfs.config.load import Config, StoreConfig
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.reading.chunks import RangeStore
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
    source = config.store.source
    await check_root(source.root, store)
    session = None if config.is_read_only else open_session(config, pool.storage_url)
    with (
        contextlib.nullcontext() if session is None else contextlib.closing(session),
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
    ):
        async with trio.open_nursery() as service, contextlib.AsyncExitStack() as stack:
            fetcher = build_fetcher(config, pool, store, service)
            writing = write_parts(config, pool, store, fetcher, service, session)
            usage = StoreUsage(store, service, account, source.root)
            await usage.learn_containers()
            filesystem = build_filesystem(config, store, usage, writing, fetcher)
            operations = ImageOperations(filesystem, config.presentation)
            place = config.mountpoint.resolve()  # later that would be a request to ourselves
            reporter = Reporter(
                facts_of(config, pool.storage_url),
                pool.traffic,
                fetcher,
                writing.budget,
                filesystem.files,
                operations.refusals,
            )
            await stack.enter_async_context(measured(config, pool, reporter))
            _attach(config, operations)
            service.start_soon(keep_log_current)
            service.start_soon(_raise_read_ahead, operations, place)
            service.start_soon(_terminate_on, signals, filesystem, service, manager)
            if session is not None:
                keep_freed_memory(config.writing.memory_limit)
                service.start_soon(give_back_when_idle, writing.budget, pool.compute)
            _spare_the_collector()
            try:  # from here on whatever fails unmounts
                await service.start(let_look, config, place, reporter)
                log.info("mounted source=%s mountpoint=%s", source, config.mountpoint)
                ready(pool.warning)
                service.start_soon(
                    manager.attend,
                    f"{source} at {config.mountpoint}",
                    filesystem.files.being_committed,
                )
                if session is not None:
                    recovery = recovery_of(config, pool, session, Resumption(writing, fetcher))
                    service.start_soon(recovery.run)
                await pyfuse3.main()
            finally:
                with trio.move_on_after(LEAVING_SECONDS, shield=True):
                    await filesystem.files.close_all()
                pyfuse3.close(unmount=True)
                service.cancel_scope.cancel()
    log.info("unmounted mountpoint=%s", config.mountpoint)


def make_pool(config: StoreConfig) -> ConnectionPool:
    """Return the connections to what the source names.

    Raises:
        ConfigError: Something that logging in takes is missing.
    """
    identity, transport = log_in(
        config.source.login, config.endpoint, config.transport, os.environ
    )
    return ConnectionPool(
        identity, size=config.connections, transport=transport, retry=config.retry
    )


def open_session(config: Config, account: str) -> Session:
    """Return this mount's part of the state directory.

    Raises:
        ConfigError: The directory cannot be used, or is not ours alone.
    """
    owner = Owner(account, os.getpid(), str(config.mountpoint), config.arguments)
    return StateDirectory(config.state_directory).open_session(owner)


def write_parts(
    config: Config,
    pool: ConnectionPool,
    store: ImageStore,
    fetcher: Fetcher,
    service: trio.Nursery,
    session: Session | None,
) -> WriteParts:
    """Return what every writer of a mount shares; without a session nothing is journalled.

    What waits for Swift has its memory from the fetcher's cache.
    """
    options = config.writing
    journal: hooks.Journal = hooks.NoJournal()
    if session is not None:
        journal = Journal(session, pool.compute, most_kept=options.spool_size)
    return WriteParts(
        store,
        service,
        DirtyBudget(options.memory_limit, options.spool_size, fetcher.cache),
        session.spool_directory if session else Path(tempfile.gettempdir()),
        options,
        journal=journal,
        watches=ImageWatches(config.watching, pool.compute, service),
        slots=trio.Semaphore(options.connections),
    )


def recovery_of(
    config: Config, pool: ConnectionPool, session: Session, resumption: Resumption
) -> Recovery:
    """Return what goes on with what mounts of this account left when they died."""
    return Recovery(
        resumption.store,
        session.state,
        pool.storage_url,
        pool.compute,
        settle_seconds=config.store.retry.timeout * TIMEOUTS_IN_AN_EXCHANGE,
        send_again=resumption.send_again,
    )


def build_fetcher(
    config: Config, pool: ConnectionPool, store: ImageStore, service: trio.Nursery
) -> Fetcher:
    """Return what reads: from memory, from the disk where there is a `cache_dir`, from Swift.

    Raises:
        ConfigError: `cache_dir` cannot be used.
    """
    cache = BlockCache(config.cache_limit)
    first: RangeStore = store
    writer = disk = None
    if config.cache_dir is not None:
        disk = DiskCache(config.cache_dir, config.cache_size)
        writer = DiskWriter(disk, pool, limit=config.cache_limit // 2)
        first = DiskFirstStore(store, disk, pool, writer.worths)
        service.start_soon(writer.run)
    retry = config.read_retry
    # The verifier's store is Swift itself: a second look at what was wrong.
    verifier = Verifier(
        store, cache, retry, pool.compute, is_on=config.is_verifying, keeper=writer
    )
    connections = config.store.connections
    return Fetcher(first, cache, verifier, retry, service, connections=connections, disk=disk)


def build_filesystem(
    config: Config,
    store: ImageStore,
    usage: StoreUsage,
    writing: WriteParts,
    fetcher: Fetcher,
) -> ImageFilesystem:
    """Return the parts of a mount, wired."""
    inodes = InodeTable(config.store.source.root)
    directories = Directories(store, config.freshness, writing.nursery)
    files = OpenFiles(store, directories, inodes, fetcher, writing)
    view = view_of(config.view, store, directories, list_timeout=config.freshness.list_timeout)
    return ImageFilesystem(
        store,
        directories,
        inodes,
        files,
        usage,
        view,
        admin_tenants=config.admin_tenants,
        mountpoints=(str(config.mountpoint.absolute()), str(config.mountpoint.resolve())),
    )


async def _check_account(store: ImageStore) -> None:
    try:
        await store.list_containers(limit=1)
    except errors.ForbiddenError as exc:
        raise errors.ForbiddenError(
            f"{exc}: may not see which containers there are; name one: SOURCE:CONTAINER"
        ) from exc


async def check_root(root: StorePath, store: ImageStore) -> None:
    """Refuse a root that is not there, or not for us to see.

    Raises:
        NotFoundError: No such container, or no such directory in it.
        ForbiddenError: The containers are not for us to see.
    """
    if root.is_root:
        await _check_account(store)
        return
    try:
        await store.head_container(root.container)
    except errors.NotFoundError:
        raise errors.NotFoundError(f"there is no container {root.container!r}") from None
    if root.name and not (await store.list_page(root.container, root.prefix, limit=1)).has_any:
        raise errors.NotFoundError(f"there is no directory {root.name!r} in {root.container!r}")


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
    try:
        pyfuse3.init(operations, str(config.mountpoint), options)
    except RuntimeError as exc:
        raise errors.MountError(
            f"cannot mount at {config.mountpoint}: {exc}"
            " (may this user open /dev/fuse, and run fusermount3?)"
        ) from exc


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
