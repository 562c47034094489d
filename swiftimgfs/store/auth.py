"""Who we are: an identity gives the storage URL and what opens it now.

An identity is asked before every request, in the thread that makes it, so it is cheap while
its token lives. Renewal happens before the token ends, and once, however many threads wait
for it. Secrets never leave this module: `repr` of what it hands out hides them.
"""

from __future__ import annotations

import abc
import http
import logging
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import swiftclient.client

from swiftimgfs import errors
from swiftimgfs.store.failures import translated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import ParseResult

    from keystoneauth1.session import Session

log = logging.getLogger(__name__)

TOKEN_HEADER = "X-Auth-Token"  # noqa: S105  # the header's name
EXPIRE_SOON = 60.0  # seconds: Glance's default of swift_store_expire_soon_interval
# After a renewal that failed while the old token is still good: not with every request.
RENEWAL_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Access:
    """Where the account is, and the headers that open it."""

    storage_url: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How servers are talked to.

    Attributes:
        timeout: Seconds for one connect, or for one read or write on a socket.
        cacert: A file of CA certificates instead of the system's.
        insecure: Do not verify the servers' certificates.
        certificate: File of our own certificate, for servers that ask for one.
        certificate_key: File of its key, where it is not in the same.
    """

    timeout: float = 60.0
    cacert: str | None = None
    insecure: bool = False
    certificate: str | None = None
    certificate_key: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Which Swift of the catalog is meant; None and nothing given: as the login says.

    Attributes:
        storage_url: The account's URL, whatever the catalog says.
        interface: `public`, `internal` or `admin`, with or without `URL` after it.
        expire_soon: Seconds before its end at which a token is renewed.
    """

    storage_url: str | None = None
    region: str | None = None
    interface: str | None = None
    service_type: str | None = None
    expire_soon: float = EXPIRE_SOON


def check_authorities(what: str, path: str) -> None:
    """Refuse a file of CA certificates that has none, before anybody is asked with it.

    Args:
        what: Who names the file, for the message.
        path: Of the file; of a directory of them, as OpenSSL takes one, too.

    Raises:
        ConfigError: It cannot be read, or no certificate is in it.
    """
    if Path(path).is_dir():
        return
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise errors.ConfigError(f"{what} {path}: no certificate (PEM) in it") from None
    except OSError as exc:
        raise errors.ConfigError(f"{what} {path}: {exc.strerror}") from None


class Identity(Protocol):
    """Something that can prove who we are to one account. Its methods block.

    Attributes:
        warning: What somebody should know about how long it can; mostly empty.
    """

    @property
    def warning(self) -> str:
        """What somebody should know; see the class."""
        ...

    def access(self) -> Access:
        """Return the storage URL and what opens it now, asking for a new token if need be.

        Raises:
            AccessDeniedError: The credentials were refused.
            StoreUnavailableError: The identity service did not answer.
        """
        ...

    def invalidate(self, access: Access) -> bool:
        """Forget `access`, which was refused; another one that came since stays.

        Returns:
            Whether it had come to its end by now: then the refusal says nothing of us.
        """
        ...

    def close(self) -> None:
        """Give back what was made at the identity service for this mount."""
        ...


class FixedIdentity:
    """A token and a storage URL: good for as long as that token is."""

    warning: Final = "the token cannot be renewed: what comes after its end is refused"

    def __init__(self, storage_url: str, token: str) -> None:
        self._access = Access(storage_url.rstrip("/"), {TOKEN_HEADER: token})

    def access(self) -> Access:
        """Return what it was made with; see `Identity.access`."""
        return self._access

    def invalidate(self, access: Access) -> bool:  # noqa: ARG002  # there is one only
        """Return that nobody knows when it ends: there is no other token."""
        return False

    def close(self) -> None:
        """Do nothing: nothing was made."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What an authentication gave.

    Attributes:
        lifetime: Seconds from now for which it is good; None when nobody said.
    """

    access: Access
    lifetime: float | None


class RenewingIdentity(abc.ABC):
    """An identity that can authenticate again.

    Times are ours, counted from the moment of the authentication: what Keystone's clock
    says does not matter. A token that lives shorter than twice `expire_soon` is renewed at
    half its life, since it would otherwise be renewed with every request.
    """

    def __init__(self, expire_soon: float = EXPIRE_SOON, warning: str = "") -> None:
        self.warning: Final = warning
        self._expire_soon: Final = expire_soon
        self._lock = threading.Lock()
        self._attempts = 0
        self._failure: errors.SwiftImgFsError | None = None
        self._access: Access | None = None
        self._due_at = self._ends_at = float("inf")

    @abc.abstractmethod
    def _authenticate(self) -> Grant:
        """Ask for a new token."""

    def access(self) -> Access:
        """Return the storage URL and a token; see `Identity.access`."""
        seen = self._attempts
        with self._lock:  # held across the authentication, so that one serves all threads
            if self._access is None or time.monotonic() >= self._due_at:
                if self._failure is not None and self._attempts != seen:
                    raise type(self._failure)(str(self._failure))  # it failed as we waited
                self._renew()
            assert self._access is not None  # noqa: S101  # renewed, or raised
            return self._access

    def invalidate(self, access: Access) -> bool:
        """Forget `access`; see `Identity.invalidate`."""
        with self._lock:
            if self._access is not access:
                return True  # it was replaced since
            self._access = None
            return time.monotonic() >= self._ends_at

    def close(self) -> None:  # noqa: B027  # most have nothing to do
        """Give back what was made; see `Identity.close`."""

    def _renew(self) -> None:
        try:
            grant = self._authenticate()
        except errors.SwiftImgFsError as failure:
            if self._access is None or time.monotonic() >= self._ends_at:
                self._failure = failure
                raise
            self._due_at = time.monotonic() + RENEWAL_PAUSE
            log.warning("token not renewed, using the old one on reason=%s", failure)
            return
        finally:
            self._attempts += 1  # from now on who waited has waited for this one
        self._failure = None
        self._access = grant.access
        self._due_at = self._ends_at = float("inf")
        if grant.lifetime is not None:
            now, lifetime = time.monotonic(), grant.lifetime
            self._ends_at = now + lifetime
            self._due_at = self._ends_at - min(self._expire_soon, lifetime / 2)


