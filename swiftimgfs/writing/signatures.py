"""Signatures of images, as Glance's four properties; `signature_check` says which are right.

Source: OpenStack's cursive, by which Glance and Nova verify: the property names and the hash
methods. Like there, an image is signed when it has all four properties.

In Swift the properties are metadata, `X-Object-Meta-Img-Signature` and so on. Swift takes
256 bytes for a value, and RSA signatures are longer: what does not fit goes on in
`X-Object-Meta-Img-Signature-2`, `-3` and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE: Final = "img-signature"
HASH_METHOD: Final = "img-signature-hash-method"
KEY_TYPE: Final = "img-signature-key-type"
CERTIFICATE: Final = "img-signature-certificate-uuid"
PROPERTIES: Final = (SIGNATURE, HASH_METHOD, KEY_TYPE, CERTIFICATE)
LONGEST_VALUE: Final = 256  # bytes of one value: Swift's max_meta_value_length
MOST_PARTS: Final = 10  # 15,360 bits of RSA; Swift takes 4,096 bytes of all metadata

HASH_METHODS: Final = frozenset({"SHA-224", "SHA-256", "SHA-384", "SHA-512"})


@dataclass(frozen=True, slots=True)
class ImageSignature:
    """What an image says of its signature; nothing of it was looked at yet.

    Attributes:
        text: The signature in base64.
        hash_method: Of `HASH_METHODS`.
        key_type: Of `signature_check.KEY_TYPES`.
        certificate_id: A UUID, the name of the certificate.
    """

    text: str
    hash_method: str
    key_type: str
    certificate_id: str

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> ImageSignature | None:
        """Return the signature that is in metadata, if all of it is there."""
        if not all(key in metadata for key in PROPERTIES):
            return None
        return cls(
            joined(metadata), metadata[HASH_METHOD], metadata[KEY_TYPE], metadata[CERTIFICATE]
        )

    @property
    def algorithm(self) -> str:
        """The digest that is signed, as hashlib calls it.

        Raises:
            SignatureError: It is none that Glance knows.
        """
        return self.known_hash_method.replace("-", "").lower()

    @property
    def known_hash_method(self) -> str:
        """The hash method.

        Raises:
            SignatureError: It is none that Glance knows.
        """
        if self.hash_method not in HASH_METHODS:
            raise errors.SignatureError(f"unknown hash method {self.hash_method!r}")
        return self.hash_method


def part_keys() -> list[str]:
    """Return the keys of what of a signature does not fit into its first value."""
    return [f"{SIGNATURE}-{number}" for number in range(2, MOST_PARTS + 1)]


def keys() -> frozenset[str]:
    """Return the keys of all metadata that belongs to a signature."""
    return frozenset({*PROPERTIES, *part_keys()})


def joined(metadata: Mapping[str, str]) -> str:
    """Return the text of a signature that is stored in parts; empty without one."""
    return "".join(metadata.get(key, "") for key in (SIGNATURE, *part_keys()))


def parts_of(text: str) -> dict[str, str]:
    """Return the metadata that stores a signature of any length.

    Raises:
        InvalidRequestError: It is longer than any signature.
    """
    parts = [text[i : i + LONGEST_VALUE] for i in range(0, len(text), LONGEST_VALUE)] or [""]
    if len(parts) > MOST_PARTS:
        raise errors.InvalidRequestError(f"{len(text)} characters are no signature")
    return dict(zip((SIGNATURE, *part_keys()), parts, strict=False))
