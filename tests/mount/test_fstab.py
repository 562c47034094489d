"""`mount`, of util-linux, with lines of an fstab: it runs mount.swiftimgfs."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.mount_helper import main, own_options
from tests.support.namespaces import Namespace, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

HELPER = Path(sys.executable).with_name("mount.swiftimgfs")
CONTENT = b"#!/bin/sh\necho ran\n"


@pytest.fixture(scope="module")
def host(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """A host with our two helpers installed, and an account with some odd names in it."""
    programs = tmp_path_factory.mktemp("sbin")
    for name in ("mount.swiftimgfs", "mount.fuse.swiftimgfs"):
        (programs / name).symlink_to(HELPER)
    with contextlib.closing(swift.connect()) as client:
        for container in ("fstab", "with blank", "with#hash:colon"):
            client.put_container(container)
            client.put_object(container, "below/image", CONTENT)
    state = {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    with namespace(programs, {**swift.swift.environ(), **state}) as running:
        yield running


class Fstab:
    """A file in fstab's format, and a directory to mount at."""

    def __init__(self, host: Namespace, directory: Path) -> None:
        self.host = host
        self.mountpoint = directory / "a mount point"
        self.mountpoint.mkdir()
        self._file = directory / "fstab"

    def write(self, source: str, options: str, kind: str = "swiftimgfs") -> None:
        place = str(self.mountpoint).replace(" ", "\\040")
        self._file.write_text(f"{source} {place} {kind} {options} 0 0\n")

    def mount(self, *flags: str, status: int = 0) -> str:
        return self.host.run("mount", *flags, "-T", self._file, self.mountpoint, status=status)

    def is_mounted(self) -> bool:
        mounts = self.host.run("cat", "/proc/self/mountinfo").replace("\\040", " ")
        return f" {self.mountpoint} " in mounts

    def options(self) -> list[str]:
        mounts = self.host.run("findmnt", "-n", "-o", "OPTIONS", self.mountpoint)
        return mounts.strip().split(",")


@pytest.fixture
def fstab(host: Namespace, tmp_path: Path) -> Iterator[Fstab]:
    made = Fstab(host, tmp_path)
    yield made
    while made.is_mounted():
        host.run("umount", "-l", made.mountpoint)


EVERYTHING = (
    "_netdev,ro,allow_other,noauto,nofail,x-systemd.automount,x-systemd.mount-timeout=2min,"
    "users,defaults,noatime,relatime,comment=ours,default_permissions,nosuid,nodev,"
    "attr_timeout=5,connections=4,log_file=/dev/null"
)


@pytest.mark.parametrize("kind", ["swiftimgfs", "fuse.swiftimgfs"])
def test_a_line_of_an_fstab_is_mounted_and_serves_when_mount_returns(fstab, kind):
    fstab.write("env:fstab", EVERYTHING, kind)

    fstab.mount()

    assert fstab.host.run("cat", fstab.mountpoint / "below" / "image") == CONTENT.decode()
    assert {"ro", "nosuid", "nodev", "allow_other"} <= set(fstab.options())
    assert "default_permissions" in fstab.options()
    assert "Read-only" in fstab.host.run("touch", fstab.mountpoint / "new", status=1)
    fstab.host.run("umount", fstab.mountpoint)
    assert not fstab.is_mounted()


@pytest.mark.parametrize(
    "source", ["env:with\\040blank", "env:with#hash:colon", "env:fstab/below"]
)
def test_sources_with_blanks_hashes_colons_and_prefixes(fstab, source):
    fstab.write(source, "ro,log_file=/dev/null")

    fstab.mount()

    names = fstab.host.run("ls", fstab.mountpoint).split()
    assert names == (["image"] if "/" in source else ["below"])


def test_rw_is_writable_and_noexec_lets_nothing_run(fstab):
    fstab.write("env:fstab", "rw,noexec,umask=000,log_file=/dev/null")
    script = fstab.mountpoint / "script"

    fstab.mount()

    assert {"rw", "noexec"} <= set(fstab.options())
    fstab.host.run("cp", fstab.mountpoint / "below" / "image", script)
    fstab.host.run("chmod", "755", script)
    assert "ermission denied" in fstab.host.run("nsenter", script, status=126)
    fstab.host.run("rm", script)


def test_programs_run_without_noexec(fstab):
    fstab.write("env:fstab", "rw,umask=000,log_file=/dev/null")
    script = fstab.mountpoint / "runs"

    fstab.mount()

    fstab.host.run("cp", fstab.mountpoint / "below" / "image", script)
    fstab.host.run("chmod", "755", script)
    assert fstab.host.run(script) == "ran\n"
    fstab.host.run("rm", script)


def test_flags_on_the_command_line_of_mount(fstab):
    fstab.write("env:fstab", "log_file=/dev/null")

    assert "mounting env:fstab" in fstab.mount("-r", "-v", "-n")

    assert "ro" in fstab.options()


def test_fake_mounts_nothing_but_finds_mistakes(fstab):
    fstab.write("env:fstab", "ro")
    assert "would mount env:fstab" in fstab.mount("-f", "-v")
    assert not fstab.is_mounted()

    fstab.write("env:fstab", "connections=none")
    assert "connections" in fstab.mount("-f", status=1)


def test_sloppy_skips_what_nobody_knows_and_still_reads_what_we_know(fstab):
    fstab.write("env:fstab", "no_such_option=1,log_file=/dev/null")
    assert "unknown option 'no_such_option'" in fstab.mount(status=1)
    fstab.mount("-s")
    assert fstab.is_mounted()

    assert list(own_options(["no_such", "connections=none"], is_sloppy=True)) == [
        "connections=none"
    ]


@pytest.mark.parametrize(
    ("options", "status", "word"),
    [
        ("sync", 1, "close()"),
        ("nonempty", 1, "hidden"),
        ("auto_unmount", 1, "dead"),
        ("key=secret", 1, "everybody on this host"),
        ("segment_size=huge", 1, "segment_size"),
    ],
)
def test_refused_options_are_a_line_and_exit_status_1(fstab, options, status, word):
    fstab.write("env:fstab", options)

    said = fstab.mount(status=status)

    assert len(said.strip().splitlines()) == 1
    assert word in said
    assert not fstab.is_mounted()


def test_what_swift_says_no_to_is_exit_status_32(fstab):
    fstab.write("env:no-such-container", "ro,log_file=/dev/null")

    said = fstab.mount(status=32)

    assert "there is no container 'no-such-container'" in said
    assert not fstab.is_mounted()


def test_a_mounted_line_cannot_be_remounted(fstab):
    fstab.write("env:fstab", "rw,log_file=/dev/null")
    fstab.mount()

    assert "unmount it and mount it again" in fstab.mount("-o", "remount,ro", status=1)

    assert "rw" in fstab.options()


@pytest.mark.parametrize("arguments", [[], ["env:"], ["env:", "/mnt", "--no-such-flag"]])
def test_a_wrong_call_is_exit_status_1(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 1
    assert "mount.swiftimgfs: " in capsys.readouterr().err


def test_help_has_a_line_for_fstab(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    assert "swiftimgfs  _netdev,ro,allow_other" in capsys.readouterr().out


def test_no_word_is_both_taken_and_an_option_of_ours():
    """A word of mount(8) that we act upon must not be forgotten by the helper."""
    ours = ["ro", "noexec", "allow_other"]

    assert list(own_options(ours)) == ours
    assert os.access(HELPER, os.X_OK)
