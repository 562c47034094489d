"""The log: one line per event in each format, fields in the journal, and no floods."""

from __future__ import annotations

import json
import logging
import socket
import struct
import time

import pytest

from swiftimgfs import errors
from swiftimgfs.commands import logs
from swiftimgfs.commands.logs import (
    BURST_OF_IMAGE,
    JournalHandler,
    JsonFormatter,
    LimitedHandler,
    OneLineFormatter,
)
from swiftimgfs.fuse.failures import Refusals


class Lines(logging.Handler):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def logged():
    """Return a function that has events go through the limit, and the lines they become."""
    root, attached = logging.getLogger("swiftimgfs"), []

    def start(formatter: logging.Formatter) -> tuple[LimitedHandler, list[str]]:
        target = Lines(formatter)
        handler = LimitedHandler(target)
        root.addHandler(handler)
        attached.append(handler)
        return handler, target.lines

    yield start
    for handler in attached:
        root.removeHandler(handler)


def refuse(refusals: Refusals, image: str, number: int = 1) -> None:
    failure = errors.StoreUnavailableError(
        "503 \x1b[31m\nfake line", status=503, transaction="t"
    )
    outer = errors.CorruptDataError("wrong")
    outer.__cause__ = failure
    for _ in range(number):
        refusals.note("read", image, outer)


def test_json_has_a_field_for_all_that_is_known(logged) -> None:
    _, lines = logged(JsonFormatter())
    refuse(Refusals(), "c/\x1b]0;x\x07\n")
    logging.getLogger("swiftimgfs.x").warning("plain %s", "line\nbreak")

    first, second = map(json.loads, lines)

    assert first["operation"] == "read"
    assert first["image"] == "c/\x1b]0;x\x07\n"
    assert first["errno"] == "EIO"
    assert (first["status"], first["transaction"]) == (503, "t")
    assert first["level"] == "warning"
    assert second["message"] == "plain line\nbreak"
    assert not any("\n" in line or "\x1b" in line for line in lines)


def test_json_has_a_field_for_each_key_of_an_event(logged) -> None:
    _, lines = logged(JsonFormatter())
    log = logging.getLogger("swiftimgfs.x")
    log.error("not stored image=%s size=%d", "c/a size=1 level=none", 7)
    log.warning("left behind, %s says image=%s/%s wait=%.1f s", "he", "c", "b c", 2.54)
    log.warning("100%% of message=%s", "x")
    log.warning("no keys")

    first, second, third, fourth = map(json.loads, lines)

    assert (first["image"], first["size"]) == ("c/a size=1 level=none", 7)
    assert first["level"] == "error"
    assert first["message"] == "not stored image=c/a size=1 level=none size=7"
    assert (second["image"], second["wait"]) == ("c/b c", 2.5)
    assert third["message"] == "100% of message=x"
    assert fourth.keys() == {"time", "level", "logger", "message"}


def test_a_line_for_people_is_one_line(logged) -> None:
    _, lines = logged(OneLineFormatter("%(message)s"))

    refuse(Refusals(), "c/\x1b]0;x\x07\n")

    assert lines == [
        r"read failed image=c/\x1b]0;x\x07\n errno=EIO status=503 transaction=t reason=wrong"
    ]


def test_a_refusal_names_its_image_once(logged) -> None:
    _, lines = logged(OneLineFormatter("%(message)s"))
    refusals = Refusals()

    refusals.note("read", "c/x", errors.StoreUnavailableError("GET c/x: 503", status=503))

    assert lines == ["read failed image=c/x errno=EIO status=503 transaction=- reason=GET: 503"]
    assert [refusal.reason for refusal in refusals.latest()] == ["GET: 503"]


def test_an_image_that_fails_again_and_again_does_not_flood_the_log(
    logged, monkeypatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    handler, lines = logged(OneLineFormatter("%(message)s"))
    refusals = Refusals()

    refuse(refusals, "c/bad", 1000)
    refuse(refusals, "c/other")

    assert len(lines) == BURST_OF_IMAGE + 1
    now[0] += logs.WINDOW_SECONDS
    handler.flush()
    assert lines[-1].startswith("left out 995 more, the latest: read failed image=c/bad")
    assert refusals.counts["read", "EIO"] == 1001  # counted all the same
    refuse(refusals, "c/bad", 10)
    assert lines[-1].startswith("read failed image=c/bad")
    handler.close()
    assert lines[-1].startswith("left out 5 more")


def test_what_was_done_is_told_of_each_image(logged) -> None:
    _, lines = logged(OneLineFormatter("%(message)s"))
    logging.getLogger("swiftimgfs").setLevel(logging.INFO)

    for number in range(200):
        logging.getLogger("swiftimgfs.writing.commit").info("committed image=%s", number)

    assert len(lines) == 200


def test_the_journal_is_told_fields(tmp_path) -> None:
    address = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(address)
        handler = JournalHandler(address)
        handler.setFormatter(OneLineFormatter("%(message)s"))
        root = logging.getLogger("swiftimgfs")
        root.addHandler(handler)
        try:
            refuse(Refusals(), "c/x\nFAKE=1")
            logging.getLogger("swiftimgfs.x").error("not stored image=%s size=%d", "c/y", 7)
        finally:
            root.removeHandler(handler)
            handler.close()
        told = _fields(journal.recv(100_000))
        lost = _fields(journal.recv(100_000))

    assert told["PRIORITY"] == "4"
    assert told["IMAGE"] == "c/x\nFAKE=1"  # in one field, with its length before it
    assert told["ERRNO_NAME"] == "EIO"
    assert told["HTTP_STATUS"] == "503"
    assert told["TRANSACTION"] == "t"
    assert told["MESSAGE"].startswith("read failed")
    assert (lost["IMAGE"], lost["SIZE"], lost["PRIORITY"]) == ("c/y", "7", "3")
    with pytest.raises(OSError, match="No such file"):
        JournalHandler(str(tmp_path / "none"))


def _fields(datagram: bytes) -> dict[str, str]:
    fields = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        (size,) = struct.unpack("<Q", rest[:8])
        fields[name.decode()] = rest[8 : 8 + size].decode()
        datagram = rest[9 + size :]
    return fields
