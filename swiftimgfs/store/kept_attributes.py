"""Extended attributes that applications set, as metadata of an image or a container. Pure.

Names and values of attributes are bytes; header names know no case and are safe with letters,
digits and dashes only (servers drop what has `_` or `.`), and values are text without
control characters that loses blanks at its ends. So `user.NAME` is kept as
`X-Object-Meta-Xattr-…`, in which

- a dot is a dash, so that `user.xdg.origin.url` is `X-Object-Meta-Xattr-Xdg-Origin-Url`,
- lower-case letters and digits are themselves, and any other byte is `--` and two
  hexadecimal digits (`--5f` for an underscore), as is the first of two dots,
- a value that a header holds as it is, is that, and any other is `0s` and base64, which is
  how getfattr shows it and setfattr takes it,
- what is longer than a value may be goes on in `X-Object-Meta-Xattr2-…`, `-Xattr3-…`.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

ENCODED: Final = "0s"
MOST_PARTS: Final = 64  # far beyond what Swift takes of all metadata
_KEY = re.compile(r"xattr(?:[2-9]|[1-9]\d)?-.+", re.ASCII | re.DOTALL)
_FIRST = "xattr-"
_TOKEN = re.compile(r"--([0-9a-f]{2})|(-)|([a-z0-9])", re.ASCII)
_PLAIN = re.compile(rb"[a-z0-9]")


def is_kept_key(key: str) -> bool:
    """Return whether a metadata key (lower-cased, without prefix) is part of an attribute."""
    return _KEY.fullmatch(key) is not None


def encoded_name(name: bytes) -> str:
    """Return the name of an attribute, without `user.`, as part of a header's name."""
    text = ""
    for position in range(len(name)):
        byte = name[position : position + 1]
        if _PLAIN.fullmatch(byte):
            text += byte.decode()
        elif byte == b"." and name[position + 1 : position + 2] != b".":
            text += "-"
        else:
            text += f"--{byte[0]:02x}"
    return text


def decoded_name(text: str) -> bytes | None:
    """Return the name that is `text` in a header; None if no name is."""
    name = bytearray()
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        code, dot, plain = match.groups()
        name += bytes.fromhex(code) if code else b"." if dot else plain.encode()
    is_whole = position == len(text) and text
    return bytes(name) if is_whole and encoded_name(bytes(name)) == text else None


def is_plain(value: bytes) -> bool:
    """Return whether a header holds `value` as it is.

    What strips headers may take them for Latin-1, where more bytes are blanks.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    as_latin = value.decode("latin-1")
    return bool(text) and text.isprintable() and as_latin == as_latin.strip()


def parts_of(value: bytes, longest: int) -> list[str]:
    """Return a value as texts of up to `longest` bytes that headers hold."""
    if is_plain(value) and not value.startswith(ENCODED.encode()):
        parts = _split(value, longest)
        if all(is_plain(part) for part in parts):
            return [part.decode() for part in parts]
    text = ENCODED + base64.b64encode(value).decode()
    return [text[i : i + longest] for i in range(0, len(text), longest)]


def _split(value: bytes, longest: int) -> list[bytes]:
    """Cut between characters, and not at a blank where that can be helped."""
    parts = []
    while len(value) > longest:
        ends = (n for n in range(longest, 0, -1) if is_plain(value[:n]) and is_plain(value[n:]))
        end = next(ends, longest)
        parts.append(value[:end])
        value = value[end:]
    return [*parts, value]


def value_of(metadata: Mapping[str, str], name: bytes) -> bytes | None:
    """Return the value of an attribute; None when it is not there."""
    text = "".join(metadata[key] for key in _keys(metadata, name))
    if not text:
        return None
    if text.startswith(ENCODED):
        try:
            return base64.b64decode(text.removeprefix(ENCODED), validate=True)
        except binascii.Error:
            pass  # somebody else's text
    return text.encode()


def names_in(metadata: Mapping[str, str]) -> list[bytes]:
    """Return the names, without `user.`, of the attributes that are in metadata."""
    found = (decoded_name(k.removeprefix(_FIRST)) for k in metadata if k.startswith(_FIRST))
    return sorted(name for name in found if name is not None)


def changes_for(
    metadata: Mapping[str, str], name: bytes, value: bytes | None, longest: int
) -> dict[str, str | None]:
    """Return the changes of metadata that give an attribute a value, or take it away (None).

    Raises:
        AttributeTooLargeError: It has more parts than any metadata has.
    """
    changes: dict[str, str | None] = dict.fromkeys(_keys(metadata, name))
    parts = [] if value is None else parts_of(value, longest)
    if len(parts) > MOST_PARTS:
        raise errors.AttributeTooLargeError(f"{name!r}: more than Swift keeps with an image")
    return changes | {_key(name, number): part for number, part in enumerate(parts, 1)}


def _keys(metadata: Mapping[str, str], name: bytes) -> list[str]:
    """Return the keys that an attribute has, in order."""
    keys: list[str] = []
    while (key := _key(name, len(keys) + 1)) in metadata:
        keys.append(key)
    return keys


def _key(name: bytes, part: int) -> str:
    return f"xattr{part if part > 1 else ''}-{encoded_name(name)}"
