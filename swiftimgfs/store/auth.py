"""Who we are: an identity gives the storage URL and a token that is valid now.

An identity is asked before every request, in the thread that makes it, so it must be
cheap while its token lives; renewal happens once, however many threads wait for it.
Secrets never leave this module: `repr` of what it hands out hides them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import keystoneauth1.exceptions
import openstack.config
import openstack.exceptions
import swiftclient.client

from swiftimgfs import errors
from swiftimgfs.store.failures import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystoneauth1.session import Session


@dataclass(frozen=True, slots=True)
class Access:
    """Where the account is, and the token that opens it."""

    storage_url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How servers are talked to.

    Attributes:
        timeout: Seconds for one connect, or for one read or write on a socket.
        cacert: A file of CA certificates instead of the system's.
        insecure: Do not verify the servers' certificates.
    """

    timeout: float = 60.0
    cacert: str | None = None
    insecure: bool = False


class Identity(Protocol):
    """Something that can prove who we are to one account. Its methods block."""

    def access(self) -> Access:
        """Return the storage URL and a valid token, asking for a new one if need be.

        Raises:
            AccessDeniedError: The credentials were refused.
            StoreUnavailableError: The identity service did not answer.
        """
        ...

    def invalidate(self, token: str) -> None:
        """Forget `token`, which was refused; another one that came since stays."""
        ...


class LegacyIdentity:
    """A user and a key of tempauth or swauth (`ST_*`, auth version 1)."""

    def __init__(self, auth_url: str, user: str, key: str, transport: TransportOptions) -> None:
        self._auth_url = auth_url
        self._user = user
        self._key = key
        self._transport = transport
        self._lock = threading.Lock()
        self._access: Access | None = None

    def access(self) -> Access:
        """Return the storage URL and a token; see `Identity.access`."""
        with self._lock:  # held across the request, so that one renewal serves all threads
            if self._access is None:
                self._access = self._authenticate()
            return self._access

    def invalidate(self, token: str) -> None:
        """Forget `token`; see `Identity.invalidate`."""
        with self._lock:
            if self._access is not None and self._access.token == token:
                self._access = None

    def _authenticate(self) -> Access:
        with translated(f"authentication at {self._auth_url}"):
            storage_url, token = swiftclient.client.get_auth_1_0(
                self._auth_url,
                self._user,
                self._key,
                cacert=self._transport.cacert,
                insecure=self._transport.insecure,
                timeout=self._transport.timeout,
            )
        if not storage_url or not token:
            raise errors.StoreRefusedError(
                f"authentication at {self._auth_url}: the answer has no storage URL and token;"
                " is this a Swift (v1) auth address?"
            )
        return Access(storage_url, token)


class KeystoneIdentity:
    """A keystoneauth1 session: whatever plugin it was loaded with, and the catalog."""

    def __init__(
        self, session: Session, *, region: str | None, interface: str, service_type: str
    ) -> None:
        self._session = session
        self._endpoint_filter: dict[str, Any] = {
            "service_type": service_type,
            "interface": interface,
            "region_name": region,
        }
        self._lock = threading.Lock()
        self._refused: str | None = None

    def access(self) -> Access:
        """Return the storage URL and a token; see `Identity.access`."""
        with translated("authentication with Keystone"):
            token = self._session.get_token()
            storage_url = self._session.get_endpoint(**self._endpoint_filter)
        if not token or not storage_url:
            raise errors.StoreRefusedError(
                "Keystone's catalog has no endpoint for {service_type} ({interface}, region"
                " {region_name})".format_map(self._endpoint_filter)
            )
        return Access(storage_url.rstrip("/"), token)

    def invalidate(self, token: str) -> None:
        """Forget `token`; see `Identity.invalidate`.

        keystoneauth1 forgets whatever it has, so that several threads that were refused
        with one token must not each throw away the token that the first of them got.
        """
        with self._lock:
            if token != self._refused:
                self._refused = token
                self._session.invalidate()


def identity_from_environment(
    environ: Mapping[str, str], transport: TransportOptions
) -> Identity:
    """Return the identity that `ST_*` or, without them, `OS_*` variables name.

    Raises:
        ConfigError: Neither set of variables is complete.
    """
    if "ST_AUTH" in environ:
        missing = [name for name in ("ST_USER", "ST_KEY") if not environ.get(name)]
        if missing:
            raise errors.ConfigError(f"env: ST_AUTH is set, but not {' and '.join(missing)}")
        if not environ["ST_AUTH"].startswith(("http://", "https://")):
            raise errors.ConfigError(f"env: ST_AUTH={environ['ST_AUTH']} is no http(s) address")
        return LegacyIdentity(
            environ["ST_AUTH"], environ["ST_USER"], environ["ST_KEY"], transport
        )
    if "OS_AUTH_URL" in environ:
        # A variable OS_CLOUD would make openstacksdk read clouds.yaml: env: means the variables.
        config = openstack.config.OpenStackConfig(load_yaml_config=False, load_envvars=True)
        return _identity_of_cloud(config, None, transport)
    raise errors.ConfigError(
        "env: neither ST_AUTH, ST_USER and ST_KEY nor OS_AUTH_URL and its companions are set"
    )


def identity_from_cloud(name: str, transport: TransportOptions) -> Identity:
    """Return the identity of cloud `name` in clouds.yaml.

    Raises:
        ConfigError: There is no such cloud, or its entry is not complete.
    """
    try:
        # With the variables: OS_CLIENT_CONFIG_FILE says where clouds.yaml is.
        config = openstack.config.OpenStackConfig(load_envvars=True)
    except openstack.exceptions.ConfigException as exc:
        raise errors.ConfigError(f"clouds.yaml: {exc}") from exc
    if name not in config.get_cloud_names():
        raise errors.ConfigError(f"no cloud {name!r} in clouds.yaml (and not env:)")
    return _identity_of_cloud(config, name, transport)


def _identity_of_cloud(
    config: openstack.config.OpenStackConfig, name: str | None, transport: TransportOptions
) -> Identity:
    try:
        region = config.get_one(cloud=name)
        _check_password(name, region.config)
        session = region.get_session()
    except (
        openstack.exceptions.ConfigException,
        keystoneauth1.exceptions.ClientException,
    ) as exc:
        raise errors.ConfigError(f"{name or 'env:'}: {exc}") from exc
    session.timeout = transport.timeout
    if transport.insecure:
        session.verify = False
    elif transport.cacert:
        session.verify = transport.cacert
    return KeystoneIdentity(
        session,
        region=region.get_region_name() or None,
        interface=region.get_interface("object-store") or "public",
        service_type=region.get_service_type("object-store") or "object-store",
    )


def _check_password(name: str | None, settings: Mapping[str, Any]) -> None:
    """Refuse half a password login, which keystoneauth1 meets with a bare Exception, later."""
    if settings.get("auth_type") not in {None, "", "password", "v3password"}:
        return
    auth = settings.get("auth", {})
    missing = [] if auth.get("username") or auth.get("user_id") else ["username"]
    missing += [] if auth.get("password") else ["password"]
    if missing:
        where = f"cloud {name}: auth has no" if name else "env: OS_* variables give no"
        raise errors.ConfigError(f"{where} {' and no '.join(missing)}")
