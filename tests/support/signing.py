"""Signed images as OpenStack's documentation makes them: keys, certificates, properties."""

from __future__ import annotations

import base64
import datetime
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.datetime.now(datetime.UTC)
YEAR = datetime.timedelta(days=365)
HASHES = {
    "SHA-224": hashes.SHA224(),
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}

Key = rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey


def new_key(kind: str) -> Key:
    """Return a key for one of Glance's key types; RSA's take a tenth of a second to make."""
    if kind == "RSA-PSS":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "DSA":
        return dsa.generate_private_key(key_size=2048)
    curve = getattr(ec, kind.removeprefix("ECC_"))
    return ec.generate_private_key(curve())


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs images, with a certificate that lies in a directory."""

    key: Key
    key_type: str
    certificate_id: str

    def sign(self, data: bytes, method: str = "SHA-256", **padded: object) -> dict[str, str]:
        """Return the properties of an image, with dashes for underscores as in metadata."""
        return {
            "img-signature": base64.b64encode(self.signature(data, method, **padded)).decode(),
            "img-signature-hash-method": method,
            "img-signature-key-type": self.key_type,
            "img-signature-certificate-uuid": self.certificate_id,
        }

    def signature(
        self, data: bytes, method: str, *, salt: object = padding.PSS.MAX_LENGTH
    ) -> bytes:
        """Return the signature of an image."""
        algorithm = HASHES[method]
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(algorithm), salt)  # type: ignore[arg-type]
            return self.key.sign(data, pss, algorithm)
        if isinstance(self.key, dsa.DSAPrivateKey):
            return self.key.sign(data, algorithm)
        return self.key.sign(data, ec.ECDSA(algorithm))


def new_signer(
    directory: Path,
    key_type: str = "ECC_SECP384R1",
    *,
    key: Key | None = None,
    starts: datetime.datetime = NOW - YEAR,
    ends: datetime.datetime = NOW + YEAR,
) -> Signer:
    """Return somebody with a certificate in `directory`, valid from `starts` to `ends`."""
    key = key or new_key(key_type)
    certificate_id = str(uuid.uuid4())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "signer of images")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / f"{certificate_id}.pem").write_bytes(pem)
    return Signer(key, key_type, certificate_id)
