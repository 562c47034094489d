"""`swiftimgfs refresh`: see now what other hosts did, whatever a mount still believes."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

from swiftimgfs import errors
from swiftimgfs.commands.mounted import check_mounted
from swiftimgfs.commands.source import EXIT_FAILED, give_up, printable

# To ask for it is enough, which who may only read can do, and on a read-only mount.
REFRESH: Final = "user.swift.refresh"

EPILOG = """
A mount believes what it knows of an image for attr_timeout (1 s) and of a directory for
list_timeout (60 s). This has it ask Swift for what is at PATH from now on; of a directory
also for everything in it, however deep. Nothing is fetched before somebody looks. The same
without this command:
  setfattr -n user.swift.refresh -v 1 PATH

example:
  swiftimgfs refresh /mnt/images/golden

Exit status: 0, 1 when something is not there or could not be asked for, 2 when a path is in
no mount of swiftimgfs.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "refresh",
        help="see now what other hosts did",
        description="Have a mount forget how old what it knows may be.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="an image or a directory in a mount"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    try:
        check_mounted(arguments.paths)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    status = 0
    for path in arguments.paths:
        try:
            _refresh(path)
        except OSError as exc:
            print(  # noqa: T201
                printable(f"swiftimgfs: {path}: {exc.strerror}"), file=sys.stderr
            )
            status = EXIT_FAILED
    return status


def _refresh(path: str) -> None:
    """Ask for it; of what does not seem to be there, look at its directory first."""
    try:
        os.getxattr(path, REFRESH)
    except FileNotFoundError:
        os.getxattr(os.path.dirname(path) or ".", REFRESH)  # noqa: PTH120  # as given
        os.stat(path)  # noqa: PTH116
