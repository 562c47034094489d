"""The log of a mount: one line per event, to standard error, a file, or systemd's journal.

An event that repeats itself (a damaged block, a store that is down, read by many) is written
a few times a minute, and then how often it was left out: by logger, message and image.

Source: systemd.journal-fields(7), and its native protocol (JOURNAL_NATIVE_PROTOCOL).
"""

from __future__ import annotations

import copy
import datetime
import json
import logging
import re
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs.commands.source import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOURNAL: Final = "/run/systemd/journal/socket"
FACTS: Final = ("operation", "image", "errno", "status", "transaction")
BURST_OF_IMAGE: Final = 5  # events of one kind, in
BURST: Final = 50  # the same of those that name no image
WINDOW_SECONDS: Final = 60.0
MOST_KINDS: Final = 1000
LONGEST_FIELD: Final = 64 * 1024
# The clients' own debug output shows headers, and so the beginning of tokens.
CLIENTS: Final = (
    "swiftclient",
    "keystoneauth",
    "urllib3",
    "requests",
    "openstack",
    "stevedore",
)
_CONVERSION: Final = re.compile(r"%[-#0 +]*\d*(?:\.\d+)?([a-z])")
_PRIORITIES: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class OneLineFormatter(logging.Formatter):
    """One line per event, whatever is in a name that somebody gave an image."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line with control characters escaped."""
        return printable(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """An object in a line, with each `key=value` of the event in a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        fields = {
            **facts_of(record),
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what a record knows beside its message: `image=%s` in that, and a refusal's facts.

    By the format and not by the line: a name may have anything in it.
    """
    told = {name: value for name in FACTS if (value := getattr(record, name, None))}
    return {**_named_arguments(record), **told}


def _named_arguments(record: logging.LogRecord) -> dict[str, object]:
    if not record.args or not isinstance(record.args, tuple):
        return {}
    rest = list(record.args)
    found: dict[str, object] = {}
    for word in str(record.msg).split():
        name, mark, form = word.rpartition("=")
        kinds = _CONVERSION.findall(word)
        arguments, rest = rest[: len(kinds)], rest[len(kinds) :]
        if mark and name.isidentifier() and kinds:
            text = form % tuple(arguments)
            is_number = kinds[0] in "df" and _CONVERSION.fullmatch(form)
            found[name] = (float if "." in text else int)(text) if is_number else text
    return found


@dataclass(slots=True)
class _Kind:
    """Events of one kind: how many passed until when, and what the latest left out was."""

    until: float
    passed: int = 0
    left_out: int = 0
    latest: logging.LogRecord | None = None


class FloodLimit:
    """Lets the first few events of a kind pass in each window, and counts the others."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def passes(self, record: logging.LogRecord) -> bool:
        """Return whether an event is written; debug and defects of ours always are."""
        if record.levelno <= logging.DEBUG or record.exc_info:
            return True
        image = getattr(record, "image", None)
        if record.levelno < logging.WARNING:  # what was done is told of each image
            kind, most = (record.name, record.getMessage(), ""), BURST
        elif image:
            kind, most = (record.name, str(record.msg), str(image)), BURST_OF_IMAGE
        else:
            kind, most = (record.name, str(record.msg), ""), BURST
        state = self._kinds.get(kind)
        if state is None or time.monotonic() >= state.until:
            state = self._begin(kind)
        if state.passed < most:
            state.passed += 1
            return True
        state.left_out += 1
        state.latest = record
        return False

    def _begin(self, kind: tuple[str, ...]) -> _Kind:
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.pop(next(iter(self._kinds)))
        state = self._kinds[kind] = _Kind(time.monotonic() + WINDOW_SECONDS)
        return state

    def left_out(self, *, is_over: bool = False) -> Iterator[logging.LogRecord]:
        """Yield what tells of events that were left out, once their window has ended."""
        now = time.monotonic()
        for kind, state in list(self._kinds.items()):
            if now >= state.until or is_over:
                del self._kinds[kind]
                if state.latest is not None:
                    yield _summary(state.latest, state.left_out)


def _summary(latest: logging.LogRecord, count: int) -> logging.LogRecord:
    summary = copy.copy(latest)
    summary.msg = f"left out {count} more, the latest: {latest.getMessage()}"
    summary.args = ()
    return summary


class LimitedHandler(logging.Handler):
    """Hands events on to another handler, as far as the flood limit lets them pass."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target
        self._limit = FloodLimit()

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event, and what has been left out by now."""
        self._tell()
        if self._limit.passes(record):
            self._target.handle(record)

    def flush(self) -> None:
        """Write what has been left out in windows that have ended."""
        self._tell()
        self._target.flush()

    def close(self) -> None:
        """Write all that was left out, and close the other handler."""
        self._tell(is_over=True)
        self._target.close()
        super().close()

    def _tell(self, *, is_over: bool = False) -> None:
        for record in list(self._limit.left_out(is_over=is_over)):
            self._target.handle(record)


class JournalHandler(logging.Handler):
    """Sends events to systemd's journal, with their facts as fields (`IMAGE=`, `ERRNO_NAME=`)."""

    def __init__(self, address: str = JOURNAL) -> None:
        """Raise OSError when no journal is there."""
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(0)  # a mount does not wait for its log

    def emit(self, record: logging.LogRecord) -> None:
        """Send one event; one that is refused is lost, which logging reports."""
        try:
            self._socket.send(b"".join(_journal_fields(record, self.format(record))))
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def _journal_fields(record: logging.LogRecord, message: str) -> Iterator[bytes]:
    names = {"errno": "ERRNO_NAME", "status": "HTTP_STATUS"}
    fields: dict[str, object] = {
        **{names.get(k, k.upper()): value for k, value in facts_of(record).items()},
        "MESSAGE": message,
        "PRIORITY": _PRIORITIES.get(record.levelname, 5),
        "SYSLOG_IDENTIFIER": "swiftimgfs",
        "LOGGER": record.name,
    }
    for name, value in fields.items():
        text = str(value).encode(errors="backslashreplace")[:LONGEST_FIELD]
        # The form with a length: a value may have lines.
        yield name.encode() + b"\n" + struct.pack("<Q", len(text)) + text + b"\n"


def set_up_logging(*, level: str, style: str, target: Path | str | None) -> None:
    """Have the root logger write there.

    Args:
        level: The least that is written, as in `log_level`.
        style: `text` or `json`.
        target: A file, `journal`, or None for standard error.

    Raises:
        OSError: The file cannot be opened, or there is no journal.
    """
    handler: logging.Handler = logging.StreamHandler()
    line = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if target == "journal":
        handler, line = JournalHandler(), "%(message)s"  # the rest is in fields
    elif target is not None:
        handler = logging.FileHandler(target, encoding="utf-8")
    handler.setFormatter(JsonFormatter() if style == "json" else OneLineFormatter(line))
    logging.basicConfig(level=level.upper(), handlers=[LimitedHandler(handler)])
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)
