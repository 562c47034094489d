"""What every verb says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from swiftimgfs.cli import VERBS, main
from swiftimgfs.control.metrics import Measured, metrics_of
from tests.support.commands import said_by
from tests.support.reports import REPORT

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_and_the_exit_status(verb: str, capsys) -> None:
    with pytest.raises(SystemExit) as done:
        main([verb, "--help"])

    shown = capsys.readouterr().out
    assert done.value.code == 0
    assert re.search(rf"examples?:\s+swiftimgfs {verb}\b", shown)
    assert "Exit status:" in shown


def test_the_page_names_each_metric() -> None:
    page = PAGE.read_text()
    rows = re.sub(r"(\w+)\{([a-z,]+)\}(\w*)", _spelled_out, page)
    rows = re.sub(r"`(swiftimgfs_\w+)_bytes`, `…_limit_bytes`", r"\g<0> \1_limit_bytes", rows)

    for metric in metrics_of(Measured(REPORT, 0)):
        name = metric.name + "_total" if metric.type == "counter" else metric.name
        assert re.search(rf"\b{name}\b", rows), name


def _spelled_out(match: re.Match[str]) -> str:
    return " ".join(f"{match[1]}{part}{match[3]}" for part in match[2].split(","))


@pytest.mark.mount
def test_json_of_check_and_verify(swift, mount, container) -> None:
    environ, directory = swift.swift.environ(), mount.path / container
    name = "[bold]:bug:x\x1b[31m"
    (directory / name).write_bytes(b"x" * 1000)

    checked = json.loads(said_by("check", f"env:{container}", "--json", environ=environ))
    verified = json.loads(said_by("verify", "--json", directory, environ=environ))

    assert checked["can_be_mounted"]
    assert checked["permissions"]["write"]
    assert checked["container"] == container
    assert verified["verdict"] == "OK"
    assert verified["path"] == str(directory / name)
