"""Signatures are what cursive, and so Glance, takes for right; everything else is refused."""

from __future__ import annotations

import base64
import datetime
import hashlib
import subprocess
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

from swiftimgfs.errors import InvalidRequestError, SignatureError
from swiftimgfs.writing.signature_check import KEY_TYPES, check
from swiftimgfs.writing.signatures import LONGEST_VALUE, ImageSignature, keys, parts_of
from tests.support.signing import HASHES, NOW, YEAR, new_key, new_signer

DATA = b"the bytes of an image" * 1000
# The others are on curves that the library has no more.
HAVE = [kind for kind in KEY_TYPES if hasattr(ec, kind.removeprefix("ECC_")) or "_" not in kind]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def signers(directory):
    return {kind: new_signer(directory, kind) for kind in HAVE}


@pytest.fixture
def signer(signers):
    return signers["ECC_SECP384R1"]


def verify(properties, directory, data=DATA, now=NOW):
    signature = ImageSignature.of(properties)
    assert signature is not None
    digest = hashlib.new(signature.algorithm, data).digest()
    check(signature, digest, directory, now)


def test_the_key_types_are_those_of_cursive():
    assert set(HAVE) >= {"RSA-PSS", "DSA", "ECC_SECP384R1", "ECC_SECP521R1"}
    assert {"ECC_SECT571K1", "ECC_SECT409K1", "ECC_SECT571R1", "ECC_SECT409R1"} < set(KEY_TYPES)


@pytest.mark.parametrize("method", HASHES)
@pytest.mark.parametrize("kind", HAVE)
def test_a_right_signature_is_right_and_no_other(signers, directory, kind, method):
    properties = signers[kind].sign(DATA, method)

    verify(properties, directory)

    with pytest.raises(SignatureError, match="not that of these bytes"):
        verify(properties, directory, DATA[:-1])
    value = bytearray(base64.b64decode(properties["img-signature"]))
    value[-1] ^= 1
    properties["img-signature"] = base64.b64encode(value).decode()
    with pytest.raises(SignatureError, match="not that of these bytes"):
        verify(properties, directory)


@pytest.mark.parametrize("kind", ["RSA-PSS", "ECC_SECP384R1"])
def test_what_openssl_signs_is_right(tmp_path, directory, signers, kind):
    """As in OpenStack's documentation."""
    signer = signers[kind]
    key, image = tmp_path / "key.pem", tmp_path / "image"
    image.write_bytes(DATA)
    key.write_bytes(
        signer.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    pss = ["-sigopt", "rsa_padding_mode:pss"]
    command = ["openssl", "dgst", "-sha512", "-sign", key, *pss * (kind == "RSA-PSS"), image]
    value = subprocess.run(command, check=True, capture_output=True).stdout

    properties = signer.sign(DATA, "SHA-512") | {
        "img-signature": base64.encodebytes(value).decode()
    }

    verify(properties, directory)


@pytest.mark.parametrize("salt", [padding.PSS.DIGEST_LENGTH, 0, 20])
def test_the_salt_may_have_any_length(signers, directory, salt):
    verify(signers["RSA-PSS"].sign(DATA, salt=salt), directory)


def test_any_curve_will_do_for_a_key_type_of_a_curve(directory):
    signer = new_signer(directory, "ECC_SECP521R1", key=ec.generate_private_key(ec.SECP256R1()))

    verify(signer.sign(DATA), directory)


def test_an_image_is_signed_when_it_has_all_four_properties(signer):
    properties = signer.sign(DATA)
    assert ImageSignature.of(properties | {"mtime": "1.0"}) is not None
    for key in properties:
        assert ImageSignature.of({k: v for k, v in properties.items() if k != key}) is None


def changed(signer, **changes):
    return signer.sign(DATA) | {key.replace("_", "-"): value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"img_signature": "no base64!"}, "not base64"),
        ({"img_signature": "QUJ"}, "not base64"),
        ({"img_signature": ""}, "empty"),
        ({"img_signature": "QUJD"}, "not that of these bytes"),
        ({"img_signature_hash_method": "MD5"}, "unknown hash method"),
        ({"img_signature_hash_method": "sha-256"}, "unknown hash method"),
        ({"img_signature_hash_method": "SHA-512"}, "not that of these bytes"),
        ({"img_signature_key_type": "RSA"}, "unknown key type"),
        ({"img_signature_key_type": "RSA-PSS"}, "no key of type RSA-PSS"),
        ({"img_signature_key_type": "DSA"}, "no key of type DSA"),
        ({"img_signature_certificate_uuid": "../../etc/passwd"}, "not a UUID"),
        ({"img_signature_certificate_uuid": ""}, "not a UUID"),
        (
            {"img_signature_certificate_uuid": "00000000-0000-0000-0000-000000000000"},
            "No such file",
        ),
    ],
)
def test_what_is_wrong_is_said(signer, directory, changes, why):
    with pytest.raises(SignatureError, match=why):
        verify(changed(signer, **changes), directory)


