"""Ways to log in, and the identity that each gives.

A login is a value: it says where credentials are, and has none but those that a file of
ours or of Glance's held. The identity is made from it when the mount starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keystoneauth1.exceptions
import openstack.config
import openstack.exceptions
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3

from swiftimgfs import errors
from swiftimgfs.store.auth import FixedIdentity, KeystoneIdentity, LegacyIdentity
from swiftimgfs.store.references import AccountReference
from swiftimgfs.store.trusts import CallerIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openstack.config.cloud_region import CloudRegion

    from swiftimgfs.store.auth import EndpointOptions, Identity, TransportOptions

# A password that was typed at a prompt, or that somebody has set for us.
KEY_VARIABLE = "SWIFTIMGFS_KEY"
TOKEN_VARIABLES = ("OS_AUTH_TOKEN", "OS_TOKEN")


@dataclass(frozen=True, slots=True)
class CloudLogin:
    """A cloud of clouds.yaml."""

    cloud: str


@dataclass(frozen=True, slots=True)
class EnvironmentLogin:
    """The variables `ST_*` or `OS_*`."""


@dataclass(frozen=True, slots=True)
class ReferenceLogin:
    """Credentials of Glance's configuration, or of a location; `key` empty: to be asked for."""

    reference: AccountReference


@dataclass(frozen=True, slots=True)
class CallerLogin:
    """Whoever calls: the environment's token or login, for an account of their own.

    Attributes:
        storage_url: Of the account; None to find it in the catalog.
        service: Whom Keystone is to trust with the caller's roles; None for nobody.
    """

    storage_url: str | None
    service: AccountReference | None


Login = CloudLogin | EnvironmentLogin | ReferenceLogin | CallerLogin


LoggedIn = tuple["Identity", "TransportOptions"]


def log_in(
    login: Login,
    endpoint: EndpointOptions,
    transport: TransportOptions,
    environ: Mapping[str, str],
) -> LoggedIn:
    """Return the identity that logs in that way, and how to talk to its Swift.

    Nothing is sent yet. The transport is the one given, with the certificates that a cloud of
    clouds.yaml or `OS_CACERT` names, where none were given.

    Raises:
        ConfigError: Something that it takes is missing.
    """
    match login:
        case CloudLogin(cloud):
            return _of_cloud(cloud, endpoint, transport, environ)
        case ReferenceLogin(reference):
            key = reference.key or environ.get(KEY_VARIABLE, "")
            return _of_reference(replace(reference, key=key), endpoint, transport), transport
        case CallerLogin():
            return _of_caller(login, endpoint, transport, environ)
        case EnvironmentLogin():
            return _of_environment(endpoint, transport, environ)


def missing_key(login: Login, environ: Mapping[str, str]) -> str | None:
    """Return whose password somebody has to be asked for, None when nobody's."""
    if environ.get(KEY_VARIABLE):
        return None
    match login:
        case ReferenceLogin(reference) if reference.user and not reference.key:
            return f"{reference.user} at {reference.auth_address}"
        case CloudLogin(cloud):
            settings = _region_of_cloud(cloud, None, None).config
            auth = settings.get("auth", {})
            user = auth.get("username") or auth.get("user_id")
            lacks = _is_password_login(settings) and user and not auth.get("password")
            return f"{user} of cloud {cloud}" if lacks else None
        case _:
            return None


# ── the environment ────────────────────────────────────────────────────────────────────


def _of_environment(
    endpoint: EndpointOptions, transport: TransportOptions, environ: Mapping[str, str]
) -> LoggedIn:
    if "ST_AUTH" in environ:
        return _of_reference(_legacy_reference(environ), endpoint, transport), transport
    token, storage_url = _token_in(environ), environ.get("OS_STORAGE_URL")
    if storage_url:
        _check_url("OS_STORAGE_URL", storage_url)
        endpoint = replace(endpoint, storage_url=endpoint.storage_url or storage_url)
        if token:
            identity = FixedIdentity(endpoint.storage_url or storage_url, token)
            return identity, _with_certificates(transport, environ)
    if "OS_AUTH_URL" in environ:
        # A variable OS_CLOUD would make openstacksdk read clouds.yaml: env: means the variables.
        return _of_region(_region_of_environment(endpoint.region), "env:", endpoint, transport)
    raise errors.ConfigError(
        "env: none of these is set: ST_AUTH, ST_USER and ST_KEY; OS_AUTH_URL and its"
        " companions; OS_STORAGE_URL and OS_AUTH_TOKEN"
    )


