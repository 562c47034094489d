"""Settings of a mount: from the command line's `-o` options into frozen values.

`OPTIONS` is the one table: what is in it can be given, and is in `--help`. Each layer has
its own small options value, filled here; nobody below knows this module.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swiftimgfs import errors
from swiftimgfs.fuse.attributes import Presentation
from swiftimgfs.model.directories import FreshnessOptions
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.auth import TransportOptions
from swiftimgfs.store.connection import RetryPolicy
from swiftimgfs.writing.uploader import WriteOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KIB = 1024
SMALLEST_SEGMENT = 4 * KIB
DEFAULT_MEMORY = 512 * KIB**2
_UNITS = {"": 1, "K": KIB, "M": KIB**2, "G": KIB**3, "T": KIB**4}


def parse_size(text: str) -> int:
    """Return a size in bytes: a whole number with K, M, G or T after it, or nothing.

    Raises:
        ValueError: It is not one.
    """
    match = re.fullmatch(r"(\d{1,18})\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError("not a size like 64M, 1G or 4096")
    return int(match[1]) * _UNITS[match[2].upper()]


def _size(at_least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        size = parse_size(text)
        if size < at_least:
            raise ValueError(f"at least {at_least} bytes")
        return size

    return parse


def _number(at_least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < at_least:
            raise ValueError(f"not a whole number from {at_least} on")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        raise ValueError("not a number of seconds")
    return float(text)


def _timeout(text: str) -> float:
    if not (seconds := _seconds(text)):
        raise ValueError("more than 0 seconds")
    return seconds


def _umask(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{1,3}", text):
        raise ValueError("not three octal digits")
    return int(text, 8)


def _mtime(text: str) -> bool:
    if text not in {"exact", "listing"}:
        raise ValueError("neither exact nor listing")
    return text == "exact"


def _flag(text: str) -> bool:
    if text.lower() in {"", "1", "yes", "true", "on"}:
        return True
    if text.lower() in {"0", "no", "false", "off"}:
        return False
    raise ValueError("neither yes nor no")


@dataclass(frozen=True, slots=True)
class Option:
    """One `-o` option: how its text is understood, and what `--help` says."""

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str

    @property
    def is_flag(self) -> bool:
        """Whether it can be given without a value."""
        return self.parse is _flag


OPTIONS = (
    Option("segment_size", _size(SMALLEST_SEGMENT), "64M", "size of uploaded segments"),
    Option("large_object_size", _size(1), "one segment", "from which size segments are used"),
    Option("memory_limit", _size(8 * KIB**2), "512M", "for read-ahead, blocks and dirty data"),
    Option("connections", _number(1), "8", "parallel requests to Swift"),
    Option("timeout", _timeout, "60", "seconds that a server may be silent"),
    Option("retries", _number(1), "5", "tries of one request"),
    Option("mtime", _mtime, "exact", "exact: as stored with each image; listing: as listed"),
    Option("attr_timeout", _seconds, "1", "seconds that an image is not asked for again"),
    Option("list_timeout", _seconds, "60", "seconds that a listing is not asked for again"),
    Option("show_segments", _flag, "off", "show the segments of large images too"),
    Option("allow_glance_writes", _flag, "off", "change also images that Glance wrote"),
    Option("last_writer_wins", _flag, "off", "replace images that others changed meanwhile"),
    Option("ro", _flag, "off", "mount read-only"),
    Option("allow_other", _flag, "off", "let other users in"),
    Option("uid", _number(0), "the caller's", "owner of what has none stored"),
    Option("gid", _number(0), "the caller's", "group of what has none stored"),
    Option("umask", _umask, "the caller's", "permission bits that nobody gets"),
    Option("cacert", str, "the system's", "file of CA certificates"),
    Option("insecure", _flag, "off", "do not verify the servers' certificates"),
    Option("log_file", str, "see below", "where a mount in the background writes its log"),
)
_BY_NAME = {option.name: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class Source:
    """What to mount: how to get in, and the directory of the store that is the root.

    Attributes:
        cloud: A name in clouds.yaml; None for the environment's variables.
        root: A container or a prefix in it, or the account.
    """

    cloud: str | None
    root: StorePath

    def __str__(self) -> str:
        name = "env:" if self.cloud is None else self.cloud
        if self.root.is_root:
            return name
        return f"{name.removesuffix(':')}:{str(self.root)[1:]}"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that one mount is told."""

    source: Source
    mountpoint: Path
    is_read_only: bool
    is_for_all: bool
    connections: int
    cache_limit: int
    log_file: str | None
    presentation: Presentation
    freshness: FreshnessOptions
    retry: RetryPolicy
    transport: TransportOptions
    writing: WriteOptions


