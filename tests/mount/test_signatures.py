"""Signed images through a mount: a bad signature is EIO and no image, and verify tells.

And digests: what was written in order has its own, and nothing else has one.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from swiftimgfs import cli
from tests.support.attributes import attribute
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted
from tests.support.signing import NOW, YEAR, Signer, new_signer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import swiftclient

    from tests.support.embedded_swift import FaultySwift


pytestmark = pytest.mark.mount

DATA = bytes(range(256)) * 2000  # eight segments
OTHER = DATA[::-1]
DAY = datetime.timedelta(days=1)
PREFIX = "user.swift.meta."


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def signers(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Signer]:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    return {
        "RSA-PSS": new_signer(certificates, "RSA-PSS"),
        "DSA": new_signer(certificates, "DSA"),
        "ECC_SECP384R1": new_signer(certificates),
        "expired": new_signer(certificates, starts=NOW - YEAR, ends=NOW - DAY),
        "not yet valid": new_signer(certificates, starts=NOW + DAY, ends=NOW + YEAR),
        "unknown": new_signer(elsewhere),
    }


@pytest.fixture
def signer(signers: dict[str, Signer]) -> Signer:
    return signers["ECC_SECP384R1"]


@pytest.fixture(scope="module")
def running(
    swift: FaultySwift, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    options = (
        "segment_size=64K,large_object_size=256K,attr_timeout=0,list_timeout=0,timeout=10,"
        f"hashing_algo=sha512,signature_certificates={certificates}"
    )
    directory = tmp_path_factory.mktemp("signed")
    with mounted(directory, swift.swift.environ(), options) as mount:
        yield mount


@pytest.fixture
def directory(running: Mounted, container: str) -> Path:
    return running.path / container


def sign(target: Path | int, properties: Mapping[str, str]) -> None:
    for name, value in properties.items():
        os.setxattr(target, PREFIX + name.replace("-", "_"), value.encode())


def write(path: Path, data: bytes, properties: Mapping[str, str] | None = None) -> None:
    """Write an image that says from the beginning on that it is signed."""
    with path.open("wb") as file:
        sign(file.fileno(), properties or {})
        file.write(data)


def names(client: swiftclient.Connection, container: str) -> list[str]:
    return [row["name"] for row in client.get_container(container)[1]]


# ── signatures at the commit ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1000, len(DATA)])
@pytest.mark.parametrize("method", ["SHA-224", "SHA-512"])
@pytest.mark.parametrize("kind", ["RSA-PSS", "DSA", "ECC_SECP384R1"])
def test_an_image_with_a_right_signature_is_stored_with_it(
    directory: Path, signers: dict[str, Signer], kind: str, method: str, size: int
) -> None:
    properties = signers[kind].sign(DATA[:size], method)

    write(directory / "image", DATA[:size], properties)

    assert (directory / "image").read_bytes() == DATA[:size]
    for name, value in properties.items():
        assert attribute(directory / "image", PREFIX + name.replace("-", "_")) == value


@pytest.mark.parametrize("size", [1000, len(DATA)])
def test_an_image_with_a_wrong_signature_is_not_stored(
    running: Mounted,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    signer: Signer,
    size: int,
) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        write(directory / "image", DATA[:size], signer.sign(OTHER))

    assert names(client, container) == []
    log = running.log.read_text()
    assert f"{container}/image" in log
    assert "the signature is not that of these bytes" in log


@pytest.mark.parametrize("kind", ["expired", "not yet valid", "unknown"])
def test_a_certificate_that_is_not_good_is_as_bad(
    running: Mounted,
    client: swiftclient.Connection,
    container: str,
    directory: Path,
    signers: dict[str, Signer],
    kind: str,
) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        write(directory / "image", DATA, signers[kind].sign(DATA))

    assert names(client, container) == []
    assert signers[kind].certificate_id in running.log.read_text()


@pytest.mark.parametrize("text", ["no base64!", "QUJ"])
def test_what_is_no_base64_is_no_signature(directory: Path, signer: Signer, text: str) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        write(directory / "image", DATA, signer.sign(DATA) | {"img-signature": text})

    assert not (directory / "image").exists()


def test_an_image_that_says_nothing_complete_is_not_signed(
    directory: Path, signer: Signer
) -> None:
    properties = signer.sign(OTHER)
    del properties["img-signature-key-type"]

    write(directory / "image", DATA, properties)

    assert (directory / "image").read_bytes() == DATA


def test_the_image_before_stays_when_the_next_is_not_the_signed_one(
    directory: Path, signer: Signer
) -> None:
    write(directory / "image", DATA, signer.sign(DATA))

    with pytest.raises(OSError, match="Input/output error"):
        (directory / "image").write_bytes(OTHER)

    assert (directory / "image").read_bytes() == DATA
    sign(directory / "image", signer.sign(OTHER))
    (directory / "image").write_bytes(OTHER)
    assert (directory / "image").read_bytes() == OTHER


def test_an_edit_is_verified_though_its_bytes_come_in_no_order(
    directory: Path, signer: Signer
) -> None:
    write(directory / "image", DATA, signer.sign(DATA))
    changed = b"changed" + DATA[7:]

    with (
        pytest.raises(OSError, match="Input/output error"),
        (directory / "image").open("r+b") as file,
    ):
        file.write(b"changed")
    with (directory / "image").open("r+b") as file:
        sign(file.fileno(), signer.sign(changed, "SHA-384"))
        file.write(b"changed")
        file.flush()
        sign(file.fileno(), signer.sign(changed))

    assert (directory / "image").read_bytes() == changed


def test_a_signature_can_be_taken_away(directory: Path, signer: Signer) -> None:
    write(directory / "image", DATA, signer.sign(DATA))
    os.removexattr(directory / "image", PREFIX + "img_signature")

    (directory / "image").write_bytes(OTHER)

    assert attribute(directory / "image", PREFIX + "img_signature") is None
    assert (directory / "image").read_bytes() == OTHER


def test_a_signature_of_another_client_is_one(
    client: swiftclient.Connection, container: str, directory: Path, signer: Signer
) -> None:
    headers = {f"X-Object-Meta-{key}": value for key, value in signer.sign(DATA).items()}
    client.put_object(container, "image", b"", headers=headers)

    with pytest.raises(OSError, match="Input/output error"):
        (directory / "image").write_bytes(OTHER)
    (directory / "image").write_bytes(DATA)

    assert client.get_object(container, "image")[1] == DATA


# ── verify ─────────────────────────────────────────────────────────────────────────────


def test_verify_tells_a_right_signature_from_a_wrong_one(
    directory: Path,
    signers: dict[str, Signer],
    certificates: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def verify(*arguments: object) -> tuple[int, str]:
        status = cli.main(["verify", *map(str, arguments)])
        return status, capsys.readouterr().out.splitlines()[0]

    image = directory / "image"
    signer = signers["RSA-PSS"]
    write(image, DATA, signer.sign(DATA))
    option = f"--signature-certificates={certificates}"

    assert verify(option, image) == (
        0,
        f"OK      {image}: signature, os_hash_value and 8 segments",
    )
    status, line = verify(image)
    assert (status, line.split(";")[0]) == (
        1,
        f"CANNOT  {image}: signature: no certificates to verify it with",
    )
    sign(image, signer.sign(OTHER))
    where = f"{image}: signature, {len(DATA)} bytes at 0"
    assert verify(option, image) == (
        1,
        f"WRONG   {where}: the signature is not that of these bytes",
    )
    sign(image, signers["expired"].sign(DATA))
    assert "expired at" in verify(option, image)[1]
    sign(image, {"img-signature-hash-method": "MD5"})
    assert "unknown hash method 'MD5'" in verify(option, image)[1]


# ── digests ────────────────────────────────────────────────────────────────────────────


def stored_digest(path: Path) -> tuple[str | None, str | None]:
    return (
        attribute(path, "user.swift.os_hash_algo"),
        attribute(path, "user.swift.os_hash_value"),
    )


@pytest.mark.parametrize("size", [0, 1000, len(DATA)])
def test_an_image_that_was_written_in_order_has_its_digest(
    client: swiftclient.Connection, container: str, directory: Path, size: int
) -> None:
    (directory / "image").write_bytes(DATA[:size])

    expected = ("sha512", hashlib.sha512(DATA[:size]).hexdigest())
    assert stored_digest(directory / "image") == expected
    headers = client.head_object(container, "image")
    assert headers["x-object-meta-os-hash-algo"] == "sha512"
    assert headers["x-object-meta-os-hash-value"] == expected[1]


def test_an_image_that_was_changed_has_none_and_one_written_anew_has_another(
    directory: Path,
) -> None:
    path = directory / "image"
    path.write_bytes(DATA)
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(b"changed")
    assert stored_digest(path) == (None, None)

    path.write_bytes(OTHER)

    assert stored_digest(path) == ("sha512", hashlib.sha512(OTHER).hexdigest())
    with path.open("ab") as file:
        file.write(b"more")
    assert stored_digest(path) == (None, None)


def test_a_digest_stays_when_only_attributes_change(directory: Path) -> None:
    path = directory / "image"
    path.write_bytes(DATA)
    before = stored_digest(path)

    path.chmod(0o640)
    os.utime(path, (1, 1))
    with path.open("r+b") as file:
        os.fchmod(file.fileno(), 0o600)

    assert stored_digest(path) == before != (None, None)


def test_a_retried_segment_is_hashed_once(
    swift: FaultySwift, directory: Path, container: str
) -> None:
    """Every PUT is tried again, its answer lost or its body cut."""
    swift.control.inject(
        Fault(method="PUT", target=f"/{container}", count=4, cut_upload_after=1000)
    )
    swift.control.inject(
        Fault(method="PUT", target=f"/{container}", skip=4, count=3, lose_answer=True)
    )

    (directory / "image").write_bytes(DATA)

    assert stored_digest(directory / "image") == ("sha512", hashlib.sha512(DATA).hexdigest())
    assert (directory / "image").read_bytes() == DATA
