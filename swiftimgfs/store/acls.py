"""Access control lists of containers: Swift's texts, and the ones that Glance sets. Pure.

An ACL is a comma list. An item is a tenant and a user, `project:user`, with `*` for any; a
role or group; or for reading a host that a web page may be on, `.r:host`. Swift tidies a
text before it stores it, taking each byte of the header for a character: a letter such as
`à`, whose last byte looks like a space, loses it at the end of an item, and Swift then
answers 400 because the rest is no UTF-8.

Source: `swift/common/middleware/acl.py`, and `set_acls` of glance_store's Swift driver.
"""

from __future__ import annotations

import enum
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the driver gives to the container of a public image: whoever has a token may read
# (`.r:*` would be whoever has not).
PUBLIC: Final = "*:*"
# Of a header's line with its name and end: Swift's server refuses it from here on.
MAX_HEADER_LINE: Final = 8192
_REFERRER_DESIGNATORS = frozenset({".r", ".ref", ".referer", ".referrer"})


class AclHeader(enum.Enum):
    """The header that carries an ACL."""

    READ = "X-Container-Read"
    WRITE = "X-Container-Write"


@dataclass(frozen=True, slots=True)
class Acls:
    """Both ACLs of a container; "" for nobody but its owner."""

    read: str
    write: str


def canonical_acl(header: AclHeader, text: str) -> str:
    """Return what Swift stores when it is sent `text`.

    That is not always stored unchanged itself when it is sent: `.r:**a` becomes `.r:*a`,
    which would become `.r:a`. So send the text, and expect this.

    Raises:
        InvalidRequestError: Swift would refuse it, or it has control characters.
    """
    if _has_control_characters(text):
        raise errors.InvalidRequestError("an ACL has no control characters")
    sent = text.encode()
    if len(f"{header.value}: \r\n") + len(sent) >= MAX_HEADER_LINE:
        raise errors.InvalidRequestError(f"an ACL of {len(sent)} bytes is too long")
    stripped = (item.strip() for item in sent.decode("latin-1").split(","))
    items = [_canonical_item(header, item) for item in stripped if item]
    try:
        return ",".join(items).encode("latin-1").decode()
    except UnicodeDecodeError:
        raise errors.InvalidRequestError(
            f"Swift cannot keep the ACL {text!r}: use ids, or quote letters with %"
        ) from None


def _canonical_item(header: AclHeader, item: str) -> str:
    first, colon, host = (part.strip() for part in item.partition(":"))
    if not colon or not first.startswith("."):
        return item
    if first not in _REFERRER_DESIGNATORS:
        raise _refused(item, "only a referrer, .r:host, starts with a dot")
    if header is AclHeader.WRITE:
        raise _refused(item, "a referrer may read, but not write")
    minus = "-" if host.startswith("-") else ""
    host = host.removeprefix("-").strip()
    if host != "*":
        host = host.removeprefix("*").strip()
    if host in {"", "."}:
        raise _refused(item, "a referrer needs a host or domain")
    return f".r:{minus}{host}"


def _refused(item: str, reason: str) -> errors.InvalidRequestError:
    shown = item.encode("latin-1").decode(errors="replace")
    return errors.InvalidRequestError(f"{shown!r} in an ACL: {reason}")


def set_acls(
    *,
    public: bool = False,
    read_tenants: Iterable[str] = (),
    write_tenants: Iterable[str] = (),
    admin_tenants: Iterable[str] = (),
) -> Acls:
    """Return the ACLs that Glance's driver sets on the container of an image.

    Args:
        public: Everybody may read; `read_tenants` then do not matter.
        read_tenants: Who may read.
        write_tenants: Who may write.
        admin_tenants: swift_store_admin_tenants: who may write whatever else is said.
    """
    return Acls(
        read=PUBLIC if public else _format_tenants(read_tenants),
        write=_format_tenants([*write_tenants, *admin_tenants]),
    )


def _format_tenants(tenants: Iterable[str]) -> str:
    return ",".join(f"{tenant}:*" for tenant in tenants)


def tenants_of(acl: str) -> tuple[str, ...] | None:
    """Return the tenants that an ACL names, as `set_acls` writes it; None for any other.

    Everybody (`PUBLIC`) is no tenant, so that such an ACL is another one.
    """
    if not acl:
        return ()
    items = acl.split(",")
    tenants = tuple(item.removesuffix(":*") for item in items)
    are_tenants = all(map(_is_tenant, tenants)) and _format_tenants(tenants) == acl
    return tenants if are_tenants else None


def parse_tenants(text: str) -> tuple[str, ...]:
    """Return the tenants of a comma list, each once, in the order given.

    Raises:
        InvalidRequestError: An ACL would take one of them for something else.
    """
    tenants = tuple(dict.fromkeys(item for part in text.split(",") if (item := part.strip())))
    for tenant in tenants:
        if not _is_tenant(tenant):
            raise errors.InvalidRequestError(f"not a tenant's id or name: {tenant!r}")
    return tenants


def _is_tenant(text: str) -> bool:
    """Whether it means that tenant and nobody else in an ACL, and is trimmed."""
    return (
        text == text.strip()
        and text not in {"", "*"}
        and not text.startswith(".")
        and not any(character in text for character in ":,")
        and unquote(text) == text  # Swift unquotes what it compares: %2A is everybody
        and not _has_control_characters(text)
    )


def _has_control_characters(text: str) -> bool:
    """Whether there is one, or a half character, which has no UTF-8."""
    return any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
