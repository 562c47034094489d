"""The kernel's read-ahead of one mount: found by its device, raised and never lowered."""

from __future__ import annotations

from pathlib import Path

import pytest

from swiftimgfs.fuse import read_ahead
from swiftimgfs.fuse.read_ahead import device_of, raise_read_ahead

BELOW = "30 1 0:99 / /mnt rw - fuse.swiftimgfs env: rw"


def mount(device: str, place: str) -> str:
    """Return a line of /proc/self/mountinfo, with an optional field as most have."""
    return f"36 35 {device} / {place} rw,noatime shared:1 - fuse.swiftimgfs cloud: rw"


@pytest.mark.parametrize(
    ("mounts", "device"),
    [
        ([], None),
        ([BELOW], None),
        ([BELOW, mount("0:41", "/mnt/images")], "0:41"),
        ([mount("0:41", "/mnt/images/glance")], None),
        ([mount("0:41", "/mnt/images2")], None),
        ([mount("0:41", "/images")], None),
        ([mount("0:41", "/mnt/images"), BELOW], "0:41"),
    ],
    ids=["no mounts", "below it", "it", "in it", "longer name", "end of it", "another later"],
)
def test_only_a_mount_at_just_this_place_is_found(mounts, device):
    assert device_of(Path("/mnt/images"), mounts) == device


def test_the_last_of_several_mounts_at_one_place_is_the_one_to_be_seen():
    mounts = [mount("0:41", "/mnt"), mount("0:43", "/mnt"), mount("0:42", "/other")]

    assert device_of(Path("/mnt"), mounts) == "0:43"


@pytest.mark.parametrize(
    ("place", "escaped"),
    [
        ("/mnt/a b", r"/mnt/a\040b"),
        ("/mnt/a\tb\nc", r"/mnt/a\011b\012c"),
        (r"/mnt/a\040b", r"/mnt/a\134040b"),
        ("/mnt/Bücher", "/mnt/Bücher"),
    ],
)
def test_what_is_escaped_in_octal_is_the_character(place, escaped):
    assert device_of(Path(place), [mount("0:41", escaped)]) == "0:41"


@pytest.fixture
def setting(tmp_path, monkeypatch):
    """Return the file of the read-ahead of what is mounted at /mnt."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"{mount('0:41', '/mnt')}\n{mount('0:42', '/other')}\n")
    for device in ("0:41", "0:42"):
        (tmp_path / device).mkdir()
        (tmp_path / device / "read_ahead_kb").write_text("128\n")
    monkeypatch.setattr(read_ahead, "MOUNTS", mounts)
    monkeypatch.setattr(read_ahead, "DEVICES", tmp_path)
    return tmp_path / "0:41" / "read_ahead_kb"


@pytest.mark.parametrize(
    ("before", "after"), [(0, 1024), (128, 1024), (1024, 1024), (4096, 4096)]
)
def test_it_is_raised_and_never_lowered(setting, before, after):
    setting.write_text(f"{before}\n")

    raise_read_ahead(Path("/mnt"))

    assert int(setting.read_text()) == after
    assert (setting.parents[1] / "0:42" / "read_ahead_kb").read_text() == "128\n"


@pytest.mark.parametrize("harm", ["no setting", "no number", "no mountinfo", "not mounted"])
def test_where_it_cannot_be_raised_nothing_happens(setting, monkeypatch, harm):
    place = Path("/nowhere" if harm == "not mounted" else "/mnt")
    if harm == "no setting":
        setting.unlink()
    if harm == "no number":
        setting.write_text("many\n")
    if harm == "no mountinfo":
        monkeypatch.setattr(read_ahead, "MOUNTS", setting.parent / "missing")

    raise_read_ahead(place)

    assert not setting.exists() or setting.read_text() in {"128\n", "many\n"}
