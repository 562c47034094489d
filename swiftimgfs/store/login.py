"""Ways to log in, and the identity that each gives.

A login is a value: it says where credentials are, and has none but those that a file of
ours or of Glance's held. The identity is made from it when the mount starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3

from swiftimgfs import errors
from swiftimgfs.store import clouds
from swiftimgfs.store.auth import (
    FixedIdentity,
    KeystoneIdentity,
    LegacyIdentity,
    check_authorities,
)
from swiftimgfs.store.location import check_service_url
from swiftimgfs.store.references import AccountReference
from swiftimgfs.store.trusts import CallerIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.store.auth import EndpointOptions, Identity, TransportOptions

# A password that was typed at a prompt, or that somebody has set for us.
KEY_VARIABLE = "SWIFTIMGFS_KEY"
APPLICATION_CREDENTIAL = "an application credential"


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
        auth_url: Of Keystone, when a configuration names it.
        service: Whom Keystone is to trust with the caller's roles; None for nobody.
    """

    storage_url: str | None
    service: AccountReference | None
    auth_url: str | None = None


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
            key = environ.get(KEY_VARIABLE)
            return clouds.identity_of_cloud(cloud, key, endpoint, transport)
        case ReferenceLogin(reference):
            key = reference.key or environ.get(KEY_VARIABLE, "")
            return _of_reference(replace(reference, key=key), endpoint, transport), transport
        case CallerLogin():
            return _of_caller(login, endpoint, transport, environ)
        case EnvironmentLogin():
            return _of_environment(endpoint, transport, environ)


def name_of(login: Login, environ: Mapping[str, str]) -> str:
    """Return who logs in, for people: nothing of it is secret."""
    match login:
        case CloudLogin(cloud):
            return f"cloud {cloud}"
        case ReferenceLogin(reference):
            return reference.user or APPLICATION_CREDENTIAL
        case CallerLogin():
            return "whoever calls"
        case EnvironmentLogin():
            return _name_in(environ)


def _name_in(environ: Mapping[str, str]) -> str:
    if user := environ.get("ST_USER"):
        return user
    user, project = environ.get("OS_USERNAME"), environ.get("OS_PROJECT_NAME")
    if user:
        return f"{project}:{user}" if project else user
    is_credential = any(name.startswith("OS_APPLICATION_CREDENTIAL_") for name in environ)
    return APPLICATION_CREDENTIAL if is_credential else "a token"


def missing_key(login: Login, environ: Mapping[str, str]) -> str | None:
    """Return whose password somebody has to be asked for, None when nobody's."""
    if environ.get(KEY_VARIABLE):
        return None
    match login:
        case ReferenceLogin(reference) if reference.user and not reference.key:
            return f"{reference.user} at {reference.auth_address}"
        case CloudLogin(cloud):
            return clouds.missing_key(clouds.region_of_cloud(cloud), f"of cloud {cloud}")
        case EnvironmentLogin() if _is_password_login(environ):
            return clouds.missing_key(clouds.region_of_environment(), "of the environment")
        case _:
            return None


def _is_password_login(environ: Mapping[str, str]) -> bool:
    """Return whether the variables are of Keystone, and make a login without a token."""
    has_user = bool(environ.get("OS_USERNAME") or environ.get("OS_USER_ID"))
    is_other = "ST_AUTH" in environ or bool(environ.get("OS_AUTH_TYPE"))
    return (
        "OS_AUTH_URL" in environ and has_user and not is_other and not _has_token_only(environ)
    )


def _has_token_only(environ: Mapping[str, str]) -> bool:
    """Return whether a token is all there is to log in with."""
    is_other = bool(environ.get("OS_AUTH_TYPE") or environ.get("OS_PASSWORD"))
    return bool(_token_in(environ)) and not is_other


# ── the environment ────────────────────────────────────────────────────────────────────


def _of_environment(
    endpoint: EndpointOptions, transport: TransportOptions, environ: Mapping[str, str]
) -> LoggedIn:
    if "ST_AUTH" in environ:
        return _of_reference(_legacy_reference(environ), endpoint, transport), transport
    token, storage_url = _token_in(environ), environ.get("OS_STORAGE_URL")
    if storage_url:
        check_service_url("OS_STORAGE_URL", storage_url)
        endpoint = replace(endpoint, storage_url=endpoint.storage_url or storage_url)
        if token:
            identity = FixedIdentity(endpoint.storage_url or storage_url, token)
            return identity, _with_certificates(transport, environ)
    if "OS_AUTH_URL" not in environ:
        raise errors.ConfigError(
            "env: none of these is set: ST_AUTH, ST_USER and ST_KEY; OS_AUTH_URL and its"
            " companions; OS_STORAGE_URL and OS_AUTH_TOKEN"
        )
    if _has_token_only(environ):
        return _of_token(token, environ["OS_AUTH_URL"], None, endpoint, transport, environ)
    region = clouds.region_of_environment(endpoint.region, environ.get(KEY_VARIABLE))
    return clouds.of_region(region, "env:", endpoint, transport)


def _legacy_reference(environ: Mapping[str, str]) -> AccountReference:
    key = environ.get("ST_KEY") or environ.get(KEY_VARIABLE, "")
    missing = [
        name
        for name, text in (("ST_USER", environ.get("ST_USER")), ("ST_KEY", key))
        if not text
    ]
    if missing:
        raise errors.ConfigError(f"env: ST_AUTH is set, but not {' and '.join(missing)}")
    check_service_url("ST_AUTH", environ["ST_AUTH"])
    return AccountReference(
        "",
        environ["ST_AUTH"],
        environ["ST_USER"],
        key,
        auth_version=environ.get("ST_AUTH_VERSION", "1"),  # the swift CLI's default with ST_*
    ).with_domains()


def _token_in(environ: Mapping[str, str]) -> str:
    name = next((name for name in clouds.TOKEN_VARIABLES if environ.get(name)), None)
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
    who = reference.user or APPLICATION_CREDENTIAL
    who += f" (reference {reference.name})" if reference.name else ""
    return KeystoneIdentity(_session_of(reference, transport), endpoint, who)


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
    service = login.service
    auth_url = service.auth_url if service else login.auth_url or environ.get("OS_AUTH_URL")
    if auth_url is None:
        if endpoint.storage_url is None:
            raise errors.ConfigError(
                "OS_AUTH_TOKEN is set, but neither OS_AUTH_URL nor a storage URL"
            )
        identity = FixedIdentity(endpoint.storage_url, token)
        return identity, _with_certificates(transport, environ)
    return _of_token(token, auth_url, service, endpoint, transport, environ)


def _of_token(
    token: str,
    auth_url: str,
    service: AccountReference | None,
    endpoint: EndpointOptions,
    transport: TransportOptions,
    environ: Mapping[str, str],
) -> LoggedIn:
    """Return the identity of somebody with a token, whom the service user may act for."""
    check_service_url("the identity service", auth_url)
    transport = _with_certificates(transport, environ)

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
    cacert = environ.get("OS_CACERT")
    if transport.cacert or not cacert:
        return transport
    check_authorities("OS_CACERT", cacert)
    return replace(transport, cacert=cacert)


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