def _legacy_reference(environ: Mapping[str, str]) -> AccountReference:
    missing = [name for name in ("ST_USER", "ST_KEY") if not environ.get(name)]
    if missing:
        raise errors.ConfigError(f"env: ST_AUTH is set, but not {' and '.join(missing)}")
    _check_url("ST_AUTH", environ["ST_AUTH"])
    return AccountReference(
        "env:",
        environ["ST_AUTH"],
        environ["ST_USER"],
        environ["ST_KEY"],
        auth_version=environ.get("ST_AUTH_VERSION", "1"),  # the swift CLI's default with ST_*
    ).with_domains()


def _check_url(name: str, url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise errors.ConfigError(f"env: {name}={url} is no http(s) address")


def _token_in(environ: Mapping[str, str]) -> str:
    name = next((name for name in TOKEN_VARIABLES if environ.get(name)), None)
    token = environ[name].strip() if name else ""
    if not (token.isascii() and token.isprintable()):
        raise errors.ConfigError(f"env: {name} is no token")
    return token


# ── Glance's references, and who calls Glance ──────────────────────────────────────────


def _of_reference(
    reference: AccountReference, endpoint: EndpointOptions, transport: TransportOptions
) -> Identity:
    reference.check()
    if reference.is_legacy:
        return LegacyIdentity(
            reference.auth_url, reference.user, reference.key, transport, endpoint
        )
    return KeystoneIdentity(_session_of(reference, transport), endpoint)


def _of_caller(
    login: CallerLogin,
    endpoint: EndpointOptions,
    transport: TransportOptions,
    environ: Mapping[str, str],
) -> LoggedIn:
    endpoint = replace(endpoint, storage_url=endpoint.storage_url or login.storage_url)
    token = _token_in(environ)
    if not token:
        if not {"OS_AUTH_URL", "ST_AUTH"} & environ.keys():
            raise errors.ConfigError(
                "a multi-tenant store takes its caller's token: set OS_AUTH_TOKEN, or OS_AUTH_URL"
                " and its companions"
            )
        return _of_environment(endpoint, transport, environ)
    transport = _with_certificates(transport, environ)
    service = login.service
    auth_url = service.auth_url if service else environ.get("OS_AUTH_URL")
    if auth_url is None:
        if endpoint.storage_url is None:
            raise errors.ConfigError(
                "OS_AUTH_TOKEN is set, but neither OS_AUTH_URL nor a storage URL"
            )
        return FixedIdentity(endpoint.storage_url, token), transport

    def trustee(trust_id: str | None) -> keystone_session.Session:
        assert service is not None  # noqa: S101  # the caller's identity asks only then
        return _session_of(service, transport, trust_id)

    session = _session(None, transport)
    caller = CallerIdentity(token, auth_url, session, endpoint, trustee if service else None)
    return caller, transport


def _with_certificates(
    transport: TransportOptions, environ: Mapping[str, str]
) -> TransportOptions:
    """Return the transport with the CA that the environment names, where none was given."""
    return replace(transport, cacert=transport.cacert or environ.get("OS_CACERT"))


def _session_of(
    reference: AccountReference, transport: TransportOptions, trust_id: str | None = None
) -> keystone_session.Session:
    """Return a session of a reference: in its project, or for a trust in the trustor's."""
    if reference.has_application_credential:
        auth: v3.Auth = v3.ApplicationCredential(
            reference.auth_url,
            application_credential_id=reference.application_credential_id,
            application_credential_secret=reference.application_credential_secret,
            trust_id=trust_id,
        )
        return _session(auth, transport)
    project, _, user = reference.user.partition(":")
    scope: dict[str, Any] = (
        {"trust_id": trust_id}
        if trust_id
        else {
            "project_name": project,
            "project_domain_id": reference.project_domain_id or None,
            "project_domain_name": reference.project_domain_name or None,
        }
    )
    auth = v3.Password(
        reference.auth_url,
        username=user,
        password=reference.key,
        user_domain_id=reference.user_domain_id or None,
        user_domain_name=reference.user_domain_name or None,
        **scope,
    )
    return _session(auth, transport)


def _session(auth: v3.Auth | None, transport: TransportOptions) -> keystone_session.Session:
    return keystone_session.Session(
        auth=auth,
        verify=False if transport.insecure else transport.cacert or True,
        timeout=transport.timeout,
    )


# ── clouds.yaml, and the variables that mean the same ──────────────────────────────────


def _of_cloud(
    cloud: str,
    endpoint: EndpointOptions,
    transport: TransportOptions,
    environ: Mapping[str, str],
) -> LoggedIn:
    region = _region_of_cloud(cloud, endpoint.region, environ.get(KEY_VARIABLE))
    return _of_region(region, f"cloud {cloud}", endpoint, transport)


def _region_of_cloud(cloud: str, region: str | None, key: str | None) -> CloudRegion:
    try:
        # With the variables: OS_CLIENT_CONFIG_FILE says where clouds.yaml is. `pw_func` is
        # asked for a secret that the cloud's entry leaves out.
        config = openstack.config.OpenStackConfig(
            load_envvars=True, pw_func=(lambda _prompt: key) if key else None
        )
        if cloud not in config.get_cloud_names():
            raise errors.ConfigError(f"no cloud {cloud!r} in clouds.yaml (and not env:)")
        return config.get_one(cloud=cloud, **_named_region(region))
    except (
        openstack.exceptions.ConfigException,
        keystoneauth1.exceptions.ClientException,
    ) as exc:
        raise errors.ConfigError(f"cloud {cloud}: {exc}") from exc


def _region_of_environment(region: str | None) -> CloudRegion:
    try:
        config = openstack.config.OpenStackConfig(load_yaml_config=False, load_envvars=True)
        return config.get_one(**_named_region(region))
    except (
        openstack.exceptions.ConfigException,
        keystoneauth1.exceptions.ClientException,
    ) as exc:
        raise errors.ConfigError(f"env: {exc}") from exc


def _named_region(region: str | None) -> dict[str, str]:
    return {"region_name": region} if region else {}


def _of_region(
    region: CloudRegion, what: str, endpoint: EndpointOptions, transport: TransportOptions
) -> LoggedIn:
    """Return the identity of what openstacksdk made of a cloud, or of the variables."""
    _check_password(what, region.config)
    try:
        session = region.get_session()
    except (
        openstack.exceptions.ConfigException,
        keystoneauth1.exceptions.ClientException,
    ) as exc:
        raise errors.ConfigError(f"{what}: {exc}") from exc
    transport = _transport_of(session, transport)
    session.timeout = transport.timeout
    session.verify = False if transport.insecure else transport.cacert or True
    service = "object-store"
    identity = KeystoneIdentity(
        session,
        replace(
            endpoint,
            storage_url=endpoint.storage_url or region.get_endpoint(service) or None,
            region=endpoint.region or region.get_region_name() or None,
            interface=endpoint.interface or region.get_interface(service),
            service_type=endpoint.service_type or region.get_service_type(service),
        ),
    )
    return identity, transport


def _transport_of(
    session: keystone_session.Session, transport: TransportOptions
) -> TransportOptions:
    """Return how a cloud's servers are talked to: as was asked for, else as its entry says."""
    if not transport.insecure and transport.cacert is None:
        cacert = session.verify if isinstance(session.verify, str) else None
        transport = replace(transport, cacert=cacert, insecure=session.verify is False)
    certificate = session.cert if isinstance(session.cert, tuple) else (session.cert, None)
    return replace(transport, certificate=certificate[0], certificate_key=certificate[1])


def _is_password_login(settings: Mapping[str, Any]) -> bool:
    return settings.get("auth_type") in {None, "", "password", "v3password"}


def _check_password(what: str, settings: Mapping[str, Any]) -> None:
    """Refuse half a password login, which keystoneauth1 meets with a bare Exception, later."""
    if not _is_password_login(settings):
        return
    auth = settings.get("auth", {})
    missing = [] if auth.get("username") or auth.get("user_id") else ["username"]
    missing += [] if auth.get("password") else ["password"]
    if missing:
        verb = "OS_* variables give" if what == "env:" else "auth has"
        raise errors.ConfigError(
            f"{what.removesuffix(':')}: {verb} no {' and no '.join(missing)}"
        )
