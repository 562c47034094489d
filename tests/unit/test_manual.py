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


def completed(line: str, *, within: Path = ROOT, **variables: str) -> list[str]:
    """Return what bash offers at the end of a line, where = and : end its words."""
    script = ROOT / "contrib" / "completion" / "swiftimgfs"
    ask = r"""
        source "$1"
        COMP_LINE="$2" COMP_POINT=${#2}
        read -r -a COMP_WORDS <<<"${COMP_LINE//[=:]/ & }"
        [[ $COMP_LINE != *[[:space:]] ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _swiftimgfs
        (( ! ${#COMPREPLY[@]} )) || printf '%s\n' "${COMPREPLY[@]}"
        complete -p swiftimgfs >&2
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", ask, "bash", script, line],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables},
        cwd=within,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == "complete -o bashdefault -F _swiftimgfs swiftimgfs\n"
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("swiftimgfs umo", ["umount"]),
        ("swiftimgfs mount --fore", ["--foreground"]),
        ("swiftimgfs mount -o conn", ["connections="]),
        ("swiftimgfs mount x /mnt -o ro,allow_o", ["ro,allow_other"]),
        ("swiftimgfs mount x /mnt -o layout=i", ["images"]),
        ("swiftimgfs mount x /mnt -o layout=raw,large_object=g", ["glance"]),
        ("swiftimgfs mount x /mnt -o verify=", ["true", "false"]),
        ("swiftimgfs check -o cache_dir=contrib/deb", ["contrib/debian/"]),
        ("swiftimgfs mount -o ro env: contrib/deb", ["contrib/debian"]),
        ("swiftimgfs gc glance:contrib/gen", ["contrib/generate"]),
        ("swiftimgfs check e", ["env:"]),
        ("swiftimgfs mount -o key", []),
    ],
)
def test_bash_completes_verbs_flags_and_options(line, offered):
    assert completed(line) == offered


def test_bash_completes_clouds(tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text(
        "# clouds:\n#   no: x\ncache:\n  none: 1\nclouds:\n\n  my.cloud: {auth: {}}\n"
        "  'other':\n    region_name: x\n    auth:\n      auth_url: x\nclient:\n  force: x\n"
    )

    for within, variables in ((tmp_path, {}), (ROOT, {"OS_CLIENT_CONFIG_FILE": str(file)})):
        offered = completed("swiftimgfs mount ", within=within, **variables)
        assert offered == ["env:", "glance:", "swift+https://", "@", "my.cloud", "other"]
        assert completed("swiftimgfs check my", within=within, **variables) == ["my.cloud"]
