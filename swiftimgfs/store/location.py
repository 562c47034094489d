"""Swift location URIs, as Glance keeps them and as a mount is given them. Pure.

`scheme://[user:key@]host[:port][/path]/container/image`, or with the name of a reference, a
section of Glance's file of logins, as `swift+config://reference/container/image`.

1. Only the two last parts of an image's path are container and image, so that a `/` in a
   name is always quoted.
2. With a user the address is Keystone's, without one it is the account's.
3. What is written with credentials is read back the same. `str()` has none of them, `repr`
   no key, and no failure repeats any part of a URI: it may hold a password in any place.

Source: `StoreLocation` of glance_store's Swift driver. Of what it misreads, `%` in names and
`/ @ :` in keys are read right here; what it drops without a word is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from swiftimgfs import errors

SCHEMES: Final = ("swift+https", "swift", "swift+http", "swift+config")

# A query or fragment, which no location has, and what no URI holds unquoted.
_FOREIGN = re.compile("[?#\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:%\s]+)(?::(?P<port>[0-9]{1,5}))?")
_MAX_PORT = 65535
# The last part of an authentication URL, and the one before the account in a storage URL.
_VERSION = re.compile(r"v[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image, a container or an account is, and who may get there.

    Attributes:
        scheme: One of `SCHEMES`.
        address: `host[:port][/path]`: of Keystone when there is a user, else of the account;
            of a `swift+config` location the reference's name. Quoted as it came.
        container: "" for an account.
        name: Of the object, or a prefix without a last `/`; "" for a container.
        user: `project:user` as the driver has it; "" for somebody with a token.
        key: The password; "" also if it is still to be asked for.
    """

    scheme: str
    address: str
    container: str
    name: str
    user: str = ""
    key: str = field(default="", repr=False)

    def __str__(self) -> str:
        return format_location(self)

    @property
    def is_reference(self) -> bool:
        """Whether address and login are to be looked up, under the name in `address`."""
        return self.scheme == "swift+config"

    @property
    def url(self) -> str:
        """The address as a URL: encrypted but for `swift+http`. Not for a reference."""
        return f"{'http' if self.scheme == 'swift+http' else 'https'}://{self.address}"


def parse_location(uri: str) -> Location:
    """Return the location of an image; the last two parts of its path name it.

    Raises:
        ConfigError: It is none; the message repeats nothing of it.
    """
    head, path = _parse_head(uri)
    *address, container, name = ("/" + path).split("/")
    if not container or not name:
        raise _bad("it has to end with /container/image")
    if head.is_reference and address != [""]:
        raise _bad("after a reference come a container and an image, with %2F for a /")
    return replace(
        head,
        address=head.address + "/".join(address),
        container=_unquote(container),
        name=_unquote(name),
    )


def parse_mount_location(uri: str) -> Location:
    """Return the location of an account, a container, or a prefix in it: a mount's source.

    The address ends with the first part of the path that looks like a version, such as
    `v3`, and without a user with the account after it. An address for a user without a
    version is a host.

    Raises:
        ConfigError: It is none; the message repeats nothing of it.
    """
    head, path = _parse_head(uri)
    parts = path.rstrip("/").split("/") if path else []
    if not all(parts):
        raise _bad("it has // in its path")
    length = _address_length(head, parts)
    container, _, name = "/".join(parts[length:]).partition("/")
    return replace(
        head,
        address="/".join([head.address, *parts[:length]]),
        container=_unquote(container),
        name=_unquote(name),
    )


def format_location(location: Location, *, with_credentials: bool = False) -> str:
    """Return the URI of a location.

    Args:
        location: Of an image, or of anything that can be mounted.
        with_credentials: Show user and key: for a Glance's database, not for a log.
    """
    login = ""
    if with_credentials and location.user:
        login = f"{_quote(location.user)}:{_quote(location.key)}@"
    path = _format_path(location.container, location.name)
    return f"{location.scheme}://{login}{location.address}{path}"


def format_storage_location(storage_url: str, container: str, name: str = "") -> str:
    """Return the location of an image (or container) below a storage URL, without credentials.

    It is the multi-tenant form of the driver, `swift+https://host/v1/AUTH_x/container/object`.
    A `/` in a name is quoted, since the driver takes the last two parts of the path.
    """
    parts = urlsplit(storage_url)
    path = _format_path(container, name)
    return f"swift+{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}"


def _parse_head(uri: str) -> tuple[Location, str]:
    """Return scheme, host and login, and the path without its first slashes, still quoted."""
    if uri.count("://") != 1:
        raise _bad("it has to have :// exactly once, after its scheme")
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES:
        raise _bad(f"its scheme is none of {', '.join(SCHEMES)}")
    if _FOREIGN.search(rest):
        raise _bad("it has ?, # or an unprintable character, which have to be quoted with %")
    authority, _, path = rest.partition("/")
    head = Location(scheme, authority, "", "")
    if head.is_reference:
        if not authority or "@" in authority:
            raise _bad("after swift+config:// comes the name of a reference, without a login")
    else:
        head = _with_login(head, authority, path)
    return head, path.lstrip("/")


def _with_login(head: Location, authority: str, path: str) -> Location:
    """Return the location with the authority's host, user and key."""
    if "@" in path:
        # What the driver writes of a key with a / in it: the rest of the key would pass
        # for a path, and be shown.
        raise _bad("@ in a path is written %40, and / in a password %2F")
    login, at, host = authority.rpartition("@")
    found = _HOST.fullmatch(host)
    if not found or int(found["port"] or 0) > _MAX_PORT:
        raise _bad("a host is missing, or is not of the form host[:port]")
    user, _, key = login.rpartition(":")
    if at and not user:
        raise _bad("before the @ come a user and a password, as user:password")
    return replace(head, address=host, user=_unquote(user), key=_unquote(key))


def _address_length(head: Location, parts: list[str]) -> int:
    """Return how many parts of a mount's path belong to the address."""
    if head.is_reference:
        return 0
    version = next((i for i, part in enumerate(parts) if _VERSION.fullmatch(part)), None)
    if head.user:
        return 0 if version is None else version + 1
    if version is None or version + 1 == len(parts):
        raise _bad("without a user it is a storage URL, such as https://host/v1/AUTH_x")
    return version + 2


def _format_path(*parts: str) -> str:
    return "".join(f"/{_quote(part)}" for part in parts if part)


def _quote(text: str) -> str:
    """Quote everything that separates; the driver leaves `/`, even in keys."""
    return quote(text, safe="")


def _unquote(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _bad("what it quotes with % is not UTF-8") from None


def _bad(reason: str) -> errors.ConfigError:
    return errors.ConfigError(f"not a Swift location: {reason}")


def check_service_url(what: str, url: str) -> None:
    """Refuse an address of a service that is no plain http(s) URL.

    A password in it would be shown wherever the address is.

    Raises:
        ConfigError: It is not; the message repeats nothing of it.
    """
    try:
        parts = urlsplit(url)
        is_plain = (
            parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        )
    except ValueError:
        is_plain = False
    else:
        if "@" in parts.netloc:
            raise errors.ConfigError(f"{what} has a user or a password in it")
        is_plain = is_plain and not (parts.query or parts.fragment) and url.isprintable()
    if not is_plain:
        raise errors.ConfigError(f"{what} is not a URL like https://host:port/path")