def parse_source(text: str) -> Source:
    """Return what `SOURCE[:CONTAINER[/PREFIX]]` names.

    Raises:
        ConfigError: It is empty, or a URI, which cannot be mounted yet.
    """
    name, _, root = text.partition(":")
    if not name or "/" in name or root.startswith("//"):
        raise errors.ConfigError(
            f"source {text!r}: give a cloud of clouds.yaml, or env: for ST_* or OS_* variables"
        )
    container, _, prefix = root.lstrip(":").strip("/").partition("/")
    return Source(None if name == "env" else name, StorePath(container, prefix.strip("/")))


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Return the values of `-o` arguments, each a comma-separated list.

    Raises:
        ConfigError: An unknown option, or a value that it cannot have.
    """
    values: dict[str, Any] = {}
    for item in (item.strip() for text in texts for item in text.split(",")):
        if item:
            name, equals, value = item.partition("=")
            option = _BY_NAME.get(name)
            if option is None:
                raise errors.ConfigError(
                    f"unknown option {name!r} (see swiftimgfs mount --help)"
                )
            if not option.is_flag and not equals:
                raise errors.ConfigError(f"option {name} needs a value: {name}=…")
            try:
                values[name] = option.parse(value)
            except ValueError as exc:
                raise errors.ConfigError(f"option {name}={value}: {exc}") from exc
    return values


def load_config(source: str, mountpoint: str, options: Iterable[str]) -> Config:
    """Return the settings of a mount.

    Raises:
        ConfigError: Something that was given cannot be understood; the message says what.
    """
    given = parse_options(options)
    umask = os.umask(0)
    os.umask(umask)  # the only way to read it
    segment_size = given.get("segment_size", 64 * KIB**2)
    memory = given.get("memory_limit", DEFAULT_MEMORY)
    timeout = given.get("timeout", 60.0)
    attr_timeout = given.get("attr_timeout", 1.0)
    return Config(
        source=parse_source(source),
        mountpoint=Path(mountpoint).absolute(),
        is_read_only=given.get("ro", False),
        is_for_all=given.get("allow_other", False),
        connections=given.get("connections", 8),
        cache_limit=memory // 2,
        log_file=given.get("log_file"),
        presentation=Presentation(
            uid=given.get("uid", os.getuid()),
            gid=given.get("gid", os.getgid()),
            umask=given.get("umask", umask),
            attr_timeout=attr_timeout,
        ),
        freshness=FreshnessOptions(
            attr_timeout=attr_timeout,
            list_timeout=given.get("list_timeout", 60.0),
            is_mtime_exact=given.get("mtime", True),
            show_segments=given.get("show_segments", False),
        ),
        retry=RetryPolicy(tries=given.get("retries", 5), timeout=timeout),
        transport=TransportOptions(
            timeout=timeout,
            cacert=given.get("cacert"),
            insecure=given.get("insecure", False),
        ),
        writing=WriteOptions(
            segment_size=segment_size,
            large_object_size=given.get("large_object_size", segment_size),
            dirty_limit=memory // 2,
            allow_glance_writes=given.get("allow_glance_writes", False),
            last_writer_wins=given.get("last_writer_wins", False),
        ),
    )
