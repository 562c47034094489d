"""Images that are right, of every kind."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.verified_images import WHOLE, Verify, kinds, put_image, stored_digest

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


@kinds
def test_an_image_as_it_was_stored_is_ok(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    kind: str,
    what: str,
    verify: Verify,
) -> None:
    put_image(client, container, kind)

    assert verify(directory / "image") == [f"OK      {directory}/image: {what}"]


def test_what_this_mount_wrote_is_ok(directory: Path, verify: Verify) -> None:
    (directory / "small").write_bytes(b"small")
    (directory / "large").write_bytes(WHOLE)
    (directory / "empty").write_bytes(b"")

    assert verify(directory) == [
        f"OK      {directory}/empty: etag and os_hash_value",
        f"OK      {directory}/large: os_hash_value and {-(-len(WHOLE) // 65_536)} segments",
        f"OK      {directory}/small: etag and os_hash_value",
    ]


def test_each_byte_is_read_once_however_many_digests_there_are(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    verify: Verify,
) -> None:
    put_image(client, container, "slo", **stored_digest(WHOLE))
    os.stat(directory / "image")
    swift.control.clear()
    value = hashlib.sha512(WHOLE).hexdigest()

    lines = verify("--os-hash-value", value, directory / "image")

    assert lines == [
        f"OK      {directory}/image: os_hash_value, --os-hash-value and 5 segments"
    ]
    gets = [r for r in swift.control.journal() if r.method == "GET" and "/parts/" in r.path]
    assert sum(r.bytes_sent for r in gets) == len(WHOLE)


def test_several_paths_and_all_images_below_directories(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    for name in ("b", "a", "sub/deeper/x", "sub/y"):
        client.put_object(container, name, name.encode())

    lines = verify(directory / "b", directory / "sub", directory / "b")

    names = [line.removeprefix(f"OK      {directory}/") for line in lines]
    assert names == ["b: etag", "sub/deeper/x: etag", "sub/y: etag", "b: etag"]


def test_an_image_of_nothing_is_ok(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    header = {"X-Object-Manifest": f"{container}/nothing-"}
    client.put_object(container, "image", b"", headers=header)

    assert verify(directory / "image") == [f"OK      {directory}/image: empty"]


def test_the_pages_of_hundreds_of_segments_are_put_together(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    prefix = "segment/" + "ä" * 450
    for number in range(80):
        client.put_object(container, f"{prefix}{number:04}", b"%d" % number)
    header = {"X-Object-Manifest": quote(f"{container}/{prefix}")}
    client.put_object(container, "image", b"", headers=header)

    assert verify(directory / "image") == [f"OK      {directory}/image: 80 segments"]
    assert len(os.getxattr(directory / "image", "user.swift.segments.1")) > 1000
    with pytest.raises(OSError, match="too long"):
        os.getxattr(directory / "image", "user.swift.segments")


def test_an_image_with_holes_that_was_edited_is_right(directory: Path, verify: Verify) -> None:
    image = directory / "image"
    with image.open("wb") as file:
        file.write(WHOLE[:100_000])
        file.truncate(2_000_000)
    with image.open("r+b") as file:  # from now on nobody knows the digest of the whole image
        file.write(b"v2")

    assert verify(image) == [f"OK      {image}: 2 segments"]
    rows = json.loads(os.getxattr(image, "user.swift.segments"))
    assert [row.get("zeros", False) for row in rows] == [False, False, True]