@pytest.mark.parametrize(
    ("starts", "ends", "why"),
    [(NOW + YEAR, NOW + 2 * YEAR, "not valid before"), (NOW - 2 * YEAR, NOW - YEAR, "expired")],
)
def test_a_certificate_has_to_be_in_its_time(directory, starts, ends, why):
    signer = new_signer(directory, starts=starts, ends=ends)
    properties = signer.sign(DATA)

    with pytest.raises(SignatureError, match=why):
        verify(properties, directory)

    verify(properties, directory, now=starts + datetime.timedelta(days=1))


def test_without_a_directory_nothing_is_right(signer):
    with pytest.raises(SignatureError, match="signature_certificates"):
        verify(signer.sign(DATA), None)


def test_an_upper_case_id_is_the_same_certificate(signer, directory):
    upper = replace(signer, certificate_id=signer.certificate_id.upper())

    verify(upper.sign(DATA), directory)


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff\x00"])
def test_a_file_that_is_no_certificate_is_refused(signer, tmp_path, content):
    (tmp_path / f"{signer.certificate_id}.pem").write_bytes(content)

    with pytest.raises(SignatureError, match="not a certificate"):
        verify(signer.sign(DATA), tmp_path)


def test_a_certificate_that_cannot_be_read_is_refused(signer, tmp_path):
    (tmp_path / f"{signer.certificate_id}.pem").mkdir()

    with pytest.raises(SignatureError, match="Is a directory"):
        verify(signer.sign(DATA), tmp_path)


def test_a_certificate_of_a_key_that_is_not_known_is_refused(signer, tmp_path, monkeypatch):
    other = new_signer(tmp_path)
    assert other.certificate_id != signer.certificate_id
    monkeypatch.setitem(KEY_TYPES, "ECC_SECP384R1", ed25519.Ed25519PublicKey)

    with pytest.raises(SignatureError, match="no key of type"):
        verify(other.sign(DATA), tmp_path)


# ── as metadata ────────────────────────────────────────────────────────────────────────


def test_a_long_signature_is_stored_in_parts(signers, directory):
    properties = signers["RSA-PSS"].sign(DATA)
    text = properties["img-signature"]
    assert len(text) > LONGEST_VALUE  # RSA with 2,048 bits: 344 characters

    parts = parts_of(text)

    assert all(len(value) <= LONGEST_VALUE for value in parts.values())
    assert list(parts) == ["img-signature", "img-signature-2"]
    assert set(parts) < keys()
    verify(properties | parts, directory)


def test_a_short_signature_is_one_value():
    assert parts_of("abc") == {"img-signature": "abc"}
    assert parts_of("") == {"img-signature": ""}


def test_what_no_key_can_sign_is_no_signature():
    with pytest.raises(InvalidRequestError):
        parts_of("x" * 5000)


def test_keys_that_were_made_are_of_their_type():
    assert isinstance(new_key("DSA").public_key(), KEY_TYPES["DSA"])
