"""Images in a mount of their own, and `swiftimgfs verify` of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swiftimgfs import cli
from tests.support.mounts import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.verified_images import Runner, Told, Verify


@pytest.fixture
def directory(swift: FaultySwift, container: str, tmp_path: Path) -> Iterator[Path]:
    """Return a container in a mount of its own: what one test read is in no other's cache.

    It does not verify by itself: what it gave would be an error, and not wrong.
    """
    options = "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10"
    (tmp_path / "own").mkdir()
    with mounted(tmp_path / "own", swift.swift.environ(), f"{options},verify=off") as running:
        yield running.path / container


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Runner:
    """Return what runs the verb, and returns exit status, output and complaints."""

    def run(*arguments: object) -> Told:
        try:
            status = cli.main(["verify", *map(str, arguments)])
        except SystemExit as exc:
            status = int(str(exc.code))
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def verify(command: Runner) -> Verify:
    """Return what verifies, and returns the lines about images, without the summary."""

    def run(*arguments: object, status: int = 0) -> list[str]:
        got, told, complaint = command(*arguments)
        assert (got, complaint) == (status, ""), told
        *lines, summary = told.splitlines()
        assert summary.startswith(f"{len(lines)} image")
        return lines

    return run
