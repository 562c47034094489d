"""What the verbs that take a SOURCE have in common: help, `-o`, passwords, and giving up."""

from __future__ import annotations

import getpass
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.mount_process import NobodyWaitsError, tell_parent
from swiftimgfs.store.login import KEY_VARIABLE, missing_key

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from swiftimgfs.config.source import Source

log = logging.getLogger(__name__)

EXIT_FAILED = 1  # the cloud or this host said no
EXIT_USAGE = 2  # what was asked for cannot be understood

SOURCE_HELP = """\
SOURCE is one of
  NAME                       a cloud of clouds.yaml
  env:                       OS_AUTH_URL and its companions (Keystone), ST_AUTH, ST_USER and
                             ST_KEY (tempauth), or OS_STORAGE_URL and OS_AUTH_TOKEN
  glance:FILE[#BACKEND]      the Swift store of a glance-api.conf
  swift+https://...          a Swift location: with a user that of Keystone
                             (swift+https://project%3Auser:@keystone/v3), without one the URL of
                             the account (swift+https://swift/v1/AUTH_abc), or a reference of
                             Glance (swift+config://ref1 with -o config_file=FILE)
  @FILE                      a file that holds one of these
and takes :CONTAINER or :CONTAINER/PREFIX (a location: /CONTAINER/PREFIX; not @FILE, which has it
inside) to mount a part of it.
Passwords come from files, the environment or a prompt, never from the command line.
"""


def add_option_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `-o` and `--config-file`."""
    parser.add_argument(
        "-o",
        dest="options",
        metavar="OPTION[=VALUE],...",
        action="append",
        default=[],
        help="options, as swiftimgfs mount --help lists them",
    )
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        type=lambda text: Path(text).absolute(),
        help="instead of /etc/swiftimgfs/swiftimgfs.conf and ~/.config/swiftimgfs/swiftimgfs.conf",
    )


def with_key(source: Source, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment, with the password that is still missing, asked for.

    Raises:
        ConfigError: It is missing, and there is nobody to ask.
    """
    whose = missing_key(source.login, environ)
    if whose is None:
        return environ
    if not sys.stdin.isatty():
        raise errors.ConfigError(
            f"no password of {whose}: set {KEY_VARIABLE}, or start from a terminal to be asked"
        )
    try:
        key = getpass.getpass(f"Password of {whose}: ")
    except (EOFError, UnicodeDecodeError):
        key = ""
    if not key:
        raise errors.ConfigError(f"no password of {whose}")
    return {**environ, KEY_VARIABLE: key}


def give_up(failure: errors.SwiftImgFsError) -> int:
    """Say in one line what went wrong, to who started us; return the exit status."""
    message = printable(" ".join(str(failure).split()))
    try:
        is_told = tell_parent(message)
    except NobodyWaitsError:
        log.error("not mounted reason=%s", message)  # noqa: TRY400  # a reason, and no defect
        is_told = False
    if not is_told:
        print(f"swiftimgfs: {message}", file=sys.stderr)  # noqa: T201
    return EXIT_USAGE if isinstance(failure, errors.ConfigError) else EXIT_FAILED


def printable(text: str) -> str:
    """Return text with its control characters escaped: names in a store are anybody's."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def format_age(seconds: float) -> str:
    """Return an age in its two largest units."""
    whole = max(0, int(seconds))
    units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]
    parts: list[str] = []
    for unit, length in units:
        count, whole = divmod(whole, length)
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
