"""Bytes that differ from a checksum of Swift's or Glance's are found and named."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.verification import verifier
from swiftimgfs.verification.plan import Check, Digest
from tests.support.fault_control import Fault
from tests.support.verified_images import (
    PARTS,
    SEGMENT,
    WHOLE,
    Verify,
    kinds,
    md5,
    put_image,
    stored_digest,
)

if TYPE_CHECKING:
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift
    from tests.support.mounts import Mounted

pytestmark = pytest.mark.mount


def test_a_byte_that_differs_in_a_plain_image_is_found(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    verify: Verify,
) -> None:
    put_image(client, container, "plain")
    swift.control.inject(Fault(method="GET", target="/image$", count=None, corrupt_at=77))

    [line] = verify(directory / "image", status=1)

    assert line.startswith(f"WRONG   {directory}/image: etag, {len(WHOLE)} bytes at 0: md5 is")
    assert line.endswith(f", not {md5(WHOLE)}")


def test_what_is_wrong_fails_in_a_mount_that_verifies_by_itself(
    swift: FaultySwift,
    client: swiftclient.Connection,
    container: str,
    mount: Mounted,
    verify: Verify,
) -> None:
    data = random.SystemRandom().randbytes(SEGMENT)
    client.put_object(container, "image", data)
    swift.control.inject(Fault(method="GET", target="/image$", count=None, corrupt_at=77))

    [line] = verify(mount.path / container / "image", status=1)

    assert line.startswith(f"FAILED  {mount.path / container / 'image'}: EIO: ")
    log = mount.log.read_text()
    assert f"{container}/image: its MD5 is " in log


@pytest.mark.parametrize("kind", ["slo", "dlo"])
@pytest.mark.parametrize("digest", [{}, stored_digest(WHOLE)], ids=["segments", "one pass"])
def test_the_segment_that_differs_is_named(
    swift: FaultySwift,
    client: swiftclient.Connection,
    directory: Path,
    kind: str,
    digest: dict[str, str],
    verify: Verify,
) -> None:
    container = directory.name
    put_image(client, container, kind, **digest)
    swift.control.inject(Fault(method="GET", target="/parts/2$", count=None, corrupt_at=0))

    [line] = verify(directory / "image", status=1)

    where = f"segment {container}/parts/2, 500000 bytes at 1000000"
    more = " (and 1 more)" if digest else ""
    # The fault is in each GET of the segment, and how many there are is the mount's affair.
    assert line.startswith(f"WRONG   {directory}/image: {where}: md5 is ")
    assert line.endswith(f", not {md5(PARTS[2])}{more}")


@kinds
def test_a_stored_digest_is_compared(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    kind: str,
    what: str,
    verify: Verify,
) -> None:
    put_image(client, container, kind, **stored_digest(WHOLE))

    [line] = verify(directory / "image")

    assert os.getxattr(directory / "image", "user.swift.os_hash_algo") == b"sha256"
    both = "etag and os_hash_value" if kind == "plain" else f"os_hash_value and {what}"
    assert line == f"OK      {directory}/image: {both}"


@kinds
def test_a_stored_digest_of_other_bytes_is_wrong(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    kind: str,
    what: str,
    verify: Verify,
) -> None:
    put_image(client, container, kind, **stored_digest(b"others"))
    right, other = hashlib.sha256(WHOLE).hexdigest(), hashlib.sha256(b"others").hexdigest()

    [line] = verify(directory / "image", status=1)

    where = f"os_hash_value, {len(WHOLE)} bytes at 0"
    assert line == f"WRONG   {directory}/image: {where}: sha256 is {right}, not {other}"


def test_the_md5_that_a_large_image_has_in_its_metadata_is_compared(
    client: swiftclient.Connection, container: str, directory: Path, verify: Verify
) -> None:
    put_image(client, container, "slo", X_Object_Meta_Md5=md5(WHOLE))

    assert verify(directory / "image") == [f"OK      {directory}/image: MD5 and 5 segments"]
    assert os.getxattr(directory / "image", "user.swift.md5").decode() == md5(WHOLE)


@pytest.mark.parametrize("algorithm", [None, "sha512", "SHA256", "md5"])
def test_the_value_that_glance_has_is_compared(
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    algorithm: str | None,
    verify: Verify,
) -> None:
    put_image(client, container, "dlo")
    options = ["--os-hash-algo", algorithm] if algorithm else []
    right = hashlib.new((algorithm or "sha512").lower(), WHOLE).hexdigest()
    wrong = hashlib.new((algorithm or "sha512").lower(), b"others").hexdigest()

    [ok] = verify("--os-hash-value", right.upper(), *options, directory / "image")
    [line] = verify("--os-hash-value", wrong, *options, directory / "image", status=1)

    assert ok == f"OK      {directory}/image: --os-hash-value and 5 segments"
    assert line.startswith(f"WRONG   {directory}/image: --os-hash-value, ")
    assert line.endswith(f" is {right}, not {wrong}")


@hypothesis.given(st.data())
def test_digests_do_not_depend_on_how_the_bytes_come(data: st.DataObject) -> None:
    image = data.draw(st.binary(max_size=40))
    ends = sorted(data.draw(st.sets(st.integers(0, len(image)))) | {0, len(image)})
    ranges = [r for r in itertools.pairwise(ends) if data.draw(st.booleans())]
    wrong = data.draw(st.sets(st.integers(0, len(ranges)), max_size=2))
    checks = [
        Check(
            start, end - start, Digest("md5", md5(image[start:end] + b"x" * (n in wrong)), "")
        )
        for n, (start, end) in enumerate(ranges)
    ]
    track = verifier._Track(checks)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(image)))) | {0, len(image)})

    for start, end in itertools.pairwise(cuts):
        track.update(start, memoryview(image)[start:end])
    track.close()

    assert [m.check for m in track.wrong] == [
        checks[n] for n in sorted(wrong) if n < len(checks)
    ]
