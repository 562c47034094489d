"""What a mount, or a command that does what a mount does, is put together from.

Wiring alone: each function makes one part of what it is given, and nothing here serves anybody.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.model.directories import Directories
from swiftimgfs.model.files import OpenFiles
from swiftimgfs.model.filesystem import ImageFilesystem
from swiftimgfs.model.inodes import InodeTable
from swiftimgfs.model.views import view_of
from swiftimgfs.reading.block_cache import BlockCache
from swiftimgfs.reading.disk_cache import DiskCache
from swiftimgfs.reading.disk_reads import DiskFirstStore
from swiftimgfs.reading.disk_writes import DiskWriter
from swiftimgfs.reading.fetcher import Fetcher
from swiftimgfs.reading.verifier import Verifier
from swiftimgfs.store.connection import ConnectionPool
from swiftimgfs.store.login import log_in
from swiftimgfs.store.request import TIMEOUTS_IN_AN_EXCHANGE
from swiftimgfs.writing import hooks
from swiftimgfs.writing.budget import DirtyBudget
from swiftimgfs.writing.byte_watch import ImageWatches
from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.parts import WriteParts
from swiftimgfs.writing.recovery import Recovery
from swiftimgfs.writing.state_directory import StateDirectory
from swiftimgfs.writing.upload_record import Owner

if TYPE_CHECKING:
    from swiftimgfs.config.load import Config, StoreConfig
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.model.usage import StoreUsage
    from swiftimgfs.reading.chunks import RangeStore
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.resumption import Resumption
    from swiftimgfs.writing.state_directory import Session


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
    journal = hooks.Journal()
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
