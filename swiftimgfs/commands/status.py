"""`swiftimgfs status`: uploads of this host that are not done, from the journal."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from swiftimgfs import errors
from swiftimgfs.commands.source import EXIT_FAILED, add_option_arguments, give_up, printable
from swiftimgfs.config.load import state_directory
from swiftimgfs.config.settings import Settings, parse_options, read_own_files
from swiftimgfs.writing.state_directory import Damaged, StateDirectory
from swiftimgfs.writing.upload_record import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swiftimgfs.writing.state_directory import Found

PIPE_WIDTH: Final = 10_000
LEFT: Final = "left behind"  # by a mount that died
DELETING: Final = "deleting"
DAMAGED: Final = "damaged"
STYLES: Final = {State.FAILED.value: "bold red", LEFT: "yellow", DAMAGED: "bold red"}

EPILOG = """
states:
  uploading    segments are on their way, and no manifest names them
  committing   the image itself is being stored
  deleting     it is stored; what it replaced is on its way out
  left behind  the mount died: the next mount of the account cleans up, or finishes
  interrupted  the mount was made to leave at once: the next mount of the account sends it
  failed       who wrote it was told the errno; the bytes are kept: swiftimgfs retry
  damaged      the journal cannot be understood

Exit status: 0, 1 when an upload failed or is damaged, 2 when what was asked for cannot be
understood.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "status",
        help="show uploads of this host that are not done",
        description="Show the uploads of this host that are going on, were left behind, or"
        " have failed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_option_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    try:
        settings = Settings.of(
            read_own_files(arguments.config_file), parse_options(arguments.options)
        )
        uploads = list(StateDirectory(state_directory(settings)).all_uploads())
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    if arguments.json:
        print(json.dumps([_fields(upload) for upload in uploads], indent=1))  # noqa: T201
    else:
        _print(uploads)
    is_bad = any(_state(upload) in {State.FAILED.value, DAMAGED} for upload in uploads)
    return EXIT_FAILED if is_bad else 0


def _state(upload: Found | Damaged) -> str:
    if isinstance(upload, Damaged):
        return DAMAGED
    state = upload.record.state
    if not upload.is_owned and not upload.record.is_kept:
        return LEFT
    return DELETING if state is State.COMMITTED else state.value


def _fields(upload: Found | Damaged) -> dict[str, object]:
    """Return what is known of an upload, as it is printed in JSON."""
    if isinstance(upload, Damaged):
        return {"path": str(upload.path), "state": DAMAGED, "reason": upload.reason}
    record = upload.record
    return {
        "id": record.token,
        "account": record.owner.account,
        "image": record.image,
        "state": _state(upload),
        "size": record.size,
        "sent": upload.sent,
        "started": record.started,
        "errno": record.errno,
        "reason": record.reason,
        "mountpoint": record.owner.mountpoint,
        "path": str(upload.path),
    }


def _print(uploads: Sequence[Found | Damaged]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if not uploads:
        console.print("nothing waits for Swift")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("STATE", "AGE", "SENT", "SIZE", "IMAGE", "ID", "REASON"):
        table.add_column(name, overflow="fold")
    for upload in uploads:
        state = _state(upload)
        table.add_row(Text(state, style=STYLES.get(state, "")), *_cells(upload))
    console.print(table)


def _cells(upload: Found | Damaged) -> list[Text]:
    if isinstance(upload, Damaged):
        texts = ["", "", "", "", str(upload.path), upload.reason]
    else:
        record = upload.record
        size = "" if record.size is None else decimal(record.size)
        reason = f"{record.errno}: {record.reason}" if record.errno else record.reason
        age = format_age(time.time() - record.started)
        texts = [age, decimal(upload.sent), size, record.image, record.token, reason]
    return [Text(printable(text)) for text in texts]


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
