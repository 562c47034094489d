"""`swiftimgfs status` for people: mounts, what moves in them, what waits, what was refused.

Names in a store and answers of a socket are anybody's: they are shown as text, without the
markup of rich, and with their control characters escaped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from swiftimgfs.commands.source import format_age, printable
from swiftimgfs.commands.tables import FittingTable
from swiftimgfs.commands.uploads import upload_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from swiftimgfs.control.client import Asked
    from swiftimgfs.control.report import Report, Requests
    from swiftimgfs.model.activity import ImageActivity
    from swiftimgfs.writing.state_directory import Damaged, Found

BAR_WIDTH: Final = 24
SHOWN_IMAGES: Final = 20
SHOWN_REFUSALS: Final = 8
ERRORS_FROM: Final = 400  # HTTP
ANSWERS: Final = {404, 412}


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to show.

    Attributes:
        before: The reports of a moment ago, by device: what was done since makes a rate.
    """

    asked: Sequence[Asked]
    uploads: Sequence[Found | Damaged]
    before: Mapping[str, Report]


def render(seen: Seen) -> RenderableType:
    """Return all of it."""
    parts: list[RenderableType] = []
    for asked in sorted(seen.asked, key=lambda one: one.report is None):
        parts.extend(_mount(asked, seen.before.get(asked.entry.device)))
        parts.append(Text(""))
    if not seen.asked:
        parts.append(Text("nothing is mounted by swiftimgfs"))
    if seen.uploads:
        parts.append(upload_table(seen.uploads))
    elif not any(asked.report and asked.report.dirty.memory for asked in seen.asked):
        parts.append(Text("nothing waits for Swift"))
    return Group(*parts)


def _mount(asked: Asked, before: Report | None) -> Iterator[RenderableType]:
    entry, report = asked.entry, asked.report
    title = Text(printable(str(entry.mountpoint)), style="bold")
    title.append(f"  {printable(entry.source)}", style="")
    yield title
    if report is None:
        style = "bold red" if asked.is_dead else "yellow"
        yield Text(f"  {'dead: ' * asked.is_dead}{printable(asked.problem)}", style=style)
        return
    yield _facts(report, before)
    images = [image for image in report.images if _is_busy(image, _earlier(image, before))]
    if images:
        yield _image_table(images[:SHOWN_IMAGES], report, before)
    hidden = len(images) - SHOWN_IMAGES
    if hidden > 0:
        yield Text(f"  and {hidden} more images")
    if report.refusals:
        yield _refusal_table(report)


def _facts(report: Report, before: Report | None) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text in _fact_rows(report, before):
        table.add_row(Text(f"  {name}"), Text(printable(text)))
    return table


def _fact_rows(report: Report, before: Report | None) -> Iterator[tuple[str, str]]:
    mount, memory, dirty = report.mount, report.memory, report.dirty
    yield "login", mount.identity
    yield "account", mount.account
    read_only = ", read-only" if mount.is_read_only else ""
    yield "up", f"{format_age(report.uptime)}, pid {mount.pid}{read_only}"
    yield "memory", f"{_of(memory.held, memory.limit)}, {_hits(memory.hits, memory.misses)}"
    if disk := report.disk:
        damaged = f", {disk.damaged} damaged" if disk.damaged else ""
        hits = _hits(disk.hits, disk.misses)
        yield "disk", f"{_of(disk.used, disk.limit)} in {disk.directory}, {hits}{damaged}"
    if not mount.is_read_only:
        spooled = _of(dirty.spooled + dirty.memory, dirty.spool_limit)
        yield "waiting", f"{spooled}, {decimal(dirty.memory)} of it in memory"
    yield "Swift", _traffic(report, before)
    yield "open", f"{report.image_count} images"


def _traffic(report: Report, before: Report | None) -> str:
    requests = report.requests
    total = sum(row.count for row in requests.counts)
    failed = sum(row.count for row in requests.counts if _is_failure(row.status))
    numbers = (
        f"{len(requests.running)} on their way, {failed} failed, {requests.retries} retried"
    )
    since = before.requests if before else None
    seconds = report.taken - before.taken if before else 0.0
    moved = [
        f"in {decimal(requests.bytes_in)}{_rate(requests.bytes_in, since, 'in', seconds)}",
        f"out {decimal(requests.bytes_out)}{_rate(requests.bytes_out, since, 'out', seconds)}",
        f"{total} requests ({numbers})",
    ]
    return ", ".join(moved)


def _is_failure(status: int) -> bool:
    """Return whether an HTTP status is a failure; 404 and 412 are answers like others."""
    return status == 0 or (status >= ERRORS_FROM and status not in ANSWERS)


def _rate(now: int, since: Requests | None, way: str, seconds: float) -> str:
    if since is None or seconds <= 0:
        return ""
    before = since.bytes_in if way == "in" else since.bytes_out
    return f" at {speed(now - before, seconds)}"


def speed(size: int, seconds: float) -> str:
    """Return how fast bytes moved."""
    return f"{decimal(max(0, int(size / seconds)))}/s"


def _of(part: int, whole: int) -> str:
    return f"{decimal(part)} of {decimal(whole)}"


def _hits(hits: int, misses: int) -> str:
    total = hits + misses
    return f"{100 * hits / total:.1f} % of {total} found" if total else "not used yet"


# ── images that move ───────────────────────────────────────────────────────────────────


def _earlier(image: ImageActivity, before: Report | None) -> ImageActivity | None:
    if before is None:
        return None
    return next((old for old in before.images if old.path == image.path), None)


def _is_busy(image: ImageActivity, before: ImageActivity | None) -> bool:
    is_reading = before is not None and image.read > before.read
    return image.is_written or is_reading


def _image_table(
    images: Sequence[ImageActivity], report: Report, before: Report | None
) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("  IMAGE", "DOING", "PROGRESS", "", "RATE"):
        table.add_column(name, overflow="fold")
    for image in images:
        earlier = _earlier(image, before)
        seconds = report.taken - before.taken if before else 0.0
        doing, done, total = progress_of(image)
        moved = _moved(image, earlier)
        table.add_row(
            Text(f"  {printable(image.path)}"),
            Text(doing),
            ProgressBar(total=max(total, 1), completed=min(done, total), width=BAR_WIDTH),
            Text(_of(done, total)),
            Text(speed(moved, seconds) if earlier and seconds > 0 else ""),
        )
    return table


def progress_of(image: ImageActivity) -> tuple[str, int, int]:
    """Return what is done with an image, how many bytes of it, and of how many."""
    if not image.is_written:
        return "reading", min(image.position, image.size), image.size
    total = max(image.sent, min(image.sent + image.waiting, image.size))
    return ("storing" if image.is_waited_for else "writing"), image.sent, total


def _moved(image: ImageActivity, before: ImageActivity | None) -> int:
    if before is None:
        return 0
    return image.sent - before.sent if image.is_written else image.read - before.read


# ── what was refused ───────────────────────────────────────────────────────────────────


def _refusal_table(report: Report) -> FittingTable:
    names = ("  REFUSED", "OPERATION", "ERRNO", "HTTP", "IMAGE", "TRANSACTION", "REASON")
    table = FittingTable(names, stacked=3)
    for row in report.refusals[-SHOWN_REFUSALS:]:
        cells = [
            f"  {format_age(time.time() - row.when)} ago",
            row.operation,
            row.errno,
            str(row.status or ""),
            row.image,
            row.transaction,
            row.reason,
        ]
        table.add_row(*(Text(printable(cell)) for cell in cells), style="red")
    return table
