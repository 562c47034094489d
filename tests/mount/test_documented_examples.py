"""Every example of docs/semantics.md is run as it stands there, and says what it says there.

A block that is marked `console` has commands after `$ `, and below each what it prints: all
of it, where an ellipsis stands for anything. The whole document is one session, in order:
/mnt/images is a mount of the account, and the working directory has an image, ubuntu.raw.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.child import finished
from tests.support.embedded_swift import faulty_swift
from tests.support.mounts import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mount

PAGE = Path(__file__).parents[2] / "docs" / "semantics.md"
PLACE = "/mnt/images"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANYTHING = "…"


def examples(text: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a page with what each prints."""
    for _, block in BLOCK.findall(text):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            yield command, output


def test_the_page_has_no_example_that_is_not_run() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert {language for language, _ in BLOCK.findall(text)} == {"console"}
    assert all(block.startswith("$ ") for _, block in BLOCK.findall(text))
    assert len(list(examples(text))) >= 20


def test_the_examples_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "ubuntu.raw").write_bytes(os.urandom(100_000))
    os.utime(tmp_path / "work", (0, 0))  # not of the second in which a container is made
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": programs, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with (
        faulty_swift(tmp_path / "swift") as swift,
        mounted(tmp_path, swift.swift.environ()) as mount,
    ):
        for command, expected in examples(PAGE.read_text(encoding="utf-8")):
            done = finished(
                ["bash", "-c", command.replace(PLACE, str(mount.path))],
                {**environ, "XDG_STATE_HOME": str(tmp_path / "state")},
                seconds=120,
                directory=tmp_path / "work",
            )
            printed = done.stdout.replace(str(mount.path), PLACE)
            pattern = re.escape(expected).replace(re.escape(ANYTHING), ".*")
            assert re.fullmatch(pattern, printed), f"$ {command}\n{printed}"