class LegacyIdentity(RenewingIdentity):
    """A user and a key of tempauth or swauth (`ST_*`, auth version 1)."""

    def __init__(
        self,
        auth_url: str,
        user: str,
        key: str,
        transport: TransportOptions,
        endpoint: EndpointOptions = EndpointOptions(),
    ) -> None:
        super().__init__(endpoint.expire_soon)
        self._auth_url = auth_url
        self._user = user
        self._headers = {"X-Auth-User": user, "X-Auth-Key": key}
        self._transport = transport
        self._storage_url = endpoint.storage_url

    def _authenticate(self) -> Grant:
        """Ask for a token as version 1 of Swift's auth does: by headers, answered by headers.

        Source: Swift's "The Auth System". swiftclient's own `get_auth_1_0` does the same,
        and throws `X-Auth-Token-Expires` away.
        """
        with translated(f"authentication of {self._user}", at=self._auth_url):
            parsed, connection = open_connection(self._auth_url, self._transport)
            headers = {key: value.encode() for key, value in self._headers.items()}
            try:
                connection.request("GET", parsed.path, "", headers)
                response = connection.getresponse()
                body = response.read()
            finally:
                connection.close()
            if response.status >= http.HTTPStatus.MULTIPLE_CHOICES:
                raise swiftclient.ClientException.from_response(response, "Auth", body)
        storage_url = self._storage_url or response.getheader("x-storage-url")
        token = response.getheader("x-storage-token") or response.getheader("x-auth-token")
        if not storage_url or not token:
            raise errors.StoreRefusedError(
                f"authentication at {self._auth_url}: the answer has no storage URL and token;"
                " is this a Swift (v1) auth address?"
            )
        lifetime = response.getheader("x-auth-token-expires") or ""
        return Grant(
            Access(storage_url.rstrip("/"), {TOKEN_HEADER: token}),
            float(lifetime) if lifetime.isdigit() else None,
        )


class KeystoneIdentity(RenewingIdentity):
    """A keystoneauth1 session, whatever plugin it was loaded with, and the catalog.

    Args:
        who: Who logs in, for messages.
        warning: See `Identity`.
    """

    def __init__(
        self, session: Session, endpoint: EndpointOptions, who: str, warning: str = ""
    ) -> None:
        super().__init__(endpoint.expire_soon, warning)
        self._who = who
        self._session = session
        self._endpoint = endpoint
        # When to renew is decided here. With keystoneauth's own margin of 120 s a token that
        # lives shorter would be renewed by each question to the session, the catalog's too.
        session.auth.MIN_TOKEN_LIFE_SECONDS = 0  # type: ignore[union-attr]  # there is one

    def _authenticate(self) -> Grant:
        self._session.invalidate()
        auth_url = getattr(self._session.auth, "auth_url", None) or ""
        with translated(f"authentication of {self._who}", at=auth_url):
            headers = self._session.get_auth_headers() or {}
            storage_url = self._endpoint.storage_url or self._find_endpoint()
        return Grant(Access(storage_url.rstrip("/"), dict(headers)), lifetime_of(self._session))

    def _find_endpoint(self) -> str:
        wanted: dict[str, Any] = {
            "service_type": self._endpoint.service_type or "object-store",
            "interface": self._endpoint.interface or "public",
            "region_name": self._endpoint.region,
        }
        found: str | None = self._session.get_endpoint(**wanted)
        if not found:
            raise errors.StoreRefusedError(
                "Keystone's catalog has no endpoint for {service_type} ({interface}, region"
                " {region_name})".format_map(wanted)
            )
        return found


def lifetime_of(session: Session) -> float | None:
    """Return the seconds that the session's newest token lives; None where nobody says.

    From when it was issued, both by Keystone's clock, and not from now, which is by ours.
    """
    access_info = getattr(session.auth, "auth_ref", None)
    if access_info is None or access_info.expires is None or access_info.issued is None:
        return None
    seconds: float = (access_info.expires - access_info.issued).total_seconds()
    return seconds


def open_connection(
    url: str, transport: TransportOptions
) -> tuple[ParseResult, swiftclient.client.HTTPConnection]:
    """Return a connection that goes nowhere but to `url`.

    requests would follow a redirection, and take the token or the key along to wherever a
    server points: it drops `Authorization` on the way to another host, not `X-Auth-*`.
    """
    parsed, connection = swiftclient.client.http_connection(
        url,
        cacert=transport.cacert,
        insecure=transport.insecure,
        cert=transport.certificate,
        cert_key=transport.certificate_key,
        timeout=transport.timeout,
    )
    connection.requests_args["allow_redirects"] = False
    return parsed, connection
