"""Whether the signature of an image is right.

Source: OpenStack's cursive, by which Glance and Nova verify: the key types, RSA-PSS with MGF1
and a salt of any length (which its MAX_LENGTH means to a verifier), ECDSA and DSA as they are.
cursive takes a certificate from the key manager by its id; here it is `<id>.pem` in a directory,
and has to be in its time. Like there, any curve will do for any `ECC_…`.

It is imported when the first signature is checked: `cryptography` would be a fifteenth of the
time that every command takes to start.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from swiftimgfs import errors

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping
    from pathlib import Path

    from swiftimgfs.writing.signatures import ImageSignature

    PublicKey = rsa.RSAPublicKey | dsa.DSAPublicKey | ec.EllipticCurvePublicKey

KEY_TYPES: Final[Mapping[str, type[PublicKey]]] = {
    "RSA-PSS": rsa.RSAPublicKey,
    "DSA": dsa.DSAPublicKey,
    # Those on binary fields (SECT…) only with a `cryptography` that still has them.
    "ECC_SECT571K1": ec.EllipticCurvePublicKey,
    "ECC_SECT409K1": ec.EllipticCurvePublicKey,
    "ECC_SECT571R1": ec.EllipticCurvePublicKey,
    "ECC_SECT409R1": ec.EllipticCurvePublicKey,
    "ECC_SECP521R1": ec.EllipticCurvePublicKey,
    "ECC_SECP384R1": ec.EllipticCurvePublicKey,
}
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "SHA-224": hashes.SHA224(),
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}
_CERTIFICATE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def check(
    signature: ImageSignature, digest: bytes, directory: Path | None, now: datetime.datetime
) -> None:
    """Return when the signature is right. Blocks: it reads the certificate.

    Args:
        signature: What the image says.
        digest: Of the image, by `signature.algorithm`.
        directory: Where the certificates are, if anywhere.
        now: When the certificate has to be in its time.

    Raises:
        SignatureError: It is not, or nobody can tell; the message says why.
    """
    method = _HASHES[signature.known_hash_method]
    expected = KEY_TYPES.get(signature.key_type)
    if expected is None:
        raise errors.SignatureError(f"unknown key type {signature.key_type!r}")
    value = _decoded(signature.text)
    key = _public_key(signature.certificate_id, directory, now)
    if not isinstance(key, expected):
        raise errors.SignatureError(
            f"the certificate {signature.certificate_id} has no key of type {signature.key_type}"
        )
    try:
        _verify(key, value, digest, method)
    except InvalidSignature:
        raise errors.SignatureError("the signature is not that of these bytes") from None
    except (UnsupportedAlgorithm, ValueError) as exc:
        raise errors.SignatureError(f"cannot be verified: {exc}") from exc


def _decoded(text: str) -> bytes:
    try:
        value = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise errors.SignatureError("the signature is not base64") from None
    if not value:
        raise errors.SignatureError("the signature is empty")
    return value


def _public_key(certificate_id: str, directory: Path | None, now: datetime.datetime) -> object:
    certificate = _certificate(certificate_id, directory)
    if now < certificate.not_valid_before_utc:
        raise errors.SignatureError(
            f"certificate {certificate_id}: not valid before {certificate.not_valid_before_utc}"
        )
    if now > certificate.not_valid_after_utc:
        raise errors.SignatureError(
            f"certificate {certificate_id}: expired at {certificate.not_valid_after_utc}"
        )
    try:
        return certificate.public_key()
    except (UnsupportedAlgorithm, ValueError) as exc:
        raise errors.SignatureError(f"certificate {certificate_id}: {exc}") from exc


def _certificate(certificate_id: str, directory: Path | None) -> x509.Certificate:
    if not _CERTIFICATE_ID.fullmatch(certificate_id):  # it becomes the name of a file
        raise errors.SignatureError(f"certificate {certificate_id!r}: not a UUID")
    if directory is None:
        raise errors.SignatureError(
            f"certificate {certificate_id}: no directory of certificates is configured"
            " (signature_certificates)"
        )
    path = directory / f"{certificate_id.lower()}.pem"
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as exc:
        raise errors.SignatureError(f"certificate {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise errors.SignatureError(f"certificate {path}: not a certificate in PEM") from exc


def _verify(key: PublicKey, value: bytes, digest: bytes, method: hashes.HashAlgorithm) -> None:
    prehashed = Prehashed(method)
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(method), padding.PSS.AUTO)
        key.verify(value, digest, pss, prehashed)
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(value, digest, prehashed)
    else:
        key.verify(value, digest, ec.ECDSA(prehashed))
