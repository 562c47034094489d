"""Tools keep attributes, mode, owner and times of what they copy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.attributes import LARGE, META, attributes_of, settle
from tests.support.mounts import mounted, run, run_all

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    for image, size in ((tree / "small", 1000), (tree / "sub" / "large", 300_000)):
        image.write_bytes(LARGE[:size])
        os.setxattr(image, "user.text", "größe".encode())
        os.setxattr(image, "user.Bin_1", bytes(range(256)))
        image.chmod(0o640)
        os.utime(image, ns=(0, 1_600_000_000_123_456_789))
    os.setxattr(tree / "sub", "user.dir", b"d")
    (tree / "sub").chmod(0o750)
    os.utime(tree / "sub", ns=(0, 1_500_000_000_000_000_000))
    return tree


def state_of(path: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for item in sorted(path.rglob("*")):
        stat = item.stat()
        facts = (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns, attributes_of(item))
        found[str(item.relative_to(path))] = facts
    return found


COPIES = {
    "cp": ["cp", "-a", "{0}/.", "{1}"],
    "rsync": ["rsync", "-aX", "{0}/", "{1}/"],
    "tar": ["sh", "-c", "tar --xattrs -C {0} -cf - . | tar --xattrs -C {1} -xf -"],
}


@pytest.mark.parametrize("tool", COPIES)
def test_a_round_trip_keeps_attributes_mode_owner_and_times(
    swift: FaultySwift, directory: Path, tree: Path, tmp_path: Path, tool: str
) -> None:
    there, back = directory / "there", tmp_path / "back"
    there.mkdir()
    back.mkdir()

    def copy(source: Path, target: Path) -> None:
        command = [part.format(source, target) for part in COPIES[tool]]
        assert run_all(*command) == ""

    copy(tree, there)
    assert state_of(there) == state_of(tree)
    for item in there.rglob("*"):
        settle(item)
    with mounted(tmp_path, swift.swift.environ()) as other:  # from Swift, not from memory
        seen = other.path / directory.name / "there"
        copy(seen, back)

    # A listing does not tell what a directory keeps: only who asks for that one gets it.
    assert files_of(back) == files_of(tree)
    assert os.getxattr(back / "sub", "user.dir") == b"d"


def files_of(path: Path) -> dict[str, object]:
    return {name: state for name, state in state_of(path).items() if (path / name).is_file()}


def test_rsync_run_twice_has_nothing_to_do(
    swift: FaultySwift, directory: Path, tree: Path
) -> None:
    run("rsync", "-aX", f"{tree}/", f"{directory}/")
    settle(directory / "small")
    settle(directory / "sub" / "large")
    settle(directory / "sub")
    settle(directory)
    swift.control.clear()

    out = run("rsync", "-aXi", "--delete", f"{tree}/", f"{directory}/")

    assert out == ""
    assert {r.method for r in swift.control.journal()} <= {"GET", "HEAD"}


def test_touch_chmod_and_chown_are_kept(
    directory: Path, container: str, client: swiftclient.Connection
) -> None:
    image = directory / "image"
    client.put_object(container, "image", b"x", content_type="a/b", headers={f"{META}F": "1"})
    os.setxattr(image, "user.k", b"v")
    run("touch", "-d", "2020-01-02 03:04:05.123456789 UTC", image)
    run("chmod", "0604", image)
    run("chown", "12:34", image)
    settle(image)

    headers = client.head_object(container, "image")
    stat = image.stat()
    assert stat.st_mtime_ns == 1_577_934_245_123_456_789
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o604, 12, 34)
    assert headers[f"{META}mtime"] == "1577934245.123456789"
    assert (headers[f"{META}f"], headers["content-type"]) == ("1", "a/b")
    assert set(os.listxattr(image)) == {
        "user.k",
        "user.swift.meta.f",
        "user.swift.content_type",
    }
