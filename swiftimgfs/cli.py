"""The command line: find the verb, run it, return its exit status."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import importlib
import os
import sys
import warnings
from importlib import metadata
from typing import TYPE_CHECKING

from swiftimgfs.credentials import take_up_credentials
from swiftimgfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


# Each is a module of swiftimgfs.commands, in the order of --help.
VERBS = (
    "mount",
    "umount",
    "status",
    "check",
    "verify",
    "refresh",
    "set-acls",
    "retry",
    "gc",
    "demo",
)
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
UNWRITABLE = {errno.ENOSPC, errno.EPIPE, errno.EIO}


def build_parser(verb: str = "") -> argparse.ArgumentParser:
    """Return the parser of all verbs, or of `verb` alone: what others import costs time."""
    parser = argparse.ArgumentParser(
        prog="swiftimgfs", description="Mount an OpenStack Swift image store as a filesystem."
    )
    version = metadata.version("swiftimgfs")
    parser.add_argument("--version", action="version", version=f"swiftimgfs {version}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in (verb,) if verb in VERBS else VERBS:
        module = importlib.import_module(f"swiftimgfs.commands.{name.replace('-', '_')}")
        module.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `swiftimgfs`; return the exit status."""
    _open_standard_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries warn of is for who works on us
    given = sys.argv[1:] if arguments is None else arguments
    with _uncollected():
        parser = build_parser(given[0] if given else "")
    parsed = parser.parse_args(given)
    try:
        take_up_credentials(os.environ)
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except ConfigError as failure:
        print(f"swiftimgfs: {failure}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as exc:
        if exc.errno not in UNWRITABLE:
            raise
        print(f"swiftimgfs: standard output: {exc.strerror}", file=sys.stderr)  # noqa: T201
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or exiting fails too
        return 1
    return status


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage while modules are imported: there is none, and all of them stay.

    It would be a sixth of the time that a command takes to start.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _open_standard_streams() -> None:
    """Have the three that everybody counts on, where somebody started us without them.

    A pipe of ours would get their numbers otherwise.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))
