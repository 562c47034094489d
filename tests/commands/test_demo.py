"""The demonstration from start to end, and the log of a mount."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.commands.logs import OneLineFormatter

if TYPE_CHECKING:
    from pathlib import Path


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
            if str(mountpoint) in line and "try" not in line
        ]
        statuses = [
            subprocess.run(line, shell=True, check=False, stdout=subprocess.DEVNULL).returncode
            for line in pasted
        ]
        process.send_signal(signal.SIGINT)
        status = process.wait(60)

    assert len(pasted) >= 5
    assert statuses == [0] * len(pasted)
    assert status == 0
    assert not os.path.ismount(mountpoint)
    assert os.listdir(mountpoint) == []


def test_a_name_with_a_line_break_is_one_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "image=%s", ("a\nb\x1b[0m",), None)

    assert OneLineFormatter("%(message)s").format(record) == r"image=a\nb\x1b[0m"
