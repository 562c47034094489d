"""Everything that one mount is told, as one frozen value.

Each layer has its own small options value, filled here; nobody below knows this package.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from swiftimgfs import errors
from swiftimgfs.config.glance_options import GLANCE_MB
from swiftimgfs.config.memory import default_memory_limit
from swiftimgfs.config.settings import (
    Settings,
    open_to_all,
    parse_options,
    values_by_file,
    with_environment,
)
from swiftimgfs.config.source import Source, read_source
from swiftimgfs.config.types import format_size
from swiftimgfs.fuse.attributes import Presentation
from swiftimgfs.model.details import ExactTimes
from swiftimgfs.model.directories import FreshnessOptions
from swiftimgfs.model.views import Layout, ViewOptions
from swiftimgfs.store.auth import EndpointOptions, TransportOptions, check_authorities
from swiftimgfs.store.location import check_service_url
from swiftimgfs.store.naming import Naming
from swiftimgfs.store.request import RetryPolicy
from swiftimgfs.writing.byte_watch import WatchOptions
from swiftimgfs.writing.options import LargeObject, WriteOptions
from swiftimgfs.writing.state_directory import default_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# What of its memory a mount leaves for itself: of 512 MiB about what Python and the clients take.
PROGRAM_SHARE = 8
PROGRAM_MEMORY = 80 * 1000**2  # what Python and the clients take, without any data


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """How to reach the store: what is needed before there is a mount, or without one.

    Attributes:
        warnings: Of files with secrets that everybody can read, a line each.
    """

    source: Source
    endpoint: EndpointOptions
    transport: TransportOptions
    retry: RetryPolicy
    connections: int
    naming: Naming
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that one mount is told.

    Attributes:
        cache_limit: Bytes of blocks in memory.
        cache_dir: Where blocks are kept on disk; None for nowhere.
        cache_size: Bytes of them.
        admin_tenants: Projects that every write ACL lets in.
        read_retry: How often a broken read is resumed.
        watching: What is told of the bytes of an image that is written.
        state_directory: Where the journal of uploads is, and what waits for Swift.
        arguments: Source and options as they were given, for who has to log in again.
        metrics: Address and port, or a file; None for nowhere.
        warnings: What makes less sense than somebody may think, a line each.
        is_verifying: Whether whole segments are compared with their MD5 as they are read.
    """

    store: StoreConfig
    mountpoint: Path
    is_read_only: bool
    is_for_all: bool
    is_without_programs: bool
    cache_limit: int
    cache_dir: Path | None
    cache_size: int
    log_file: str | None
    log_level: str
    log_format: str
    metrics: tuple[str, int] | Path | None
    admin_tenants: tuple[str, ...]
    presentation: Presentation
    freshness: FreshnessOptions
    view: ViewOptions
    read_retry: RetryPolicy
    is_verifying: bool
    writing: WriteOptions
    watching: WatchOptions
    state_directory: Path
    arguments: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def load_store_config(
    source: str,
    options: Iterable[str],
    config_file: Path | None = None,
    preset: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[StoreConfig, Settings]:
    """Return how to reach the store that SOURCE names, and all settings.

    Args:
        source: As given.
        options: Of `-o`.
        config_file: Instead of the system's and the user's.
        preset: What holds where nobody says anything else, by name.

    Raises:
        ConfigError: Something that was given cannot be understood; the message says what.
    """
    by_file = values_by_file(config_file)
    own = {**preset, **with_environment(by_file)}
    read, settings = read_source(source, own, parse_options(options))
    _check_buffer(settings)
    _check_reference_file(settings)
    timeout = settings["timeout"]
    config = StoreConfig(
        source=read,
        endpoint=EndpointOptions(
            storage_url=_endpoint_url(settings),
            region=settings.if_given("swift_store_region"),
            interface=settings.if_given("swift_store_endpoint_type"),
            service_type=settings.if_given("swift_store_service_type"),
            expire_soon=settings["swift_store_expire_soon_interval"],
        ),
        transport=TransportOptions(
            timeout=timeout,
            cacert=_cacert(settings),
            insecure=settings["insecure"] or settings["swift_store_auth_insecure"],
        ),
        retry=RetryPolicy(tries=settings["retries"], timeout=timeout),
        connections=settings["connections"],
        naming=Naming(
            container=settings["swift_store_container"],
            seed=settings["swift_store_multiple_containers_seed"],
            is_multi_tenant=settings["swift_store_multi_tenant"],
        ),
        warnings=tuple(open_to_all(settings, by_file)),
    )
    return config, settings


def load_config(
    source: str, mountpoint: str, options: Iterable[str], config_file: Path | None = None
) -> Config:
    """Return the settings of a mount.

    Raises:
        ConfigError: Something that was given cannot be understood; the message says what.
    """
    if not mountpoint:  # to Path that is the current directory
        raise errors.ConfigError("no mount point: what was given is empty")
    options = list(options)
    store, settings = load_store_config(source, options, config_file)
    memory = settings["memory_limit"] or default_memory_limit()
    return Config(
        store=store,
        mountpoint=Path(mountpoint).absolute(),
        is_read_only=settings["ro"],
        is_for_all=settings["allow_other"],
        is_without_programs=settings["noexec"],
        cache_limit=memory - memory // PROGRAM_SHARE,
        cache_dir=_cache_dir(settings, Path(mountpoint).absolute()),
        cache_size=settings["cache_size"],
        log_file=settings["log_file"],
        log_level=settings["log_level"],
        log_format=settings["log_format"],
        metrics=settings["metrics"],
        admin_tenants=tuple(settings["swift_store_admin_tenants"]),
        presentation=_presentation(settings),
        freshness=_freshness(settings),
        view=_view(settings, store),
        read_retry=_read_retry(settings, store.retry),
        is_verifying=settings["verify"],
        watching=_watching(settings),
        state_directory=state_directory(settings),
        arguments=_arguments(source, options, config_file),
        warnings=(*_warnings(settings, memory), *store.warnings),
        writing=_writing(settings, store, memory),
    )


def _freshness(settings: Settings) -> FreshnessOptions:
    return FreshnessOptions(
        attr_timeout=settings["attr_timeout"],
        list_timeout=settings["list_timeout"],
        exact_times=ExactTimes(settings["mtime"]),
        show_segments=settings["show_segments"],
    )


def _writing(settings: Settings, store: StoreConfig, memory: int) -> WriteOptions:
    large_object = LargeObject(settings["large_object"])
    segment_size, large_object_size = _sizes(settings, large_object)
    return WriteOptions(
        large_object=large_object,
        segment_size=segment_size,
        large_object_size=large_object_size,
        memory_limit=memory * 3 // 8,
        spool_size=settings["spool_size"],
        keep_replaced=settings["keep_replaced"],
        connections=store.connections,
        allow_glance_writes=settings["allow_glance_writes"],
        last_writer_wins=settings["last_writer_wins"],
        naming=store.naming,
    )


def _warnings(settings: Settings, memory: int) -> Iterator[str]:
    if memory < PROGRAM_MEMORY:
        yield (
            f"memory_limit={format_size(memory)} is less than the program itself takes, about"
            f" {PROGRAM_MEMORY // 1000**2} MB: it holds for data alone"
        )
    if "cache_size" in settings.given and not settings["cache_dir"]:
        yield "cache_size without cache_dir: nothing is kept on a disk"


def state_directory(settings: Settings) -> Path:
    """Return where the journal of uploads is, and what waits for Swift.

    Raises:
        ConfigError: There is no home directory to have it in, or `spool_dir` is relative.
    """
    return _directory(settings, "spool_dir") or default_directory()


def _arguments(
    source: str, options: Iterable[str], config_file: Path | None
) -> tuple[str, ...]:
    """Return what a command line would say; secrets are in none of it."""
    text = f"@{Path(source[1:]).absolute()}" if source.startswith("@") else source
    flags = [flag for option in options for flag in ("-o", option)]
    flags += ["--config-file", str(config_file)] if config_file else []
    return (text, *flags)


def _sizes(settings: Settings, large_object: LargeObject) -> tuple[int, int]:
    """Return the size of segments, and from which size on an image has some."""
    if large_object is LargeObject.GLANCE:
        return (
            settings["swift_store_large_object_chunk_size"] * GLANCE_MB,
            settings["swift_store_large_object_size"] * GLANCE_MB,
        )
    segment_size: int = settings["segment_size"]
    return segment_size, settings["large_object_size"] or segment_size


def _watching(settings: Settings) -> WatchOptions:
    """Return which digest is stored with images, and where certificates are.

    Glance keeps digests in its database, and its driver none in Swift.
    """
    algorithm: str | None = settings["hashing_algo"]
    is_as_glance = settings["large_object"] == LargeObject.GLANCE.value
    if algorithm == "none" or is_as_glance:
        algorithm = None
    if not settings["signature_certificates"]:
        return WatchOptions(algorithm)
    path = Path(settings["signature_certificates"]).absolute()  # the background is elsewhere
    if not path.is_dir():
        raise errors.ConfigError(f"signature_certificates {path}: no such directory")
    return WatchOptions(algorithm, path)


def _presentation(settings: Settings) -> Presentation:
    umask = os.umask(0)
    os.umask(umask)  # the only way to read it
    return Presentation(
        uid=_or(settings["uid"], os.getuid()),
        gid=_or(settings["gid"], os.getgid()),
        umask=_or(settings["umask"], umask),
        attr_timeout=settings["attr_timeout"],
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _view(settings: Settings, store: StoreConfig) -> ViewOptions:
    layout = Layout(settings["layout"])
    if layout is Layout.IMAGES and not store.source.root.is_root:
        raise errors.ConfigError(
            "layout=images shows the images of all containers: give a source without a container"
        )
    return ViewOptions(
        layout,
        store.naming,
        settings["swift_store_create_container_on_put"],
        settings["storage_policy"] or "",
    )


def _read_retry(settings: Settings, retry: RetryPolicy) -> RetryPolicy:
    """Return how often a broken read is resumed: Glance's 0 would be never, which helps nobody."""
    resumptions = settings["swift_store_retry_get_count"]
    return replace(retry, tries=resumptions + 1) if resumptions else retry


def _endpoint_url(settings: Settings) -> str | None:
    url: str | None = settings["swift_store_endpoint"]
    if url:
        check_service_url("swift_store_endpoint", url)
    return url or None


def _cacert(settings: Settings) -> str | None:
    if not settings["swift_store_cacert"]:
        return None
    path = str(Path(settings["swift_store_cacert"]).absolute())  # the background is elsewhere
    check_authorities("cacert", path)
    return path


def _cache_dir(settings: Settings, mountpoint: Path) -> Path | None:
    """Return where blocks are kept; not in the mount, which would wait for itself."""
    path = _directory(settings, "cache_dir")
    if path is not None and path.is_relative_to(mountpoint):
        raise errors.ConfigError(f"cache_dir={path} is in the mount itself")
    return path


def _directory(settings: Settings, name: str) -> Path | None:
    """Return a directory of this host that an option names.

    Raises:
        ConfigError: It is relative: who starts from elsewhere, such as `swiftimgfs status`, the
            next mount or a service, would have another one.
    """
    if not (text := settings[name]):
        return None
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise errors.ConfigError(f"{name}={text}: no such home directory") from None
    if not path.is_absolute():
        raise errors.ConfigError(
            f"{name}={text}: give its whole path, from / on: the next mount, and commands that"
            " are started elsewhere, would take another directory"
        )
    return path


def _check_reference_file(settings: Settings) -> None:
    path = settings["swift_store_config_file"]
    if path and not Path(path).is_file():
        raise errors.ConfigError(f"swift_store_config_file {path}: no such file")


def _check_buffer(settings: Settings) -> None:
    """Refuse what the driver's `validate_buffering` refuses, before anything is uploaded."""
    if not settings["swift_buffer_on_upload"]:
        return
    directory = settings["swift_upload_buffer_dir"]
    if not directory:
        raise errors.ConfigError("swift_buffer_on_upload needs swift_upload_buffer_dir")
    if not Path(directory).is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        raise errors.ConfigError(
            f"swift_upload_buffer_dir {directory}: no directory that can be written"
        )
