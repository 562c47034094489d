"""`swiftimgfs verify`: compare images in a mount with every digest that is known of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import stat
import sys
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from swiftimgfs import errors
from swiftimgfs.commands.mounted import check_mounted
from swiftimgfs.commands.source import EXIT_FAILED, give_up, printable
from swiftimgfs.config.settings import read_own_files
from swiftimgfs.verification.plan import Digest
from swiftimgfs.verification.verifier import JOBS, Report, Verdict, Verifier, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EXIT_INTERRUPTED: Final = 130  # 128 and SIGINT, as a shell says it
REFRESH_SECONDS: Final = 0.1

MOST_JOBS: Final = 64  # each takes memory of the mount while it waits
STYLES: Final = {
    Verdict.OK: "green",
    Verdict.WRONG: "bold red",
    Verdict.CANNOT: "yellow",
    Verdict.FAILED: "red",
}

EPILOG = """
The bytes are read through the mount, past the page cache (blocks that the mount itself still
has, in memory or in its cache_dir, are not fetched again), and compared with
  the MD5 of each segment (of an SLO or a DLO), or of a plain image: its etag
  os_hash_algo and os_hash_value, and the MD5, that are kept with the image, if any
  --os-hash-value, which is what Glance shows as os_hash_value of an image
  its signature, if it has Glance's four img_signature properties

One line for each image:
  OK      everything compared is right, and that was every byte
  WRONG   a digest differs: which, where, and what it is instead; or the signature does
  CANNOT  nothing is wrong, but of some bytes there is no digest to compare with: parts of
          objects (SLO rows with a range), bytes in a manifest, a DLO in an SLO; or there
          are no certificates to verify a signature with
  FAILED  not all of it could be read, or it was replaced meanwhile. A mount that verifies by
          itself (verify=on) does not give what is wrong, but EIO; its log says which object

example:
  swiftimgfs verify /mnt/images/glance
  swiftimgfs verify /mnt/images --json | jq 'select(.verdict != "OK")'
  swiftimgfs verify --os-hash-value $(openstack image show -f value -c os_hash_value ID) \\
      /mnt/images/glance/ID

