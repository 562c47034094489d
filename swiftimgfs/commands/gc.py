"""`swiftimgfs gc`: delete the segments of an account that no manifest names."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from swiftimgfs import errors
from swiftimgfs.assembly import make_pool
from swiftimgfs.commands.source import (
    EXIT_FAILED,
    SOURCE_HELP,
    add_option_arguments,
    give_up,
    printable,
    with_key,
)
from swiftimgfs.config.load import load_store_config, state_directory
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.orphans import by_upload, find_orphans
from swiftimgfs.writing.state_directory import Damaged, StateDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from swiftimgfs.config.load import StoreConfig
    from swiftimgfs.writing.deletion import Undeleted
    from swiftimgfs.writing.orphans import Orphan
    from swiftimgfs.writing.upload_record import ObjectName, UploadRecord

PIPE_WIDTH: Final = 10_000
DEFAULT_AGE: Final = "24h"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

EPILOG = f"""
{SOURCE_HELP}
Only what is named like a segment is ever deleted, and only when no manifest (SLO or DLO) in
any container of the account names it:
  in a container X_segments   IMAGE/slo/TIME-xxxxxxxx/SIZE/00000000 (or zeros, copy, rows-00000000),
                              as we store them; OBJECT/[slo/]TIME/[SIZE/]SIZE/00000000, as the swift
                              CLI and rclone do
  in any container            .segments-IMAGE-TIME-xxxxxxxx-00000000 (ours, among the images),
                              .file-segments/OBJECT/TIME/SIZE/00000000 (rclone)
  in Glance's containers      UUID-00001, when there is no object UUID beside it
An upload of which a segment is younger than --older-than may be running on some host, and is
left alone, and so is everything in this host's journal (swiftimgfs status). If a container
or a manifest cannot be read, or a container keeps old versions, nothing is deleted.
Uploads that failed on another host and are kept there for `swiftimgfs retry` lose their
segments once they are that old.

example:
  swiftimgfs gc mycloud --dry-run
  swiftimgfs gc glance:/etc/glance/glance-api.conf --older-than 7d

Exit status: 0 when nothing is left to delete (with --dry-run: it could be told), 1 when
something could not be deleted or read, 2 when what was asked for cannot be understood.
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What was found, and what became of it."""

    orphans: list[Orphan]
    undeleted: list[Undeleted]

    def of(self, orphans: Iterable[Orphan]) -> tuple[int, int]:
        """Return how many of them there are, and their bytes."""
        sizes = [orphan.size for orphan in orphans]
        return len(sizes), sum(sizes)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "gc",
        help="delete segments that no manifest names",
        description="Delete segments of the whole account that no manifest names, whoever"
        " stored them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE")
    add_option_arguments(parser)
    parser.add_argument(
        "--dry-run", "-n", action="store_true", help="show what would go, and delete nothing"
    )
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=parse_age,
        default=DEFAULT_AGE,
        help="leave uploads alone that went on since: 30m, 24h, 7d (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print each segment, as JSON")
    parser.set_defaults(run=run)


def parse_age(text: str) -> float:
    """Return seconds: a number with s, m, h or d after it."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError("a number with s, m, h or d after it is needed")
    return float(match[1]) * _UNITS[match[2]]


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    logging.basicConfig(level=logging.CRITICAL)  # what cannot be done is said below
    before = time.time() - arguments.older_than
    try:
        config, settings = load_store_config(
            arguments.source, arguments.options, arguments.config_file
        )
        directory = state_directory(settings)
        os.environ.update(with_key(config.source, os.environ))
        with errors.first_failure():
            done = trio.run(_collect, config, directory, before, arguments.dry_run)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    _print(done, is_dry=arguments.dry_run, as_json=arguments.json)
    return EXIT_FAILED if done.undeleted else 0


async def _collect(
    config: StoreConfig,
    directory: Path,
    before: float,
    is_dry: bool,  # noqa: FBT001  # trio.run passes no names
) -> Done:
    async with contextlib.aclosing(make_pool(config)) as pool:
        store = ImageStore(pool, config.source.reference)
        await store.connect()
        spared = Spared(_records(directory, pool.storage_url))
        orphans = await find_orphans(store, config.naming, before=before, is_spared=spared.has)
        places = [] if is_dry else [(orphan.container, orphan.name) for orphan in orphans]
        return Done(orphans, await delete_objects(store, places))


class Spared:
    """What uploads of this host may still need."""

    def __init__(self, records: Iterable[UploadRecord]) -> None:
        self._objects: set[ObjectName] = set()
        self._prefixes: list[ObjectName] = []
        for record in records:
            self._prefixes += record.places
            self._objects.update(record.objects)
            for attempt in record.attempts:
                self._objects.update(attempt.replaced)

    def has(self, container: str, name: str) -> bool:
        """Return whether an object is among it."""
        return (container, name) in self._objects or any(
            container == where and name.startswith(prefix) for where, prefix in self._prefixes
        )


def _records(directory: Path, account: str) -> Iterable[UploadRecord]:
    for found in StateDirectory(directory).all_uploads():
        if isinstance(found, Damaged):
            path = printable(str(found.path))
            print(f"swiftimgfs: warning: damaged journal {path}", file=sys.stderr)  # noqa: T201
        elif found.record.owner.account == account:
            yield found.record


# ── what is shown ──────────────────────────────────────────────────────────────────────


def _print(done: Done, *, is_dry: bool, as_json: bool) -> None:
    left = {(u.container, u.name): str(u.failure) for u in done.undeleted}
    if as_json:
        rows = [_json(orphan, left, is_dry=is_dry) for orphan in done.orphans]
        print(json.dumps(rows, indent=1))  # noqa: T201
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if done.orphans:
        console.print(_table(done))
    for (container, name), reason in left.items():
        place = f"{container}/{name}"
        line = f"not deleted: {place}: {errors.reason_beside(place, reason)}"
        console.print(Text(printable(line), style="red"), soft_wrap=True)
    count, size = done.of(o for o in done.orphans if (o.container, o.name) not in left)
    verb = "would be deleted" if is_dry else "deleted"
    console.print(f"{count} segment{'s' * (count != 1)} {verb}, {decimal(size)}")


def _json(
    orphan: Orphan, left: dict[tuple[str, str], str], *, is_dry: bool
) -> dict[str, object]:
    reason = left.get((orphan.container, orphan.name), "")
    return {
        "container": orphan.container,
        "name": orphan.name,
        "size": orphan.size,
        "stored": orphan.stored_ns / 1e9,
        "writer": orphan.writer.value,
        "deleted": not (is_dry or reason),
        "reason": reason,
    }


def _table(done: Done) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("STORED BY", "SEGMENTS", "SIZE", "YOUNGEST", "CONTAINER/PREFIX"):
        table.add_column(name, overflow="fold")
    for (container, prefix), orphans in by_upload(done.orphans).items():
        count, size = done.of(orphans)
        youngest = max(orphan.stored_ns for orphan in orphans) / 1e9
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(youngest))
        place = Text(printable(f"{container}/{prefix}"))
        table.add_row(orphans[0].writer.value, str(count), decimal(size), when, place)
    return table
