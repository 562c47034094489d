"""The options of Glance's Swift driver, under their names, with their types, defaults and limits.

Source: glance_store's Swift driver, which a test compares this table with. The sizes are
in the driver's unit, "MB" of 1,024,000 bytes.
"""

from __future__ import annotations

from oslo_config import cfg

GLANCE_MB = 1000 * 1024

_PLACE = (
    cfg.BoolOpt(
        "swift_store_auth_insecure",
        default=False,
        help="Do not verify the certificates of Keystone and Swift.",
    ),
    cfg.StrOpt(
        "swift_store_cacert",
        sample_default="/etc/ssl/certs/ca-certificates.crt",
        help="File of CA certificates for Keystone and Swift, instead of the system's.",
    ),
    cfg.StrOpt(
        "swift_store_region",
        sample_default="RegionTwo",
        help="Region of the Swift endpoint in Keystone's catalog.",
    ),
    cfg.StrOpt(
        "swift_store_endpoint",
        sample_default="https://swift.openstack.example.org/v1/path_not_including_container_name",
        help="URL of the account, instead of the one in Keystone's catalog.",
    ),
    cfg.StrOpt(
        "swift_store_endpoint_type",
        default="publicURL",
        choices=["publicURL", "adminURL", "internalURL"],
        help="Which of the catalog's interfaces is used.",
    ),
    cfg.StrOpt(
        "swift_store_service_type",
        default="object-store",
        help="Service type of Swift in Keystone's catalog.",
    ),
)

_CONTAINERS = (
    cfg.StrOpt(
        "swift_store_container",
        default="glance",
        help="Container of the images, or what the names of several of them begin with.",
    ),
    cfg.IntOpt(
        "swift_store_multiple_containers_seed",
        default=0,
        min=0,
        max=32,
        help="How many characters of an image's id its container's name has; 0: one container.",
    ),
    cfg.BoolOpt(
        "swift_store_create_container_on_put",
        default=False,
        help="Make a container that an image needs and that is missing.",
    ),
)

_LARGE_OBJECTS = (
    cfg.IntOpt(
        "swift_store_large_object_size",
        default=5120,
        min=1,
        help="From which size on Glance stores an image in segments, in MB of 1,024,000 bytes.",
    ),
    cfg.IntOpt(
        "swift_store_large_object_chunk_size",
        default=200,
        min=1,
        help="Size of Glance's segments, in MB of 1,024,000 bytes.",
    ),
)

_TENANTS = (
    cfg.BoolOpt(
        "swift_store_multi_tenant",
        default=False,
        help="Images are in the account of who made them, each in a container of its own.",
    ),
    cfg.ListOpt(
        "swift_store_admin_tenants",
        default=[],
        help="Projects that every write ACL lets in.",
    ),
    cfg.BoolOpt(
        "swift_store_use_trusts",
        default=True,
        help="In a multi-tenant store, have Keystone trust the service user, to outlive a token.",
    ),
)

_TRANSFER = (
    cfg.BoolOpt(
        "swift_store_ssl_compression",
        default=True,
        help="Compress inside TLS: no effect, as in today's swiftclient.",
    ),
    cfg.IntOpt(
        "swift_store_retry_get_count",
        default=0,
        min=0,
        help="How often a broken read is resumed; 0: as `retries` says.",
    ),
    cfg.IntOpt(
        "swift_store_expire_soon_interval",
        default=60,
        min=0,
        help="Seconds before its end at which a token is renewed.",
    ),
    cfg.BoolOpt(
        "swift_buffer_on_upload",
        default=False,
        help="Buffer uploads, so that they can be sent again: a mount always does.",
    ),
    cfg.StrOpt(
        "swift_upload_buffer_dir",
        help="Directory of those buffers; it must be there when they are asked for.",
    ),
)

_CREDENTIALS = (
    cfg.StrOpt(
        "default_swift_reference",
        default="ref1",
        help="Which reference of swift_store_config_file logs in.",
    ),
    cfg.StrOpt(
        "swift_store_config_file",
        help="File of references: how to log in, each in a section of its own.",
    ),
    cfg.StrOpt(
        "swift_store_auth_version",
        default="3",
        choices=["3"],
        help="Version of the identity service; 3 whatever is said.",
    ),
    cfg.StrOpt(
        "swift_store_auth_address",
        help="URL of Keystone, where no reference file is used.",
    ),
    cfg.StrOpt("swift_store_user", secret=True, help="project:user, without a reference file."),
    cfg.StrOpt("swift_store_key", secret=True, help="Password, without a reference file."),
    cfg.StrOpt(
        "swift_store_application_credential_id",
        secret=True,
        help="Application credential to log in with instead of user and key.",
    ),
    cfg.StrOpt(
        "swift_store_application_credential_secret",
        secret=True,
        help="Secret of the application credential.",
    ),
    cfg.StrOpt(
        "swift_store_project_name",
        help="Project of the application credential, which knows it itself.",
    ),
    cfg.StrOpt(
        "swift_store_project_id",
        help="Project of the application credential, which knows it itself.",
    ),
)

GLANCE_OPTIONS: tuple[cfg.Opt, ...] = (
    *_PLACE,
    *_CONTAINERS,
    *_LARGE_OBJECTS,
    *_TENANTS,
    *_TRANSFER,
    *_CREDENTIALS,
)
