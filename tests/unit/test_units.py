"""The files of contrib/systemd are what systemd, udev and a cautious administrator accept."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "contrib" / "systemd"
SERVICE = SYSTEMD / "swiftimgfs@.service"
PROGRAM = "/usr/bin/swiftimgfs"
# Of 10, where 0 is a unit that can do nothing; mounting alone (CAP_SYS_ADMIN, the host's
# mount namespace) takes more than half of it.
MOST_EXPOSED = 4.5
# Each makes a private mount namespace, which the mount would not come out of.
NAMESPACED = (
    "PrivateTmp|PrivateDevices|PrivateMounts|ProtectSystem|ProtectHome|ProtectProc|ProcSubset"
    "|ProtectControlGroups|ProtectKernel\\w+|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths"
    "|ExecPaths|NoExecPaths|TemporaryFileSystem|Bind\\w*Paths|Root\\w+|DynamicUser|MountFlags"
    "|PrivateIPC|LogNamespace|MountAPIVFS"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with the program that there is here."""
    program = Path(sys.executable).with_name("swiftimgfs")
    for path in (SERVICE, *(SYSTEMD / "examples").iterdir()):
        text = path.read_text(encoding="utf-8").replace(PROGRAM, str(program))
        (tmp_path / path.name.replace("@", "@images")).write_text(text)
    return tmp_path


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_systemd_has_no_complaint_about_the_units(units: Path) -> None:
    done = analyze("verify", "--man=no", *sorted(units.iterdir()))

    said = [line for line in done.stderr.splitlines() if str(units) in line or "swift" in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_systemd_would_complain_about_a_mistake(units: Path) -> None:
    service = units / "swiftimgfs@images.service"
    text = service.read_text().replace("WatchdogSec=2min", "WatchdogSec=often")
    service.write_text(text)
    line = text[: text.index("WatchdogSec=")].count("\n") + 1

    assert f":{line}: Failed to parse" in analyze("verify", "--man=no", service).stderr


def test_the_service_is_not_more_exposed_than_mounting_takes(units: Path) -> None:
    done = analyze(
        "security",
        "--offline=yes",
        f"--threshold={MOST_EXPOSED * 10:.0f}",
        "--json=short",
        units / "swiftimgfs@images.service",
    )

    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) > 50


def test_nothing_in_the_service_hides_its_mount() -> None:
    assert not re.search(rf"^({NAMESPACED})=", SERVICE.read_text(), re.MULTILINE)


def test_tmpfiles_makes_directories_of_which_only_the_settings_are_for_others(
    tmp_path: Path,
) -> None:
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}"]
    shutil.copy(SYSTEMD / "swiftimgfs.tmpfiles.conf", tmp_path / "swiftimgfs.conf")
    subprocess.run([*command, tmp_path / "swiftimgfs.conf"], check=True, timeout=60)

    for name, mode in {"etc": 0o755, "var/lib": 0o700, "var/cache": 0o700}.items():
        assert (tmp_path / name / "swiftimgfs").stat().st_mode & 0o777 == mode


def test_the_example_of_a_service_has_all_that_the_unit_asks_for() -> None:
    example = (ROOT / "contrib" / "etc" / "images.env.example").read_text()
    asked = set(re.findall(r"\$\{(\w+)\}", SERVICE.read_text()))

    assert asked == {"SOURCE", "MOUNTPOINT", "OPTIONS"}
    assert asked == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_units_are_named_for_the_directory_that_they_mount() -> None:
    escaped = subprocess.run(
        ["systemd-escape", "-p", "/mnt/images"], capture_output=True, text=True, check=True
    ).stdout.strip()

    for path in (SYSTEMD / "examples").iterdir():
        assert path.stem == escaped
        assert "\nWhere=/mnt/images\n" in path.read_text()
