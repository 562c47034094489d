"""The table of our own options: the group `[swiftimgfs]`, and what `-o` takes.

`--help`, the sample file and docs/configuration.md are all made from it. It is also the
entry point `oslo.config.opts`, so that `oslo-config-generator --namespace swiftimgfs`
writes the sample as for any OpenStack service.
"""

from __future__ import annotations

import difflib

from oslo_config import cfg, types

from swiftimgfs.config.glance_options import GLANCE_OPTIONS
from swiftimgfs.config.types import KIB, Endpoint, Number, Seconds, Size, Umask
from swiftimgfs.writing.digests import ALGORITHMS
from swiftimgfs.writing.options import LargeObject

GROUP = "swiftimgfs"
SMALLEST_SEGMENT = 4 * KIB
SMALLEST_MEMORY = 8 * KIB**2
SMALLEST_CACHE = KIB**2
LARGEST_ID = 2**32 - 2  # of a user or a group; one more means "nobody said" to Linux
SIMILAR = 0.8  # of 1: what is worth asking whether it was meant


def _option(
    name: str, kind: types.ConfigType, text: str, *, default: str | None = None, unset: str = ""
) -> cfg.Opt:
    """Return an option; `unset` says what holds when there is no fixed default."""
    return cfg.Opt(name, type=kind, help=text, default=default, sample_default=unset or None)


def _flag(name: str, text: str) -> cfg.Opt:
    return cfg.BoolOpt(name, default=False, help=text)


OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        "layout",
        default="raw",
        choices=[
            ("raw", "containers are directories, images are files in them"),
            ("images", "one flat directory of the image ids of all of Glance's containers"),
        ],
        help="What the mount's root shows.",
    ),
    cfg.StrOpt(
        "large_object",
        default=LargeObject.SLO.value,
        choices=[
            (LargeObject.SLO.value, "a static large object of segments of segment_size"),
            (
                LargeObject.GLANCE.value,
                "a dynamic large object as Glance's driver writes it, with its sizes and names",
            ),
        ],
        help="How large images are stored.",
    ),
    _option(
        "segment_size", Size(SMALLEST_SEGMENT), "Size of uploaded segments.", default="64M"
    ),
    _option(
        "large_object_size",
        Size(1),
        "From which size on an image is stored in segments.",
        unset="one segment",
    ),
    _option(
        "memory_limit",
        Size(SMALLEST_MEMORY),
        "Memory of a mount: for read-ahead, blocks, data that is not in Swift yet, and itself.",
        unset="512M, or a quarter of what the host or its cgroup has",
    ),
    cfg.StrOpt(
        "cache_dir",
        help="Directory for blocks that were read, its whole path: later mounts, and others of"
        " this host, find them there.",
        sample_default="none",
    ),
    _option(
        "cache_size",
        Size(SMALLEST_CACHE),
        "How much of the disk they may take, of all mounts that use the directory.",
        default="10G",
    ),
    _option(
        "spool_size",
        Size(SMALLEST_MEMORY),
        "Bytes that may wait for Swift, in memory and on this host's disk.",
        default="1G",
    ),
    cfg.StrOpt(
        "spool_dir",
        help="Directory of what waits for Swift, and of the journal of uploads, its whole path;"
        " with XDG_STATE_HOME set, the default is in there.",
        sample_default="~/.local/state/swiftimgfs, of root /var/lib/swiftimgfs",
    ),
    _option(
        "keep_replaced",
        Seconds(),
        "Seconds for which segments stay that an edit has replaced, for who reads them elsewhere.",
        default="0",
    ),
    _option("connections", Number(1), "Parallel requests to Swift.", default="8"),
    _option(
        "timeout",
        Seconds(may_be_zero=False),
        "Seconds that a server may be silent.",
        default="60",
    ),
    _option("retries", Number(1), "Tries of one request.", default="5"),
    cfg.StrOpt(
        "hashing_algo",
        default="sha256",
        choices=["none", *sorted(ALGORITHMS)],
        help="Digest that is stored with an image that was written in order.",
    ),
    cfg.StrOpt(
        "signature_certificates",
        sample_default="none",
        help="Directory of the certificates, <UUID>.pem, that signatures of images are"
        " verified with.",
    ),
    cfg.StrOpt(
        "mtime",
        default="exact",
        choices=[
            (
                "exact",
                (
                    "as stored with each image; where a few that are asked have none, only of one"
                    " that is looked at alone"
                ),
            ),
            ("every", "as stored with each image, whatever others have"),
            ("listing", "when Swift stored it, as the listing says"),
        ],
        help="Which modification time an image shows.",
    ),
    cfg.BoolOpt(
        "verify", default=True, help="Compare whole segments with their MD5 as they are read."
    ),
    _option(
        "attr_timeout",
        Seconds(),
        "Seconds for which an image is not asked for again.",
        default="1",
    ),
    _option(
        "list_timeout",
        Seconds(),
        "Seconds for which a listing is not asked for again.",
        default="60",
    ),
    cfg.StrOpt(
        "storage_policy",
        help="Storage policy of containers that are made: by mkdir, and for segments.",
        sample_default="the cluster's",
    ),
    _flag("show_segments", "Show the segments of large images too."),
    _flag("allow_glance_writes", "Change also images that Glance wrote."),
    _flag("last_writer_wins", "Replace images that others changed meanwhile."),
    _flag("ro", "Mount read-only."),
    _flag("allow_other", "Let other users in."),
    _flag("noexec", "Let nobody run programs that are in the mount."),
    _option(
        "uid", Number(0, LARGEST_ID), "Owner of what has none stored.", unset="the caller's"
    ),
    _option(
        "gid", Number(0, LARGEST_ID), "Group of what has none stored.", unset="the caller's"
    ),
    _option("umask", Umask(), "Permission bits that nobody gets.", unset="the caller's"),
    _flag("insecure", "Do not verify the servers' certificates."),
    cfg.StrOpt(
        "log_file",
        help="Where a mount in the background writes its log; - for its standard error, journal"
        " for systemd's.",
        sample_default="~/.local/state/swiftimgfs/<mount point>.log",
    ),
    cfg.StrOpt(
        "log_level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="What is the least that is written to the log.",
    ),
    cfg.StrOpt(
        "log_format",
        default="text",
        choices=[("text", "a line for people"), ("json", "an object in a line, for programs")],
        help="How each event is written.",
    ),
    _option(
        "metrics",
        Endpoint(),
        "Where Prometheus finds metrics: on a port of 127.0.0.1, at ADDRESS:PORT, or in a file"
        " (/…/swiftimgfs.prom) for node_exporter's textfile collector.",
        unset="nowhere",
    ),
)


def short_name(name: str) -> str:
    """Return what a Glance option is called with `-o`, when that is not one of ours."""
    for prefix in ("swift_store_", "swift_"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


_OWN_NAMES = frozenset(option.name for option in OPTIONS)
SHORT_NAMES = {
    short: option.name
    for option in GLANCE_OPTIONS
    if (short := short_name(option.name)) != option.name and short not in _OWN_NAMES
}
BY_NAME: dict[str, cfg.Opt] = {option.name: option for option in (*OPTIONS, *GLANCE_OPTIONS)}
NAMES = (*BY_NAME, *SHORT_NAMES)


def unknown_option(name: str) -> str:
    """Return that no option is called so, and which may have been meant."""
    similar = difflib.get_close_matches(name, NAMES, 1, SIMILAR)
    hint = f"did you mean {similar[0]}?" if similar else "see swiftimgfs mount --help"
    return f"unknown option {name!r} ({hint})"


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options as `oslo-config-generator` asks for them."""
    return [(GROUP, [*OPTIONS, *GLANCE_OPTIONS])]
