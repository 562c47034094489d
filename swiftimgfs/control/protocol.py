"""The words of the control socket: one line of JSON asks, one line answers. Pure.

    {"version": 1, "ask": "status"}
    {"version": 1, "status": {…}}          or {"version": 1, "error": "…"}

Whoever asks only looks: nothing can be changed by it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from swiftimgfs.control.report import (
    VERSION,
    BadAnswerError,
    format_report,
    parse_json,
    parse_report,
)

if TYPE_CHECKING:
    from swiftimgfs.control.report import Report

STATUS: Final = "status"
LONGEST_REQUEST: Final = 4096
LONGEST_ANSWER: Final = 16 * 1024 * 1024


def format_request() -> bytes:
    """Return what asks for a report."""
    return _line({"ask": STATUS})


def problem_of(request: bytes) -> str:
    """Return what is wrong with a request; empty when it asks for a report."""
    try:
        asked = parse_json(request)
    except BadAnswerError:
        return "a request is one line of JSON"
    if not isinstance(asked, dict) or asked.get("version") != VERSION:
        return f"this mount speaks version {VERSION}"
    return "" if asked.get("ask") == STATUS else f"only {STATUS!r} can be asked"


def format_answer(report: Report) -> bytes:
    """Return a report as an answer."""
    return _line({STATUS: format_report(report)})


def format_error(problem: str) -> bytes:
    """Return what answers a request that makes no sense."""
    return _line({"error": problem})


def parse_answer(text: bytes) -> Report:
    """Return the report that a mount answered with.

    Raises:
        BadAnswerError: It is none, or of another version.
    """
    answer = parse_json(text)
    if not isinstance(answer, dict) or answer.get("version") != VERSION:
        raise BadAnswerError("of another version")
    if "error" in answer:
        raise BadAnswerError(str(answer["error"]))
    return parse_report(answer.get(STATUS))


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps({"version": VERSION, **fields}).encode() + b"\n"
