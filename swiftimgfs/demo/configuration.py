"""The configuration files and settings of a one-node Swift.

One busy process serves everything, with nobody else to ask: hence the long timeouts and the
error limit that is never reached (a suppressed backend would be an outage).

Source: swift's etc/*.conf-sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from swiftimgfs.demo.options import KeystoneService, SwiftOptions, SwiftUser

TEMPAUTH_PREFIX = "AUTH"
DEVICE = "node"
_PATIENCE_SECONDS = "600"
# Bytes per step from disk to client and back: 1 MiB instead of 64 KiB, since each step costs
# four green threads a turn.
_STEP = str(1024 * 1024)

_SWIFT_CONF = Template("""\
[swift-hash]
# Names on disk depend on it: a directory is readable with this value only.
swift_hash_path_suffix = swiftimgfs-demo

$policies

[swift-constraints]
$constraints
""")

_PROXY_CONF = Template("""\
[DEFAULT]
swift_dir = $directory
log_custom_handlers = swiftimgfs.demo.log_file.log_to_file
log_file = $log_file

[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk \
tempurl $authentication copy container-quotas account-quotas slo dlo versioned_writes symlink \
proxy-logging proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
conn_timeout = $patience
node_timeout = $patience
client_timeout = $patience
error_suppression_limit = 1000000000
object_chunk_size = $step
client_chunk_size = $step

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:proxy-logging]
use = egg:swift#proxy_logging
# A line for each request would go to syslog, or to nobody.
access_log_level = WARNING

[filter:cache]
paste.filter_factory = swiftimgfs.demo.memory_cache:filter_factory

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:bulk]
use = egg:swift#bulk

[filter:tempurl]
use = egg:swift#tempurl
# Without sha1, about which Swift would warn at each start.
allowed_digests = sha256 sha512

$authentication_filters
[filter:copy]
use = egg:swift#copy

[filter:container-quotas]
use = egg:swift#container_quotas

[filter:account-quotas]
use = egg:swift#account_quotas

[filter:slo]
use = egg:swift#slo
rate_limit_segments_per_sec = $segments_per_second
$slo

[filter:dlo]
use = egg:swift#dlo
rate_limit_segments_per_sec = $segments_per_second

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true

[filter:symlink]
use = egg:swift#symlink
""")

_TEMPAUTH_FILTERS = Template("""\
[filter:tempauth]
use = egg:swift#tempauth
reseller_prefix = $prefix
$users
""")

_KEYSTONE_FILTERS = Template("""\
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = $auth_url
auth_type = password
auth_url = $auth_url
username = $username
password = $password
project_name = $project_name
user_domain_name = $user_domain_name
project_domain_name = $project_domain_name
# Without a token the request goes on: container ACLs may let anybody in.
delay_auth_decision = true
cache = swift.cache
include_service_catalog = false

[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = $reseller_prefix
operator_roles = admin, member, swiftoperator
project_reader_roles = reader
""")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in the embedded Swift's directory."""

    directory: Path

    @property
    def devices(self) -> Path:
        """Holds the one disk."""
        return self.directory / "devices"

    @property
    def log(self) -> Path:
        """What syslog would have got."""
        return self.directory / "swift.log"

    @property
    def lock(self) -> Path:
        """Held locked while a server uses the directory."""
        return self.directory / "lock"


def write_swift_conf(layout: Layout, options: SwiftOptions) -> None:
    """Write what Swift's modules read when they are imported."""
    policies = "\n".join(
        f"[storage-policy:{index}]\nname = {name}\ndefault = {'no' if index else 'yes'}"
        for index, name in enumerate(options.policies)
    )
    text = _SWIFT_CONF.substitute(constraints=_lines(options.constraints), policies=policies)
    (layout.directory / "swift.conf").write_text(text, encoding="utf-8")


def write_tempauth_proxy_conf(layout: Layout, options: SwiftOptions) -> Path:
    """Write the settings of the proxy that knows its users itself; return their file."""
    users = {_user_option(user): " ".join([user.key, *user.groups]) for user in options.users}
    filters = _TEMPAUTH_FILTERS.substitute(prefix=TEMPAUTH_PREFIX, users=_lines(users))
    return _write_proxy_conf(layout, options, "tempauth", filters)


def write_keystone_proxy_conf(
    layout: Layout, options: SwiftOptions, keystone: KeystoneService
) -> Path:
    """Write the settings of the proxy that asks Keystone; return their file."""
    filters = _KEYSTONE_FILTERS.substitute(
        auth_url=keystone.auth_url,
        username=keystone.username,
        password=keystone.password,
        project_name=keystone.project_name,
        user_domain_name=keystone.user_domain_name,
        project_domain_name=keystone.project_domain_name,
        reseller_prefix=keystone.reseller_prefix,
    )
    return _write_proxy_conf(layout, options, "authtoken keystoneauth", filters)


def backend_settings(layout: Layout) -> dict[str, str]:
    """Return the settings of the account, container and object servers and of the updater."""
    return {
        "swift_dir": str(layout.directory),
        "devices": str(layout.devices),
        "recon_cache_path": str(layout.directory),
        "log_custom_handlers": "swiftimgfs.demo.log_file.log_to_file",
        "log_file": str(layout.log),
        # The proxy has logged the request already.
        "log_requests": "false",
        "mount_check": "false",
        "fallocate_reserve": "0",
        "conn_timeout": _PATIENCE_SECONDS,
        "node_timeout": _PATIENCE_SECONDS,
        "client_timeout": _PATIENCE_SECONDS,
        # By default a listing that takes over a second to update is left to the object
        # updater, which does not run here: the object would never be listed.
        "container_update_timeout": _PATIENCE_SECONDS,
        "disk_chunk_size": _STEP,
        "network_chunk_size": _STEP,
        # Otherwise objects over 5 MiB are thrown out of the page cache.
        "keep_cache_size": str(2**62),
        "keep_cache_private": "true",
        "db_preallocation": "false",
        "containers_per_second": "1000000",
        # After a failed update, try again at the next sweep.
        "account_suppression_time": "0",
    }


def _write_proxy_conf(
    layout: Layout, options: SwiftOptions, authentication: str, filters: str
) -> Path:
    text = _PROXY_CONF.substitute(
        directory=layout.directory,
        log_file=layout.log,
        authentication=authentication,
        authentication_filters=filters,
        segments_per_second="1" if options.rate_limit_segments else "0",
        slo=_lines(options.slo),
        patience=_PATIENCE_SECONDS,
        step=_STEP,
    )
    path = layout.directory / f"proxy-{authentication.split(maxsplit=1)[0]}.conf"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _user_option(user: SwiftUser) -> str:
    return f"user_{user.account}_{user.name}"


def _lines(settings: Mapping[str, object]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in settings.items())
