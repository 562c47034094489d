"""Images that cannot be read, or are replaced while they are."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import PROGRAM
from tests.support.fault_control import Fault
from tests.support.verified_images import (
    PARTS,
    SEGMENT,
    WHOLE,
    Verify,
    put_image,
    wait_for_request,
)

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


def test_a_missing_image_fails_and_the_others_are_verified(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    client.put_object(container, "image", b"x")

    lines = verify(directory / "missing", directory / "image", status=1)

    assert lines == [
        f"FAILED  {directory}/missing: ENOENT: No such file or directory",
        f"OK      {directory}/image: etag",
    ]


def test_an_image_that_swift_does_not_give_fails(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    verify: Verify,
) -> None:
    put_image(client, container, "slo")
    swift.control.inject(Fault(method="GET", target="/parts/3$", count=None, status=404))

    [line] = verify(directory / "image", status=1)

    assert line.startswith(f"FAILED  {directory}/image: ESTALE: Stale file handle, reading at ")


def test_a_segment_overwritten_behind_an_slo_is_stale(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_image(client, container, "slo")
    client.put_object(container, "parts/1", bytes(SEGMENT))

    [line] = verify(directory / "image", status=1)

    assert line.startswith(f"FAILED  {directory}/image: ESTALE: Stale file handle, reading at ")


def test_a_segment_overwritten_below_a_dlo_is_part_of_it_from_then_on(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_image(client, container, "dlo")
    client.put_object(container, "parts/1", bytes(SEGMENT))
    before, after = hashlib.sha512(WHOLE), hashlib.sha512()
    for part in (PARTS[0], bytes(SEGMENT), *PARTS[2:]):
        after.update(part)

    assert verify(directory / "image") == [f"OK      {directory}/image: 5 segments"]
    verify("--os-hash-value", after.hexdigest(), directory / "image")
    [line] = verify("--os-hash-value", before.hexdigest(), directory / "image", status=1)
    assert line.startswith("WRONG")


def test_an_image_that_is_replaced_meanwhile_is_not_called_wrong(
    swift: FaultySwift, client: swiftclient.Connection, container: str, directory: Path
) -> None:
    put_image(client, container, "plain")
    swift.control.inject(Fault(method="GET", target="/image$", count=None, delay=2))
    with subprocess.Popen(
        [*PROGRAM, "verify", directory / "image"], stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for_request(swift, "/image")

        client.put_object(container, "image", b"another")

        told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.startswith(f"FAILED  {directory}/image: it was replaced while it was read")
