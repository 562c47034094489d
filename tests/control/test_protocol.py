"""Reports as JSON, the words of the control socket, and mounts as the kernel lists them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from swiftimgfs.control.mounts import MountEntry, parse_mounts, resolved
from swiftimgfs.control.protocol import (
    format_answer,
    format_error,
    format_request,
    parse_answer,
    problem_of,
)
from swiftimgfs.control.report import BadAnswerError
from tests.support.reports import REPORT

TEXT = format_answer(REPORT)


def test_a_report_comes_back_as_it_was() -> None:
    assert parse_answer(TEXT) == REPORT
    assert parse_answer(format_answer(dataclasses.replace(REPORT, disk=None))).disk is None
    assert TEXT.count(b"\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"taken": "now"},
        {"images": {}},
        {"images": [{}]},
        {"images": [1]},
        {"memory": None},
        {"bytes_read": True},
        {"bytes_read": 1.5},
        {"mount": {"source": 5}},
    ],
)
def test_what_is_no_report_is_refused(change) -> None:
    answer = json.loads(TEXT)
    answer["status"] |= change

    with pytest.raises(BadAnswerError):
        parse_answer(json.dumps(answer).encode())


@pytest.mark.parametrize(
    "text",
    [b"", b"\0", b"[]", b"5", b'{"version": 2}', b'{"version": 1}', b"[" * 100_000, b"\xff"],
)
def test_what_is_no_answer_is_refused(text) -> None:
    with pytest.raises(BadAnswerError):
        parse_answer(text)


def test_a_problem_is_told_by_both_sides() -> None:
    assert problem_of(format_request()) == ""
    for request in (b"", b"GET / HTTP/1.0", b"[1]", b'{"version": 1, "ask": "unmount"}'):
        assert problem_of(request)
    with pytest.raises(BadAnswerError, match="speaks version 1"):
        parse_answer(format_error(problem_of(b'{"version": 9, "ask": "status"}')))


def test_mounts_as_the_kernel_lists_them(tmp_path) -> None:
    text = (
        b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        b"60 22 0:53 / /mnt/a\\040b ro,nosuid - fuse.swiftimgfs env:\\134x ro,user_id=1000,"
        b"group_id=1000\n"
        b"61 22 0:54 / /mnt/other rw - fuse.sshfs host: rw,user_id=0\n"
    )

    assert list(parse_mounts(text)) == [
        MountEntry("0:53", Path("/mnt/a b"), "env:\\x", 1000, is_read_only=True)
    ]
    (tmp_path / "link").symlink_to(tmp_path)
    assert resolved(tmp_path / "link" / "mnt") == tmp_path / "mnt"
