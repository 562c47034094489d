"""What other hosts did is seen at once where somebody asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from swiftimgfs import cli
from tests.support.mounts import mounted, run
from tests.support.two_hosts import LARGE, SMALL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


def changed_elsewhere(here: Path, believing: Path) -> None:
    """Have one host know what is in a directory, and another change all of it."""
    (here / "d").mkdir()
    for name in ("gone", "changed", "d/deep"):
        (here / name).write_bytes(SMALL)
    for name in ("gone", "changed", "d/deep"):
        assert (believing / name).read_bytes() == SMALL
    assert sorted(os.listdir(believing)) == ["changed", "d", "gone"]
    (here / "gone").unlink()
    (here / "changed").write_bytes(LARGE)
    (here / "d" / "deep").write_bytes(LARGE)
    (here / "new").write_bytes(LARGE)


def looks_like_before(believing: Path) -> bool:
    return (
        sorted(os.listdir(believing)) == ["changed", "d", "gone"]
        and (believing / "changed").stat().st_size == len(SMALL)
        and (believing / "d" / "deep").stat().st_size == len(SMALL)
    )


def is_seen(believing: Path) -> bool:
    return (
        sorted(os.listdir(believing)) == ["changed", "d", "new"]
        and not (believing / "gone").exists()
        and (believing / "changed").stat().st_size == len(LARGE)
        and (believing / "changed").read_bytes() == LARGE
        and (believing / "d" / "deep").stat().st_size == len(LARGE)
        and (believing / "new").read_bytes() == LARGE
    )


def test_a_directory_is_refreshed_by_its_attribute(here: Path, believing: Path) -> None:
    changed_elsewhere(here, believing)
    assert looks_like_before(believing)

    run("setfattr", "-n", "user.swift.refresh", "-v", "1", believing)

    assert is_seen(believing)


def test_a_directory_is_refreshed_by_the_command(here: Path, believing: Path) -> None:
    changed_elsewhere(here, believing)
    assert looks_like_before(believing)

    assert cli.main(["refresh", str(believing)]) == 0

    assert is_seen(believing)


def test_an_image_is_refreshed_alone(here: Path, believing: Path) -> None:
    changed_elsewhere(here, believing)

    assert cli.main(["refresh", str(believing / "changed")]) == 0

    assert (believing / "changed").stat().st_size == len(LARGE)
    assert (believing / "d" / "deep").stat().st_size == len(SMALL)


def test_what_is_gone_or_new_is_refreshed_by_its_name(
    here: Path, believing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed_elsewhere(here, believing)

    statuses = [cli.main(["refresh", str(believing / name)]) for name in ("gone", "new")]

    assert statuses == [1, 0]
    assert f"{believing}/gone: No such file or directory" in capsys.readouterr().err
    assert not (believing / "gone").exists()
    assert (believing / "new").stat().st_size == len(LARGE)


def test_what_this_host_made_and_another_removed_is_gone_after_a_refresh(
    here: Path, believing: Path
) -> None:
    (believing / "mine").write_bytes(SMALL)
    (believing / "dir").mkdir()
    (here / "mine").unlink()
    (here / "dir").rmdir()
    assert os.listdir(believing) == ["dir"]

    assert cli.main(["refresh", str(believing)]) == 0

    assert os.listdir(believing) == []
    assert not (believing / "dir").exists()


def test_where_somebody_stands_stays_where_it_is(here: Path, believing: Path) -> None:
    """Dropping a directory's entry would leave a shell in it without a working directory."""
    (here / "d").mkdir()
    (here / "d" / "image").write_bytes(SMALL)
    script = 'cd "$1/d" && setfattr -n user.swift.refresh -v 1 "$1" && pwd -P && ls'

    printed = run("sh", "-c", script, "sh", believing).split()

    assert printed == [str(believing / "d"), "image"]


def test_a_read_only_mount_is_refreshed_too(
    here: Path, swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    (here / "image").write_bytes(SMALL)
    options = "ro,attr_timeout=600,list_timeout=600"
    with mounted(tmp_path, swift.swift.environ(), options) as read_only:
        image = read_only.path / container / "image"
        assert image.read_bytes() == SMALL
        (here / "image").write_bytes(LARGE)

        assert cli.main(["refresh", str(image)]) == 0

        assert image.read_bytes() == LARGE


def test_a_path_elsewhere_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["refresh", str(tmp_path)]) == 2

    assert (
        capsys.readouterr().err == f"swiftimgfs: {tmp_path} is not in a mount of swiftimgfs\n"
    )
    assert os.listxattr(tmp_path) == []
