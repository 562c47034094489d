"""`swiftimgfs umount`: unmount, once what somebody waits for is in Swift, and show that.

The kernel unmounts what nobody uses (fusermount3 -u); the process then stores and notes what
is left, and ends. Whoever waits here waits for that end, by the process itself: a mount point
that is free says nothing of uploads.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import pwd
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.filesize import decimal

from swiftimgfs import errors
from swiftimgfs.commands.source import EXIT_FAILED, add_option_arguments, give_up, printable
from swiftimgfs.commands.uploads import is_bad, state_of
from swiftimgfs.config.load import state_directory
from swiftimgfs.config.settings import Settings, parse_options, read_own_files
from swiftimgfs.control.client import ask, state_directories
from swiftimgfs.control.mounts import mount_at, resolved
from swiftimgfs.writing.state_directory import Found, StateDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swiftimgfs.control.client import Asked
    from swiftimgfs.control.mounts import MountEntry
    from swiftimgfs.model.activity import ImageActivity

BETWEEN_TRIES: Final = 0.5  # seconds
LETTING_GO_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 2.0  # for a mount to say that it is dead
LEAVING_SECONDS: Final = 90.0  # longer than a mount takes to keep what it has
DEAD: Final = {errno.ENOTCONN, errno.ECONNABORTED}
BUSY: Final = "busy"  # what fusermount3 says

EPILOG = """
Without an option it is unmounted when nobody uses it; images that are being stored are waited
for, and shown. A mount point whose process died is freed.
  --lazy    take it out of the directory tree now; its process ends when nobody has it open
  --force   have its process leave now: what was closed and is not stored is kept, for the next
            mount of the account or for swiftimgfs retry; what is still being written is given
            up, and its writer told. Both are named

example:
  swiftimgfs umount /mnt/images

Uploads of the mount that had failed before are kept, and told of in one line: swiftimgfs status
shows them, swiftimgfs retry sends them.

Exit status: 0 when it is unmounted and all that it still had to store is in Swift, 1 when it is
in use, cannot be unmounted, or something of that is not in Swift, 2 when what was asked for
cannot be understood.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "umount",
        help="unmount, when what is being stored is in Swift",
        description="Unmount, when what is being stored is in Swift.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", type=Path)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--lazy", "-l", action="store_true", help="detach now, end when unused")
    how.add_argument("--force", "-f", action="store_true", help="leave now, keep the rest")
    add_option_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    try:
        settings = Settings.of(
            read_own_files(arguments.config_file), parse_options(arguments.options)
        )
        directory = state_directory(settings)
        place = resolved(arguments.mountpoint)
        entry = mount_at(place)
        if entry is None:
            raise errors.MountError(f"{place} is no mount of swiftimgfs")
        _check_is_ours(entry)
        leaving = _Leaving(entry, directory)
        directory = leaving.asked.state_directory or directory
        before = _kept(directory, place)
        leaving.leave(is_lazy=arguments.lazy, is_forced=arguments.force)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    now = _kept(directory, place)
    kept = [line for token, line in now.items() if token not in before]
    for line in kept:
        _say(f"not in Swift, kept here: {line} (swiftimgfs status)", is_failure=True)
    for name in leaving.cut_off:
        _say(f"not in Swift, given up while it was being written: {name}", is_failure=True)
    _tell_of_earlier(len(now) - len(kept))
    return EXIT_FAILED if kept or leaving.cut_off else 0


def _tell_of_earlier(count: int) -> None:
    """Say what was not in Swift before, of which somebody was told when it failed."""
    if count:
        uploads = "1 upload" if count == 1 else f"{count} uploads"
        are = "is" if count == 1 else "are"
        line = f"{uploads} that failed before {are} not in Swift, and kept here"
        _say(f"{line}: swiftimgfs retry", is_failure=True)


def _check_is_ours(entry: MountEntry) -> None:
    """Refuse another user's mount, of which fusermount3 would say that it is not there."""
    if os.geteuid() in {0, entry.uid}:
        return
    try:
        owner = pwd.getpwuid(entry.uid).pw_name
    except KeyError:
        owner = f"user {entry.uid}"
    raise errors.MountError(
        f"{entry.mountpoint} is a mount of {owner}, and not for you to unmount"
    )


def _kept(directory: Path, place: Path) -> dict[str, str]:
    """Return the uploads of a mount that wait here and for nobody: what each is, by its token."""
    kept = {}
    for upload in StateDirectory(directory).all_uploads():
        if isinstance(upload, Found) and upload.record.owner.mountpoint == str(place):
            is_left = not upload.is_owned and upload.record.is_kept
            if is_left or is_bad(upload):
                kept[upload.record.token] = f"{upload.record.image} ({state_of(upload)})"
    return kept


