"""clouds.yaml, and the `OS_*` variables that mean the same, through openstacksdk.

It is imported when somebody logs in that way: with all its services it would be a quarter
of what a mount's start costs, which mostly needs none of it.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keystoneauth1.exceptions
import yaml

from swiftimgfs import errors
from swiftimgfs.private_directory import is_open_to_all
from swiftimgfs.store.auth import KeystoneIdentity, check_authorities
from swiftimgfs.store.location import check_service_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystoneauth1.session import Session
    from openstack.config import OpenStackConfig
    from openstack.config.cloud_region import CloudRegion

    from swiftimgfs.store.auth import EndpointOptions, Identity, TransportOptions

FILE_VARIABLE = "OS_CLIENT_CONFIG_FILE"
OBJECT_STORE = "object-store"
SHOWN_CLOUDS = 20
# What openstacksdk adds: of the variables, and when a file has none.
MADE_UP_CLOUDS = ("envvars", "defaults")
# What a cloud's entry calls that which nobody else should read.
_SECRET: Final = re.compile("password|secret|token|passcode")
# Somebody who has a password needs no token, and the password's plugin takes none.
TOKEN_VARIABLES = ("OS_AUTH_TOKEN", "OS_TOKEN")


def region_of_cloud(
    cloud: str, region: str | None = None, key: str | None = None
) -> CloudRegion:
    """Return a cloud of clouds.yaml, with `key` for the secret that its entry leaves out.

    Raises:
        ConfigError: There is none of that name, or its entry cannot be understood.
    """
    with _understood(f"cloud {cloud}"):
        return _region_in(_config_with(cloud, key), cloud, region, key)


def identity_of_cloud(
    cloud: str, key: str | None, endpoint: EndpointOptions, transport: TransportOptions
) -> tuple[Identity, TransportOptions]:
    """Return the identity of a cloud of clouds.yaml; see `of_region`.

    It warns of a secret that everybody on this host can read.

    Raises:
        ConfigError: As `region_of_cloud` and `of_region` say.
    """
    with _understood(f"cloud {cloud}"):
        config = _config_with(cloud, key)
        region = _region_in(config, cloud, endpoint.region, key)
        warning = _shown_to_all(cloud, config)
    return of_region(region, f"cloud {cloud}", endpoint, transport, warning)


def region_of_environment(region: str | None = None, key: str | None = None) -> CloudRegion:
    """Return what the variables say; `OS_CLOUD` among them does not count.

    Raises:
        ConfigError: They cannot be understood.
    """
    import openstack.config  # noqa: PLC0415  -- late, see above

    # A variable OS_CLOUD would make openstacksdk read clouds.yaml: env: means the variables.
    with (
        _understood("env:"),
        _without("OS_CLOUD", *(() if _wants_token() else TOKEN_VARIABLES)),
    ):
        config = openstack.config.OpenStackConfig(
            load_yaml_config=False, load_envvars=True, pw_func=_asked(key)
        )
        return config.get_one(**_named(region))


def missing_key(region: CloudRegion, where: str) -> str | None:
    """Return whose password is missing, None when nobody's."""
    auth, user = region.config.get("auth") or {}, _user_of(region)
    lacks = _is_password_login(region.config) and user and not auth.get("password")
    return f"{user} {where}" if lacks else None


def of_region(
    region: CloudRegion,
    what: str,
    endpoint: EndpointOptions,
    transport: TransportOptions,
    warning: str = "",
) -> tuple[Identity, TransportOptions]:
    """Return the identity of a cloud, and how its servers are talked to.

    `what` is who asks, for messages; `warning` what the identity shall warn of.

    Raises:
        ConfigError: Something that its plugin takes is missing, or not to be understood.
    """
    auth = region.config.get("auth") or {}
    if auth.get("auth_url"):
        check_service_url(f"{what.removesuffix(':')}: auth_url", str(auth["auth_url"]))
    _check_password(what, region.config)
    with _understood(what):
        session = region.get_session()
    transport = _transport_of(session, transport, what)
    session.timeout = transport.timeout
    session.verify = False if transport.insecure else transport.cacert or True
    identity = KeystoneIdentity(
        session,
        replace(
            endpoint,
            storage_url=endpoint.storage_url or region.get_endpoint(OBJECT_STORE) or None,
            region=endpoint.region or region.get_region_name() or None,
            interface=endpoint.interface or region.get_interface(OBJECT_STORE),
            service_type=endpoint.service_type or region.get_service_type(OBJECT_STORE),
        ),
        f"{_user_of(region)} ({what})" if _user_of(region) else what,
        warning,
    )
    return identity, transport


def _user_of(region: CloudRegion) -> str:
    auth = region.config.get("auth") or {}
    return str(auth.get("username") or auth.get("user_id") or "")


def _config_with(cloud: str, key: str | None) -> OpenStackConfig:
    """Return openstacksdk's configuration, which has a cloud of that name."""
    import openstack.config  # noqa: PLC0415  -- late, see above

    _check_file()
    # With the variables: one of them says where clouds.yaml is.
    config = openstack.config.OpenStackConfig(load_envvars=True, pw_func=_asked(key))
    if cloud not in config.get_cloud_names():
        raise errors.ConfigError(f"no cloud {cloud[:80]!r}: {_looked_at(config)}")
    return config


