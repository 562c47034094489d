"""What a mount says of itself, as a frozen value and as JSON. Pure.

There is no credential in it: the source has none, an account's URL has none, and reasons are
those of the log. Who reads a report trusts nothing in it: a shared account's names are
anybody's, and the socket may be somebody else's.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass
from typing import Any, Final

from swiftimgfs.fuse.failures import Refusal
from swiftimgfs.model.activity import ImageActivity
from swiftimgfs.reading.block_cache import CacheSnapshot
from swiftimgfs.reading.disk_cache import DiskSnapshot
from swiftimgfs.store.traffic import Latency, RunningRequest, TrafficSnapshot
from swiftimgfs.writing.budget import DirtySnapshot

VERSION: Final = 1
MOST_IMAGES: Final = 1000  # in one answer: who has more open is told how many


class BadAnswerError(ValueError):
    """What a mount answered cannot be understood."""


@dataclass(frozen=True, slots=True)
class MountFacts:
    """What a mount is, for as long as it is.

    Attributes:
        source: As it was asked for, without credentials.
        identity: Who it is to Keystone or Swift.
        account: The account's URL.
        started: Seconds since the epoch.
        version: Of swiftimgfs.
        state_directory: Where its uploads are noted.
    """

    source: str
    identity: str
    account: str
    mountpoint: str
    pid: int
    uid: int
    started: float
    version: str
    is_read_only: bool
    state_directory: str


@dataclass(frozen=True, slots=True)
class RequestCount:
    """How many requests of one method were answered with one status, 0 for none."""

    method: str
    status: int
    count: int


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """How often the kernel was refused one operation with one errno."""

    operation: str
    errno: str
    count: int


@dataclass(frozen=True, slots=True)
class MethodLatency:
    """How long requests of one method took: see `Latency`."""

    method: str
    counts: tuple[int, ...]
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Requests:
    """What was asked of Swift since the start."""

    counts: tuple[RequestCount, ...]
    latencies: tuple[MethodLatency, ...]
    bytes_in: int
    bytes_out: int
    retries: int
    running: tuple[RunningRequest, ...]

    @classmethod
    def of(cls, traffic: TrafficSnapshot) -> Requests:
        """Return what a pool of connections has counted."""
        return cls(
            tuple(RequestCount(*key, count) for key, count in sorted(traffic.requests.items())),
            tuple(
                MethodLatency(method, *_fields_of(latency))
                for method, latency in sorted(traffic.latencies.items())
            ),
            traffic.bytes_in,
            traffic.bytes_out,
            traffic.retries,
            traffic.running,
        )


def _fields_of(latency: Latency) -> tuple[tuple[int, ...], int, float]:
    return latency.counts, latency.count, latency.seconds


@dataclass(frozen=True, slots=True)
class Report:
    """A mount at one moment.

    Attributes:
        taken: The moment, in seconds since the epoch.
        bytes_read: What applications were given.
        bytes_written: What applications gave.
        image_count: How many images are open; `images` has the first of them.
        refusals: The latest ones.
    """

    mount: MountFacts
    taken: float
    bytes_read: int
    bytes_written: int
    memory: CacheSnapshot
    disk: DiskSnapshot | None
    dirty: DirtySnapshot
    requests: Requests
    image_count: int
    images: tuple[ImageActivity, ...]
    refused: tuple[RefusalCount, ...]
    refusals: tuple[Refusal, ...]

    @property
    def uptime(self) -> float:
        """Seconds since it was mounted."""
        return self.taken - self.mount.started


def format_report(report: Report) -> dict[str, Any]:
    """Return a report as what JSON can hold; inverse of `parse_report`."""
    return dataclasses.asdict(report)


def parse_report(fields: object) -> Report:
    """Return the report in what JSON held.

    Raises:
        BadAnswerError: There is none in it.
    """
    report: Report = _value(Report, fields)
    return report


def parse_json(text: bytes) -> Any:
    """Return what is in a JSON text.

    Raises:
        BadAnswerError: It is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadAnswerError("not JSON") from None


def _value(kind: Any, value: object) -> Any:
    """Return a value as the annotation says that it is, or refuse it."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise BadAnswerError("no list")
        return tuple(_value(arguments[0], item) for item in value)
    if arguments:  # a union with None
        return None if value is None else _value(arguments[0], value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise BadAnswerError(f"{type(value).__name__} where {kind.__name__} is needed")
    return value


def _dataclass(kind: Any, value: object) -> Any:
    if not isinstance(value, dict):
        raise BadAnswerError("no object")
    hints = typing.get_type_hints(kind)
    try:
        return kind(**{name: _value(hint, value[name]) for name, hint in hints.items()})
    except KeyError as exc:
        raise BadAnswerError(f"{exc} is missing") from None
