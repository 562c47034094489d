"""`swiftimgfs status`: what the mounts of this host do, and their uploads that are not done."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.live import Live

from swiftimgfs import errors
from swiftimgfs.commands.source import EXIT_FAILED, add_option_arguments, give_up
from swiftimgfs.commands.status_view import Seen, render
from swiftimgfs.commands.uploads import is_bad, upload_fields
from swiftimgfs.config.load import state_directory
from swiftimgfs.config.settings import Settings, parse_options, read_own_files
from swiftimgfs.control.client import ask_all, state_directories
from swiftimgfs.control.mounts import resolved
from swiftimgfs.control.report import format_report
from swiftimgfs.writing.state_directory import Found, StateDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.control.client import Asked
    from swiftimgfs.control.report import Report
    from swiftimgfs.writing.state_directory import Damaged

VERSION: Final = 1  # of what --json prints
PIPE_WIDTH: Final = 10_000
BETWEEN_LOOKS: Final = 0.5  # seconds, for a rate; --watch looks once a second
REFRESH_SECONDS: Final = 1.0

EPILOG = """
Each mount is asked over a socket that only its owner and root can open; root sees the mounts of
all users. Uploads are those of the state directory (-o spool_dir=DIRECTORY for another one), and
those of your own mounts, wherever their spool_dir is.

states of uploads:
  uploading    segments are on their way, and no manifest names them
  committing   the image itself is being stored
  deleting     it is stored; what it replaced is on its way out
  cleaning up  it could not be stored, who wrote it was told, and nothing is kept; what Swift has
               of it is being deleted, by this mount when Swift answers, or by the next one
  recovering   its mount died; another asks Swift what came true, and cleans up or finishes
  left behind  the mount died: the next mount of the account cleans up, or finishes
  interrupted  the mount was made to leave at once: the next mount of the account sends it
  failed       who wrote it was told the errno; the bytes are kept: swiftimgfs retry
  damaged      the journal cannot be understood

examples:
  swiftimgfs status
  swiftimgfs status /mnt/images --watch
  swiftimgfs status --json | jq '.mounts[] | {mountpoint, state}'

Exit status: 0; 1 when an upload failed or is damaged, a mount is dead or does not answer, or
nothing is mounted at MOUNTPOINT; 2 when what was asked for cannot be understood.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "status",
        help="show what the mounts of this host do, and what waits for Swift",
        description="Show what the mounts of this host do, and the uploads that are going on,"
        " were left behind, or have failed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", type=Path)
    add_option_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument(
        "--watch",
        "-w",
        action="store_true",
        help="show it again every second, until Ctrl-C (with --json: one line each)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    try:
        settings = Settings.of(
            read_own_files(arguments.config_file), parse_options(arguments.options)
        )
        looks = _looks(state_directory(settings), arguments.mountpoint)
        if arguments.json:
            seen = _print_json(looks, is_watching=arguments.watch)
        else:
            seen = _print(looks, is_watching=arguments.watch)
        return _exit_status(seen, is_named=arguments.mountpoint is not None)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)


def _looks(directory: Path, mountpoint: Path | None) -> Iterator[Seen]:
    """Yield what there is to see, each time that it is asked for.

    Raises:
        MountError: Nothing is mounted at `mountpoint`.
    """
    before: dict[str, Report] = {}
    place = resolved(mountpoint) if mountpoint else None
    while True:
        asked = ask_all(state_directories(directory), place)
        if place and not asked:
            raise errors.MountError(f"{place} is no mount of swiftimgfs")
        told = [one.state_directory for one in asked if one.state_directory is not None]
        uploads = [
            upload
            for path in dict.fromkeys([directory, *told])
            for upload in StateDirectory(path).all_uploads()
            if place is None or _is_of(upload, place)
        ]
        yield Seen(asked, uploads, before)
        before = {one.entry.device: one.report for one in asked if one.report}


def _is_of(upload: Found | Damaged, mountpoint: Path) -> bool:
    return isinstance(upload, Found) and upload.record.owner.mountpoint == str(mountpoint)


def _exit_status(seen: Seen, *, is_named: bool) -> int:
    """Return whether somebody has to look; a mount that was named has to answer."""
    is_silent = any((one.pid or is_named) and not one.report for one in seen.asked)
    is_dead = any(one.is_dead for one in seen.asked)
    return EXIT_FAILED if is_dead or is_silent or any(map(is_bad, seen.uploads)) else 0


# ── for people ─────────────────────────────────────────────────────────────────────────


def _print(looks: Iterator[Seen], *, is_watching: bool) -> Seen:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    seen = next(looks)
    if is_watching:
        return _watch(console, itertools.chain([seen], looks))
    if any(one.report and one.report.image_count for one in seen.asked):
        time.sleep(BETWEEN_LOOKS)  # noqa: TID251  # no event loop: a command
        seen = next(looks)
    console.print(render(seen))
    return seen


def _watch(console: Console, looks: Iterator[Seen]) -> Seen:
    seen = next(looks)
    if not console.is_terminal:
        for seen in itertools.chain([seen], looks):  # noqa: B020  # the latest one counts
            console.print(render(seen))
            sys.stdout.flush()
            time.sleep(REFRESH_SECONDS)  # noqa: TID251  # no event loop: a command
        return seen
    with Live(render(seen), console=console, auto_refresh=False) as live:
        try:
            for seen in looks:  # the latest one counts
                live.update(render(seen), refresh=True)
                time.sleep(REFRESH_SECONDS)  # noqa: TID251  # no event loop: a command
        except KeyboardInterrupt:
            pass
    return seen


# ── for scripts ────────────────────────────────────────────────────────────────────────


def _print_json(looks: Iterator[Seen], *, is_watching: bool) -> Seen:
    seen = next(looks)
    if not is_watching:
        print(json.dumps(_fields(seen), indent=1))  # noqa: T201
        return seen
    for seen in itertools.chain([seen], looks):  # noqa: B020  # the latest one counts
        print(json.dumps(_fields(seen)), flush=True)  # noqa: T201
        time.sleep(REFRESH_SECONDS)  # noqa: TID251  # no event loop: a command
    return seen


def _fields(seen: Seen) -> dict[str, Any]:
    return {
        "version": VERSION,
        "mounts": [_mount_fields(one) for one in seen.asked],
        "uploads": [upload_fields(upload) for upload in seen.uploads],
    }


def _mount_fields(asked: Asked) -> dict[str, Any]:
    state = "dead" if asked.is_dead else "serving" if asked.report else "unknown"
    return {
        "mountpoint": str(asked.entry.mountpoint),
        "source": asked.entry.source,
        "state": state,
        "problem": asked.problem,
        "pid": asked.pid,
        "report": format_report(asked.report) if asked.report else None,
    }