class _Leaving:
    """One mount on its way out.

    Attributes:
        asked: What it said before it was told to leave.
        cut_off: Images whose writer had neither closed nor synced them when it had to leave.
    """

    def __init__(self, entry: MountEntry, directory: Path) -> None:
        self._entry = entry
        self._directories = state_directories(directory)
        self.asked: Final = self._ask()
        self.cut_off: list[str] = []
        self._shown: set[str] = set()

    def leave(self, *, is_lazy: bool, is_forced: bool) -> None:
        """Return when it is unmounted and, if it is known, its process has ended.

        Raises:
            MountError: It is in use, or cannot be unmounted.
        """
        asked = self.asked
        if asked.is_dead or (not asked.pid and _is_dead(self._entry.mountpoint)):
            _fusermount(self._entry.mountpoint, "-uz")
            _say(f"{self._entry.mountpoint} was dead (its process is gone), and is free now")
            return
        with _process_of(asked) as process:
            if is_forced:
                self._force(process)
            elif is_lazy:
                _fusermount(self._entry.mountpoint, "-uz")
            else:
                self._unmount(process)
            if process is not None and not is_lazy:
                self._wait(process)

    def _ask(self) -> Asked:
        return ask(self._entry, self._directories)

    def _unmount(self, process: int | None) -> None:
        """Unmount as soon as what keeps it in use is only what is being stored.

        Whoever has closed that has a moment to let go of it when it is stored.
        """
        patience = 0.0
        while problem := _fusermount_problem(self._entry.mountpoint, "-u"):
            report = self._ask().report
            storing = [i for i in report.images if i.is_waited_for] if report else []
            if storing:
                patience = time.monotonic() + LETTING_GO_SECONDS
            if BUSY not in problem or time.monotonic() > patience:
                raise errors.MountError(self._why_not(problem, report.images if report else ()))
            self._show(storing)
            if process is not None and _has_ended(process, BETWEEN_TRIES):
                return

    def _why_not(self, problem: str, images: Sequence[ImageActivity]) -> str:
        place = self._entry.mountpoint
        if BUSY not in problem:
            return f"{place} cannot be unmounted: {problem}"
        names = ", ".join(image.path for image in images[:3])
        opened = f" ({len(images)} images are open: {names})" if images else ""
        return f"{place} is in use{opened}; see fuser -vm {place}, or give --lazy"

    def _force(self, process: int | None) -> None:
        """Have the process leave at once, as by two signals; a stranger's is only detached."""
        if process is None:
            _fusermount(self._entry.mountpoint, "-uz")
            return
        if report := self._ask().report:  # nobody is there to be asked when it has left
            self.cut_off = [i.path for i in report.images if i.is_cut_off_by_leaving]
        deadline = time.monotonic() + LEAVING_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGTERM)
            if _has_ended(process, BETWEEN_TRIES):
                return
        _fusermount(self._entry.mountpoint, "-uz")
        raise errors.MountError(
            f"{self._entry.mountpoint}: its process does not end; it is detached"
        )

    def _wait(self, process: int) -> None:
        while not _has_ended(process, BETWEEN_TRIES):
            if report := self._ask().report:
                self._show([image for image in report.images if image.is_written])

    def _show(self, images: Sequence[ImageActivity]) -> None:
        """Say what is waited for: each image once, or on a terminal what is left of it."""
        for image in images:
            total = image.sent + image.waiting
            line = f"storing {printable(image.path)}"
            if sys.stderr.isatty():
                Console(stderr=True, highlight=False, markup=False).print(
                    f"{line}: {decimal(image.sent)} of {decimal(total)}", end="\r"
                )
            elif image.path not in self._shown:
                self._shown.add(image.path)
                _say(f"{line}: {decimal(image.waiting)} to go")


@contextlib.contextmanager
def _process_of(asked: Asked) -> Iterator[int | None]:
    """Give a descriptor of who serves a mount, which no other process can come to be."""
    try:
        descriptor = os.pidfd_open(asked.pid) if asked.pid else None
    except OSError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _has_ended(process: int, seconds: float) -> bool:
    """Return whether a process ends within some seconds."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _is_dead(mountpoint: Path) -> bool:
    """Return whether a mount itself says that nobody serves it; one that hangs does not."""
    found: list[bool] = []

    def probe() -> None:
        try:
            os.statvfs(mountpoint)
        except OSError as exc:
            found.append(exc.errno in DEAD)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return any(found)


def _fusermount(mountpoint: Path, flag: str) -> None:
    if problem := _fusermount_problem(mountpoint, flag):
        raise errors.MountError(f"{mountpoint} cannot be unmounted: {problem}")


def _fusermount_problem(mountpoint: Path, flag: str) -> str:
    """Return what fusermount3 says when it fails; empty when it does not."""
    try:
        done = subprocess.run(
            ["fusermount3", flag, "--", str(mountpoint)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise errors.MountError("no fusermount3 on PATH: install the package fuse3") from None
    if done.returncode == 0:
        return ""
    return " ".join(done.stderr.lower().split()) or f"fusermount3 ended with {done.returncode}"


def _say(line: str, *, is_failure: bool = False) -> None:
    print(printable(line), file=sys.stderr if is_failure else sys.stdout, flush=True)
