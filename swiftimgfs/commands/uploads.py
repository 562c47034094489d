"""The uploads of this host's journal as people and scripts see them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal
from rich.text import Text

from swiftimgfs import errors
from swiftimgfs.commands.source import format_age, printable
from swiftimgfs.commands.tables import FittingTable
from swiftimgfs.writing.state_directory import Damaged
from swiftimgfs.writing.upload_record import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swiftimgfs.writing.state_directory import Found

LEFT: Final = "left behind"  # by a mount that died
RECOVERING: Final = "recovering"
DELETING: Final = "deleting"
CLEANING_UP: Final = "cleaning up"
DAMAGED: Final = "damaged"
STYLES: Final = {State.FAILED.value: "bold red", LEFT: "yellow", DAMAGED: "bold red"}


def is_bad(upload: Found | Damaged) -> bool:
    """Return whether somebody has to look after it."""
    return state_of(upload) in {State.FAILED.value, DAMAGED}


def state_of(upload: Found | Damaged) -> str:
    """Return how far an upload is, in one word or two."""
    if isinstance(upload, Damaged):
        return DAMAGED
    state = upload.record.state
    if not upload.is_owned and not upload.record.is_kept:
        return LEFT
    if state is State.COMMITTED:
        return DELETING
    if upload.record.is_given_up and not upload.is_recovering:
        return CLEANING_UP
    is_told = state is State.FAILED  # and waits for its owner's word, whoever is at work
    return RECOVERING if upload.is_recovering and not is_told else state.value


def upload_fields(upload: Found | Damaged) -> dict[str, object]:
    """Return what is known of an upload, as it is printed in JSON."""
    if isinstance(upload, Damaged):
        return {"path": str(upload.path), "state": DAMAGED, "reason": upload.reason}
    record = upload.record
    return {
        "id": record.token,
        "account": record.owner.account,
        "image": record.image,
        "state": state_of(upload),
        "size": record.size,
        "sent": upload.sent,
        "started": record.started,
        "errno": record.errno,
        "reason": upload.waiting or record.reason,
        "mountpoint": record.owner.mountpoint,
        "path": str(upload.path),
    }


def upload_table(uploads: Sequence[Found | Damaged]) -> FittingTable:
    """Return uploads as a table."""
    names = ("STATE", "AGE", "SENT", "SIZE", "IMAGE", "ID", "REASON")
    table = FittingTable(names, stacked=3)
    for upload in uploads:
        state = state_of(upload)
        table.add_row(Text(state, style=STYLES.get(state, "")), *_cells(upload))
    return table


def _cells(upload: Found | Damaged) -> list[Text]:
    if isinstance(upload, Damaged):
        texts = ["", "", "", "", str(upload.path), upload.reason]
    else:
        record = upload.record
        size = "" if record.size is None else decimal(record.size)
        told = errors.reason_beside(record.image, record.reason)
        reason = upload.waiting or (f"{record.errno}: {told}" if record.errno else told)
        age = format_age(time.time() - record.started)
        texts = [age, decimal(upload.sent), size, record.image, record.token, reason]
    return [Text(printable(text)) for text in texts]
