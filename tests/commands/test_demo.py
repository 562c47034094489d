"""The demonstration from start to end, and the log of a mount."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swiftimgfs.cli import main
from swiftimgfs.commands.logs import OneLineFormatter
from swiftimgfs.demo.swift_process import EmbeddedSwift, EmbeddedSwiftError

ROOT = Path(__file__).parents[2]


@pytest.mark.mount
def test_the_demonstration_mounts_images_and_leaves_nothing(tmp_path: Path) -> None:
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    # Started with SIGINT ignored, as a script's `&` does it.
    program = f"trap '' INT; exec {sys.executable} -m swiftimgfs demo {mountpoint}"
    with subprocess.Popen(
        ["sh", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        pasted = [
            line.replace(" /tmp/ ", f" {tmp_path}/ ").replace("/tmp/disk", f"{tmp_path}/disk")
            for line in lines
            if (str(mountpoint) in line or line.startswith("swiftimgfs")) and "try" not in line
        ]
        (environment,) = [line for line in lines if line.startswith(". ")]
        pasted += [
            f"swiftimgfs check {source} | grep '^may write *yes'"
            for source in ("mycloud:images", "env:images")
        ]
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = [
            subprocess.run(
                f"{environment}; {line}",
                shell=True,
                env=bare,
                check=False,
                capture_output=True,
                text=True,
            )
            for line in pasted
        ]
        process.send_signal(signal.SIGINT)
        status = process.wait(60)

    assert len(pasted) >= 11
    assert [one for one in done if one.returncode] == []
    assert status == 0
    assert not os.path.ismount(mountpoint)
    assert os.listdir(mountpoint) == []


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_script_is_explained_without_installing_anything(tmp_path: Path, flag: str) -> None:
    contrib = tmp_path / "contrib"
    contrib.mkdir()
    shutil.copy(ROOT / "contrib" / "demo", contrib)
    (contrib / "setup.sh").write_text("#!/bin/sh\necho installing; exit 3\n")
    (contrib / "setup.sh").chmod(0o755)

    done = subprocess.run(
        [contrib / "demo", flag], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: contrib/demo [DIR]\n")
    assert "installing" not in done.stdout
    # Anything else is not for this script to answer.
    assert subprocess.run([contrib / "demo", "mnt"], check=False, timeout=60).returncode == 3


def test_a_swift_that_does_not_start_in_time_leaves_its_log_and_says_where(
    tmp_path: Path,
) -> None:
    """Started as people do, but for a patience that no Swift is quick enough for."""
    program = (
        "from swiftimgfs.demo.swift_process import EmbeddedSwift;"
        "from swiftimgfs.cli import main;"
        "EmbeddedSwift.__init__.__kwdefaults__['start_timeout'] = 0.001;"
        f"raise SystemExit(main(['demo', {str(tmp_path / 'mnt')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    log = re.fullmatch(r"swiftimgfs: no Swift after 0.001 s; its log, (\S+), .*\n", done.stderr)
    assert log is not None, done.stderr
    kept = Path(log[1]).parents[1]
    assert kept.is_dir()
    assert kept.is_relative_to(tmp_path)


def test_without_a_swift_it_says_what_to_install_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the tests' own stay

    assert main(["demo", str(tmp_path / "mnt")]) == 1

    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert "pip install 'swiftimgfs[demo]'" in said.err
    assert not (tmp_path / "mnt").exists()


def test_the_last_line_of_its_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "swift.log").write_text("first words\nlast words\n")

    with pytest.raises(EmbeddedSwiftError, match=r"swift\.log, ends: last words$"):
        EmbeddedSwift(tmp_path, start_timeout=0.001)


def test_a_name_with_a_line_break_is_one_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "image=%s", ("a\nb\x1b[0m",), None)

    assert OneLineFormatter("%(message)s").format(record) == r"image=a\nb\x1b[0m"
