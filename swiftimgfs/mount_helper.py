"""`mount.swiftimgfs`: what mount(8) runs for a line in fstab of the type swiftimgfs.

It speaks mount(8)'s language (its flags, its words for options, its exit statuses), and has
`swiftimgfs mount` do the rest, in the background: it returns when the mount serves.

Words that every filesystem is told are taken if they hold here anyway, or are for who reads
fstab. They mean something else to `swiftimgfs mount -o`, `user` for one.

Source: mount(8), "EXTERNAL HELPERS", "FILESYSTEM-INDEPENDENT MOUNT OPTIONS" and "EXIT
STATUS"; fuse(8) for those of FUSE; systemd.mount(5) for `x-systemd.*`.
"""

from __future__ import annotations

import argparse
import re
import sys
import traceback
from typing import TYPE_CHECKING, Final, NoReturn

from swiftimgfs import cli, errors
from swiftimgfs.config.settings import parse_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

EXIT_USAGE: Final = 1
EXIT_SYSTEM: Final = 2
EXIT_BUG: Final = 4
EXIT_INTERRUPTED: Final = 8
EXIT_FAILED: Final = 32
# What `swiftimgfs mount` exits with, as mount(8) says it.
STATUSES: Final = {
    0: 0,
    1: EXIT_FAILED,
    cli.EXIT_USAGE: EXIT_USAGE,
    cli.EXIT_INTERRUPTED: EXIT_INTERRUPTED,
}

EPILOG = """
A line in /etc/fstab (a blank in SOURCE is written \\040):
  mycloud:glance  /mnt/images  swiftimgfs  _netdev,ro,allow_other  0  0

OPTION is one of swiftimgfs mount --help, or of mount(8) and fuse(8).

Exit status, as mount(8) has it: 0 when it serves, 1 when what was asked for cannot be
understood, 2 when this host lacks memory or processes, 4 by a defect of swiftimgfs, 8 when
interrupted, 32 when Keystone, Swift or this host said no.
"""

# For mount(8), systemd or an administrator; or true of every mount of ours.
TAKEN: Final = frozenset(
    [
        "auto",
        "noauto",
        "user",
        "users",
        "nouser",
        "owner",
        "noowner",
        "group",
        "nogroup",
        "nofail",
        "_netdev",
        "defaults",
        "nosuid",
        "nodev",
        "async",
        "dirsync",
        "silent",
        "loud",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "lazytime",
        "nolazytime",
        "iversion",
        "noiversion",
        "mand",
        "nomand",
        "default_permissions",
    ]
)
TAKEN_BEGINNINGS: Final = ("x-", "X-", "user=", "comment=", "helper=", "uhelper=", "subtype=")


class _Parser(argparse.ArgumentParser):
    """A parser whose exit status for what it does not understand is mount(8)'s."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of what mount(8) calls us with."""
    parser = _Parser(
        prog="mount.swiftimgfs",
        description="Mount an image store for mount(8); not to be called by people.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE", help="what to mount")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    parser.add_argument(
        "-o",
        dest="options",
        metavar="OPTION[=VALUE],...",
        action="append",
        default=[],
        help="options of the line in fstab",
    )
    parser.add_argument("-t", dest="kind", metavar="TYPE", help="swiftimgfs, fuse.swiftimgfs")
    parser.add_argument("-r", "--read-only", action="store_true", help="the same as -o ro")
    parser.add_argument("-w", "--rw", action="store_true", help="the same as -o rw")
    parser.add_argument(
        "-f", "--fake", action="store_true", help="look at what is asked for, mount nothing"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    parser.add_argument(
        "-s", action="store_true", dest="is_sloppy", help="skip unknown options"
    )
    parser.add_argument("-n", action="store_true", help="nothing: there is no mtab")
    parser.add_argument("-N", metavar="NAMESPACE", help="nothing: mount(8) is in it already")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `mount.swiftimgfs`; return the exit status."""
    parsed = build_parser().parse_args(arguments)
    try:
        options = list(own_options(_given_words(parsed), is_sloppy=parsed.is_sloppy))
        if parsed.fake:
            return _fake(parsed, options)
        if parsed.verbose:
            _say(f"mounting {parsed.source} at {parsed.mountpoint} -o {','.join(options)}")
        return _mount(parsed.source, parsed.mountpoint, options)
    except errors.ConfigError as failure:
        _say(str(failure))
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (OSError, MemoryError) as failure:
        _say(str(failure) or "no memory")
        return EXIT_SYSTEM
    except Exception:  # a status of mount(8) for a defect; Python's own would be its "usage"
        traceback.print_exc()
        return EXIT_BUG


def own_options(words: Iterable[str], *, is_sloppy: bool = False) -> Iterator[str]:
    r"""Yield the options of a line in fstab that are for `swiftimgfs mount -o`.

    Args:
        words: One option each, a comma in one as `\,`.
        is_sloppy: Whether what nobody knows is left out, as mount(8)'s `-s` says.
    """
    for word in words:
        is_for_others = word in TAKEN or word.startswith(TAKEN_BEGINNINGS)
        if not is_for_others and (not is_sloppy or _is_known(word)):
            yield word


def _is_known(word: str) -> bool:
    try:
        parse_options([word])
    except errors.ConfigError as failure:
        return not str(failure).startswith("unknown option")
    return True


def _given_words(parsed: argparse.Namespace) -> Iterator[str]:
    """Yield the options in their order: the last of two that contradict each other holds."""
    for text in parsed.options:
        yield from (word.strip() for word in re.split(r"(?<!\\),", text) if word.strip())
    yield from ["ro"] * parsed.read_only
    yield from ["rw"] * parsed.rw


def _mount(source: str, mountpoint: str, options: Sequence[str]) -> int:
    flags = ["-o", ",".join(options)] if options else []
    # After --, a source or a directory is one, whatever it begins with.
    status = cli.main(["mount", *flags, "--", source, mountpoint])
    return STATUSES.get(status, EXIT_FAILED)


def _fake(parsed: argparse.Namespace, options: Sequence[str]) -> int:
    """Look at source and options as a mount would, and ask nobody."""
    from swiftimgfs.config.load import load_config  # noqa: PLC0415  # only who fakes waits for it

    load_config(parsed.source, parsed.mountpoint, options)
    if parsed.verbose:
        _say(f"would mount {parsed.source} at {parsed.mountpoint} -o {','.join(options)}")
    return 0


def _say(text: str) -> None:
    print(f"mount.swiftimgfs: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201
