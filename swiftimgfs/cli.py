"""The command line: find the verb, run it, return its exit status."""

from __future__ import annotations

import argparse
from importlib import metadata
from typing import TYPE_CHECKING

from swiftimgfs.commands import check, demo, mount

if TYPE_CHECKING:
    from collections.abc import Sequence


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="swiftimgfs", description="Mount an OpenStack Swift image store as a filesystem."
    )
    version = metadata.version("swiftimgfs")
    parser.add_argument("--version", action="version", version=f"swiftimgfs {version}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in (mount, check, demo):
        verb.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `swiftimgfs`; return the exit status."""
    parsed = build_parser().parse_args(arguments)
    status: int = parsed.run(parsed)
    return status
