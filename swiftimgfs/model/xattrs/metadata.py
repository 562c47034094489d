"""`user.swift.meta.KEY`: metadata as other clients of Swift set it and see it.

A header's name knows no case, and is safe with dashes only: any case of KEY is the same, and
an underscore stands for a dash. Glance's properties of a signed image are listed as Glance
writes them, with underscores.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.xattrs.subject import Attribute
from swiftimgfs.store.kept_attributes import is_kept_key, is_plain
from swiftimgfs.store.metadata import OWN_KEYS, changes_of
from swiftimgfs.writing import signatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.model.xattrs.subject import Subject

PREFIX: Final = "user.swift.meta."
_KEY = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # a token of HTTP
# Who knows these makes URLs that open a container to anybody: no attribute shows them.
_SECRETS: Final = frozenset({"temp-url-key", "temp-url-key-2"})


def attribute(name: str) -> Attribute | None:
    """Return the attribute of that name; None when no metadata can have it."""
    text = name.removeprefix(PREFIX)
    if text == name or not _KEY.fullmatch(text):
        return None
    key = text.lower().replace("_", "-")
    if key in _SECRETS:
        return Attribute(_nothing)
    if key == signatures.SIGNATURE:
        return Attribute(_signature, _set_signature, _remove_signature)
    getter = functools.partial(_value, key=key, text=text.lower())
    if _is_own(key):
        return Attribute(getter)
    return Attribute(
        getter, functools.partial(_set, key=key), functools.partial(_remove, key=text.lower())
    )


def names_in(metadata: Mapping[str, str]) -> list[str]:
    """Return the names of the attributes that metadata is."""
    parts = {*signatures.part_keys()} - {signatures.SIGNATURE}
    shown = (key for key in metadata if not _is_own(key) and key not in parts | _SECRETS)
    return [
        PREFIX + (_as_glance(key) if key in signatures.PROPERTIES else key) for key in shown
    ]


def _as_glance(key: str) -> str:
    return key.replace("-", "_")


def _is_own(key: str) -> bool:
    """Return whether something else is said with this key: a mode, a digest, `user.NAME`."""
    return key in OWN_KEYS or is_kept_key(key)


async def _nothing(subject: Subject) -> str | None:  # noqa: ARG001  # of nobody's
    return None


async def _value(subject: Subject, key: str, text: str) -> str | None:
    metadata = subject.metadata
    return metadata.get(text) or metadata.get(key) or None


async def _set(subject: Subject, text: str, key: str) -> None:
    if not is_plain(text.encode()):
        raise errors.InvalidRequestError(
            f"{key}: metadata is not empty, and has no blanks at its ends"
        )
    await subject.change_headers(changes_of({key: text}))


async def _remove(subject: Subject, key: str) -> None:
    is_there = key in subject.metadata
    await subject.change_headers(changes_of({key if is_there else key.replace("_", "-"): None}))


async def _signature(subject: Subject) -> str | None:
    return signatures.joined(subject.metadata) or None


async def _set_signature(subject: Subject, text: str) -> None:
    if not text:
        raise errors.InvalidRequestError("a signature is not empty")
    changes = dict.fromkeys(signatures.part_keys()) | signatures.parts_of(text)
    await subject.change_headers(changes_of(changes))


async def _remove_signature(subject: Subject) -> None:
    keys = [signatures.SIGNATURE, *signatures.part_keys()]
    await subject.change_headers(changes_of(dict.fromkeys(keys)))
