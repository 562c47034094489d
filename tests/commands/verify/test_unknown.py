"""What nobody can tell is said, and called neither right nor wrong."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.verification import facts
from swiftimgfs.verification.plan import Digest, Facts, Segment, plan_of
from tests.support.verified_images import PARTS, Verify, put_image, put_segments, put_slo

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

pytestmark = pytest.mark.mount


def test_a_part_of_an_object_cannot_be_checked(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_segments(client, container)
    rows = [
        {"path": f"/{container}/parts/0"},
        {"path": f"/{container}/parts/1", "range": "100-999"},
    ]
    put_slo(client, container, rows)
    whole = hashlib.sha512(PARTS[0] + PARTS[1][100:1000]).hexdigest()

    [line] = verify(directory / "image", status=1)
    [with_digest] = verify("--os-hash-value", whole, directory / "image")

    why = "1 of 2 segments are parts of objects"
    assert line == f"CANNOT  {directory}/image: {why}; 1 segment compared, and right"
    assert with_digest.endswith(f": --os-hash-value and 1 segment; not compared: {why}")


def test_nested_and_symlinked_segments_are_compared_with_what_they_lead_to(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_segments(client, container)
    rows = [{"path": f"/{container}/parts/{n}"} for n in (0, 1)]
    put_slo(client, container, rows, "inner")
    for name, target in (("link", "parts/2"), ("link to inner", "inner")):
        header = {"X-Symlink-Target": f"{container}/{target}"}
        client.put_object(container, name, b"", headers=header)
    names = ("inner", "link", "link to inner", "parts/3")

    put_slo(client, container, [{"path": f"/{container}/{name}"} for name in names])

    assert verify(directory / "image") == [f"OK      {directory}/image: 6 segments"]


def test_a_dlo_in_an_slo_cannot_be_checked(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    """Its etag looks like an MD5, and is one of other etags."""
    put_segments(client, container)
    header = {"X-Object-Manifest": f"{container}/parts/"}
    client.put_object(container, "inner", b"", headers=header)
    put_slo(client, container, [{"path": f"/{container}/{n}"} for n in ("parts/0", "inner")])

    [line] = verify(directory / "image", status=1)

    why = "1 of the segments are manifests themselves; 1 segment compared, and right"
    assert line == f"CANNOT  {directory}/image: {why}"


def test_bytes_in_the_manifest_cannot_be_checked(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_segments(client, container)
    put_slo(client, container, [{"data": "aGFsbG8="}, {"path": f"/{container}/parts/0"}])

    [line] = verify(directory / "image", status=1)

    assert "CANNOT" in line
    assert "5 bytes are in the manifest itself; 1 segment compared, and right" in line


def test_a_digest_by_an_unknown_algorithm_is_told_and_not_called_wrong(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    headers = {"X_Object_Meta_Os_Hash_Algo": "rot13", "X_Object_Meta_Os_Hash_Value": "ab"}
    put_image(client, container, "plain", **headers)

    [line] = verify(directory / "image")

    assert line.endswith("etag; not compared: os_hash_value: unknown algorithm 'rot13'")


def test_an_etag_that_is_no_md5_cannot_be_checked() -> None:
    segment = Segment("c/s", 0, 10, "abc-2", 0, 10)
    known = Facts(10, "abc-2", is_large=True, segments=(segment,))

    plan = plan_of(known, Digest("sha1", "x", "stored"))

    assert plan.lanes == []
    assert plan.gaps == (
        "stored: not 40 hexadecimal digits, as sha1 has",
        "1 of 1 segments have an etag that is no MD5",
    )


def test_what_an_older_mount_does_not_tell_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"etag": "x", "manifest": "slo"}
    monkeypatch.setattr(facts, "_attribute", lambda _fd, name: answers.get(name))

    with pytest.raises(OSError, match="older swiftimgfs"):
        facts.read_facts(0)