Exit status: 0 when all are OK, 1 when one is not, 2 when what was asked for cannot be
understood, 130 after Ctrl-C.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """An image to verify; or what is said of a path without reading it."""

    path: str
    size: int = 0
    report: Report | None = None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "verify",
        help="compare images in a mount with their digests",
        description="Read images in a mount and compare them with every digest that is known"
        " of them. Nothing is changed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="an image, or a directory: all images below it"
    )
    parser.add_argument(
        "--os-hash-value", metavar="HEX", help="what the digest of the one image at PATH is"
    )
    parser.add_argument(
        "--os-hash-algo", metavar="NAME", help="by which algorithm (default: sha512)"
    )
    parser.add_argument(
        "--signature-certificates",
        metavar="DIRECTORY",
        help="where the certificates, <UUID>.pem, of signed images are (default: as"
        " swiftimgfs.conf says)",
    )
    parser.add_argument(
        "--jobs",
        "-j",
        metavar="N",
        type=_jobs,
        default=JOBS,
        help=f"read N ranges at once, {MOST_JOBS} at most (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object in a line for each image"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    try:
        given = _given_digest(arguments)
        check_mounted(arguments.paths)
        verifier = Verifier(arguments.jobs, _certificates(arguments))
        show = _print_json if arguments.json else _print_line
        return _verify(arguments.paths, given, verifier, show)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    except KeyboardInterrupt:
        print("swiftimgfs: interrupted", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
        os._exit(EXIT_INTERRUPTED)  # without waiting for threads, which wait for Swift


def _jobs(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST_JOBS:
        raise argparse.ArgumentTypeError(f"1 to {MOST_JOBS}")
    return number


def _given_digest(arguments: argparse.Namespace) -> Digest | None:
    """Return the digest on the command line.

    Raises:
        ConfigError: It is none, or it is not said of which image.
    """
    if arguments.os_hash_value is None:
        if arguments.os_hash_algo is not None:
            raise errors.ConfigError("--os-hash-algo goes with --os-hash-value")
        return None
    if len(arguments.paths) != 1 or os.path.isdir(arguments.paths[0]):  # noqa: PTH112  # raises not
        raise errors.ConfigError("--os-hash-value is of one image: give the path of one")
    algorithm = (arguments.os_hash_algo or "sha512").lower()
    digest = Digest(algorithm, arguments.os_hash_value.lower(), "--os-hash-value")
    if problem := digest.problem():
        raise errors.ConfigError(problem)
    return digest


def _images_in(path: str) -> Iterator[Found]:
    """Yield the image at a path, or all below it, by name."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a path is printed as it was given
        if not stat.S_ISDIR(status.st_mode):
            yield Found(path, status.st_size)
            return
        with os.scandir(path) as entries:
            names = sorted(entry.path for entry in entries)
    except OSError as exc:
        yield Found(path, report=failed(path, exc))
        return
    for name in names:
        yield from _images_in(name)


def _certificates(arguments: argparse.Namespace) -> Path | None:
    """Return the directory of certificates that was given, else the configured one."""
    given = arguments.signature_certificates or read_own_files().get("signature_certificates")
    if given and not Path(given).is_dir():
        raise errors.ConfigError(f"signature_certificates {given}: no such directory")
    return Path(given) if given else None


def _verify(
    paths: Sequence[str],
    given: Digest | None,
    verifier: Verifier,
    show: Callable[[Console, Report], None],
) -> int:
    console = Console(highlight=False)
    started = time.monotonic()
    counts: Counter[Verdict] = Counter()
    with _progress(console) as progress, contextlib.closing(verifier):
        task = progress.add_task("looking for images", total=None)
        images = [image for path in paths for image in _images_in(path)]
        total = sum(image.size for image in images)
        progress.update(task, description=_counted(len(images)), total=total)
        running = [_started(verifier, image, given) for image in images]
        for future in running:
            while not future.done():
                progress.update(task, completed=verifier.bytes_read)
                _wait(future)
            report = future.result()
            counts[report.verdict] += 1
            show(progress.console, report)
    seconds = time.monotonic() - started
    if show is _print_line:
        console.print(_summary(counts, verifier.bytes_read, seconds), soft_wrap=True)
    return 0 if counts.total() == counts[Verdict.OK] else EXIT_FAILED


def _started(verifier: Verifier, image: Found, given: Digest | None) -> Future[Report]:
    if image.report is None:
        return verifier.submit(image.path, given)
    known: Future[Report] = Future()
    known.set_result(image.report)
    return known


def _wait(future: Future[Report]) -> None:
    """Wait until it is time to draw the bar again."""
    try:
        future.exception(timeout=REFRESH_SECONDS)
    except TimeoutError:
        return


# ── what is shown ──────────────────────────────────────────────────────────────────────


def _progress(console: Console) -> Progress:
    """Return a bar of bytes, where there is a terminal to draw it on."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not sys.stdout.isatty(),
    )


def _print_line(console: Console, report: Report) -> None:
    console.print(_line(report), soft_wrap=True)


def _print_json(console: Console, report: Report) -> None:
    fields = {"path": report.path, "verdict": report.verdict.value, "text": report.text}
    console.print(Text(json.dumps(fields)), soft_wrap=True)  # no markup, no emoji


def _line(report: Report) -> Text:
    verdict = Text(f"{report.verdict.value:<7}", style=STYLES[report.verdict])
    return verdict + Text(f" {printable(report.path)}: {printable(report.text)}")


def _counted(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _summary(counts: Counter[Verdict], size: int, seconds: float) -> Text:
    parts = [f"{counts[v]} {v.value}" for v in Verdict if counts[v]]
    speed = decimal(int(size / max(seconds, 0.001)))
    return Text(
        f"{_counted(counts.total())}: {', '.join(parts) or 'nothing to verify'};"
        f" {decimal(size)} in {seconds:.1f} s ({speed}/s)"
    )
