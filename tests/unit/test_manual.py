"""Man pages, docs/commands.md and completions are what `--help` says, and up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from swiftimgfs import cli, manual
from tests.support.completion import FILES, completions

ROOT = Path(__file__).parents[2]
MAN = ROOT / "contrib" / "man"
STALE = "run contrib/generate"


def test_man_pages_are_up_to_date():
    pages = {path.name: path.read_text(encoding="utf-8") for path in MAN.glob("man?/*")}

    assert pages == manual.man_pages(), STALE


def test_the_page_of_commands_is_up_to_date():
    page = ROOT / "docs" / "commands.md"

    assert page.read_text(encoding="utf-8") == manual.commands_page(), STALE


def test_completions_are_up_to_date():
    for shell, text in completions().items():
        path = ROOT / "contrib" / "completion" / FILES[shell]
        assert path.read_text(encoding="utf-8") == text, STALE


@pytest.mark.parametrize("verb", cli.VERBS)
def test_each_verb_has_an_example_and_its_exit_statuses(verb):
    help_text = manual.verbs()[verb].format_help()

    assert f"\n  swiftimgfs {verb}" in help_text
    assert "Exit status: 0" in help_text


def test_groff_has_no_complaint_and_shows_what_help_says():
    assert shutil.which("man"), "the package man-db"
    for path in sorted(MAN.glob("man?/*")):
        done = subprocess.run(
            ["man", "--warnings", "-l", str(path)],
            env={**os.environ, "MANWIDTH": "120", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        assert path.stem in done.stdout
    assert "mycloud:glance  /mnt/images  swiftimgfs  _netdev" in _shown("mount.swiftimgfs.8")
    assert "(a blank in SOURCE is written \\040)" in _shown("mount.swiftimgfs.8")


def _shown(name: str) -> str:
    done = subprocess.run(
        ["man", "-l", str(MAN / f"man{name[-1]}" / name)],
        env={**os.environ, "MANWIDTH": "120"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_bash_completes_verbs_and_flags():
    script = ROOT / "contrib" / "completion" / "swiftimgfs"
    ask = f"""
        source {script}
        complete_words() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
            COMPREPLY=(); _shtab_swiftimgfs; printf '%s\\n' "${{COMPREPLY[@]}}"
        }}
        complete_words swiftimgfs umo
        complete_words swiftimgfs mount --fore
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == ["umount", "--foreground"]