def _region_in(
    config: OpenStackConfig, cloud: str, region: str | None, key: str | None
) -> CloudRegion:
    # What openstacksdk refuses for lack of a password may be about to get one.
    found = config.get_one(cloud=cloud, validate=False, **_named(region))
    if not missing_key(found, cloud):
        return config.get_one(cloud=cloud, **_named(region))
    if not key:
        return found
    return config.get_one(cloud=cloud, auth={"password": key}, **_named(region))


def _looked_at(config: OpenStackConfig) -> str:
    """Return where clouds were looked for, and which there are."""
    from openstack.config.loader import CONFIG_SEARCH_PATH  # noqa: PLC0415  -- late, see above

    if problems := "; ".join(_unusable_files(config)):
        return problems
    if config.config_filename is None:
        places = ", ".join(dict.fromkeys(CONFIG_SEARCH_PATH))
        return f"there is no clouds.yaml in {places}; {FILE_VARIABLE} can name one"
    names = [name for name in config.get_cloud_names() if name not in MADE_UP_CLOUDS]
    has = f"has {', '.join(map(str, names[:SHOWN_CLOUDS]))}" if names else "has none"
    more = ", …" if len(names) > SHOWN_CLOUDS else ""
    return f"{config.config_filename} {has}{more}"


def _unusable_files(config: OpenStackConfig) -> Iterator[str]:
    """Yield what is wrong with each clouds.yaml that openstacksdk has passed over."""
    from openstack.config.loader import CONFIG_FILES  # noqa: PLC0415  -- late, see above

    for name in CONFIG_FILES:
        if name == config.config_filename:
            return
        try:
            yaml.safe_load(Path(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
            reason = getattr(exc, "strerror", None) or "not YAML"
            yield f"{name}: {reason}"


def _shown_to_all(cloud: str, config: OpenStackConfig) -> str:
    """Return a warning of files that have a secret of a cloud and are open to everybody."""
    return "; ".join(
        f"everybody on this host can read {name}: chmod o-r {name}"
        for name in (config.config_filename, config.secure_config_filename)
        if name and is_open_to_all(Path(name)) and _has_secret(name, cloud)
    )


def _has_secret(name: str, cloud: str) -> bool:
    found = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    entry = (found.get("clouds") or {}).get(cloud) or {}
    return any(_SECRET.search(str(key)) for key in (entry.get("auth") or {}))


def _check_file() -> None:
    """Refuse a file that was named and cannot be used: openstacksdk would take another one."""
    name = os.environ.get(FILE_VARIABLE)
    if not name:
        return
    try:
        found = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        reason = getattr(exc, "strerror", None) or "not YAML"
        raise errors.ConfigError(f"{FILE_VARIABLE}={name}: {reason}") from None
    if not isinstance(found, dict):
        raise errors.ConfigError(f"{FILE_VARIABLE}={name}: no clouds in it")


@contextlib.contextmanager
def _understood(what: str) -> Iterator[None]:
    """Raise whatever openstacksdk and the plugins make of bad settings as one clear line."""
    import openstack.exceptions  # noqa: PLC0415  -- late, see above

    try:
        yield
    except (
        openstack.exceptions.ConfigException,
        keystoneauth1.exceptions.ClientException,
    ) as exc:
        raise errors.ConfigError(f"{what}: {exc}") from exc
    except TypeError as exc:  # a plugin's constructor: what it lacks, or does not take
        reason = str(exc).rpartition("__init__() ")[2]
        raise errors.ConfigError(f"{what}: its auth_type: {reason}") from None
    except (ValueError, AttributeError, KeyError, RecursionError) as exc:
        reason = f"its settings cannot be understood ({type(exc).__name__})"
        raise errors.ConfigError(f"{what}: {reason}") from None


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Hide variables from openstacksdk, which reads the process's own."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _wants_token() -> bool:
    return "token" in os.environ.get("OS_AUTH_TYPE", "")


def _asked(key: str | None) -> Any:  # noqa: ANN401  # a function, or nothing
    return (lambda _prompt: key) if key else None


def _named(region: str | None) -> dict[str, str]:
    return {"region_name": region} if region else {}


def _transport_of(session: Session, transport: TransportOptions, what: str) -> TransportOptions:
    """Return how a cloud's servers are talked to: as was asked for, else as its entry says."""
    if not transport.insecure and transport.cacert is None:
        cacert = session.verify if isinstance(session.verify, str) else None
        if cacert:
            check_authorities(f"{what.removesuffix(':')}: cacert", cacert)
        transport = replace(transport, cacert=cacert, insecure=session.verify is False)
    certificate = session.cert if isinstance(session.cert, tuple) else (session.cert, None)
    return replace(transport, certificate=certificate[0], certificate_key=certificate[1])


def _is_password_login(settings: Mapping[str, Any]) -> bool:
    return settings.get("auth_type") in {None, "", "password", "v3password", "v1password"}


def _check_password(what: str, settings: Mapping[str, Any]) -> None:
    """Refuse half a password login, which keystoneauth1 meets with a bare Exception, later."""
    if not _is_password_login(settings):
        return
    auth = settings.get("auth") or {}
    missing = [] if auth.get("username") or auth.get("user_id") else ["username"]
    missing += [] if auth.get("password") else ["password"]
    if missing:
        verb = "OS_* variables give" if what == "env:" else "auth has"
        raise errors.ConfigError(
            f"{what.removesuffix(':')}: {verb} no {' and no '.join(missing)}"
        )
