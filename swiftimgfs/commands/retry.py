"""`swiftimgfs retry`: send again what could not be stored, straight to the store.

No mount is asked: an upload that failed belongs to nobody, and while it is sent to this
command alone. A mount that shows the image sees it as if another host had stored it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.assembly import (
    build_fetcher,
    make_pool,
    open_session,
    recovery_of,
    write_parts,
)
from swiftimgfs.commands.saving import save
from swiftimgfs.commands.source import (
    EXIT_FAILED,
    add_option_arguments,
    give_up,
    printable,
    with_key,
)
from swiftimgfs.commands.uploads import CLEANING_UP, LEFT, RECOVERING, state_of
from swiftimgfs.config.load import load_config, state_directory
from swiftimgfs.config.settings import Settings, parse_options, read_own_files
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.writing.journal import Journal, errno_name_of
from swiftimgfs.writing.recovery import forget
from swiftimgfs.writing.resumption import Resumption
from swiftimgfs.writing.saving import needs_swift
from swiftimgfs.writing.state_directory import KEPT, Damaged, Found, StateDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from swiftimgfs.config.load import Config
    from swiftimgfs.writing.journal import JournalEntry
    from swiftimgfs.writing.state_directory import Session
    from swiftimgfs.writing.upload_record import UploadRecord

CLEAN_UP_SECONDS: Final = 30.0

EPILOG = """
An upload is named by its ID or its image as `swiftimgfs status` shows them, or by the path of
the image in its mount; without a name all are sent that failed. The store is logged in to as
the mount did, with its options; passwords are needed in the environment as for the mount.

An image that somebody else changed since it was opened is not overwritten: that fails with
ESTALE again, and the bytes stay. With -o last_writer_wins they are stored, if they are a whole
image: of one that was changed in place, what was not written is only in the version that was
opened, and gone with it as soon as its segments are.

With --save-to DIR what is kept becomes DIR/ID-NAME, a file with holes, and DIR/ID-NAME.map, with
a line of offset, size and kind for each range: written, before (of the version that was opened),
zeros, or missing. Nothing is sent, and all stays as it is.

examples:
  swiftimgfs retry
  swiftimgfs retry /mnt/images/golden/debian-12
  swiftimgfs retry --save-to /var/tmp/kept golden/debian-12
  swiftimgfs retry --forget 1764036012.482101-9f3c21ab

Exit status: 0 when all are stored (or saved), 1 when one is not, 2 when what was asked for cannot be
understood.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "retry",
        help="send again what could not be stored",
        description="Send images again that could not be stored, and whose bytes were kept.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("uploads", metavar="ID|IMAGE|PATH", nargs="*")
    parser.add_argument("--source", metavar="SOURCE", help="log in by this instead")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--save-to",
        metavar="DIR",
        type=Path,
        help="do not send them: write what was kept into files in DIR, and keep it",
    )
    instead.add_argument(
        "--forget",
        action="store_true",
        help="do not send them: delete what was kept, here and in Swift (needs a name)",
    )
    add_option_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    logging.basicConfig(level=logging.CRITICAL)  # what fails is said below
    try:
        chosen = _chosen(arguments)
        if not chosen:
            print(f"nothing has failed{_others(arguments)}")  # noqa: T201
            return 0
        results = []
        if arguments.save_to is not None:
            here = [upload for upload in chosen if not needs_swift(upload.record)]
            results += save(None, here, arguments.save_to)
            chosen = [upload for upload in chosen if upload not in here]
        for login, uploads in _by_login(chosen, arguments).items():
            results += _run(login, uploads, arguments)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    return 0 if all(results) else EXIT_FAILED


@dataclass(frozen=True, slots=True)
class Login:
    """By what to log in, as on a command line."""

    source: str
    options: tuple[str, ...] = ()
    config_file: Path | None = None


def _chosen(arguments: argparse.Namespace) -> list[Found]:
    """Return the uploads that were asked for.

    Raises:
        ConfigError: One that was named is not there, or none was.
    """
    if arguments.forget and not arguments.uploads:
        raise errors.ConfigError("--forget needs to be told which upload")
    state = _state(arguments)
    kept = [*state.kept_uploads(), *state.left_uploads()]
    for damaged in (upload for upload in kept if isinstance(upload, Damaged)):
        line = f"damaged journal {damaged.path}: {damaged.reason}"
        print(f"swiftimgfs: warning: {printable(line)}", file=sys.stderr)  # noqa: T201
    found = [upload for upload in kept if isinstance(upload, Found)]
    if not arguments.uploads:
        return found
    chosen: dict[str, Found] = {}
    for name in arguments.uploads:
        named = [upload for upload in found if _is_meant(name, upload.record)]
        if not named:
            raise errors.ConfigError(
                f"{name}: no such upload has failed here, in {state.path}; one of a mount with"
                " another spool_dir is found with -o spool_dir="
            )
        chosen |= {upload.record.token: upload for upload in named}
    return list(chosen.values())


def _others(arguments: argparse.Namespace) -> str:
    """Return what is not for retry to do, though `swiftimgfs status` shows it."""
    states = [state_of(upload) for upload in _state(arguments).all_uploads()]
    left, waiting = states.count(LEFT), sum(s in {RECOVERING, CLEANING_UP} for s in states)
    said = ""
    if left:
        said += (
            f"; {left} left behind by a mount that died: the next mount of the account cleans"
            " up, or finishes"
        )
    if waiting:
        said += f"; {waiting} being cleaned up by a mount, see swiftimgfs status"
    return said


def _state(arguments: argparse.Namespace) -> StateDirectory:
    settings = Settings.of(
        read_own_files(arguments.config_file), parse_options(arguments.options)
    )
    return StateDirectory(state_directory(settings))


def _is_meant(name: str, record: UploadRecord) -> bool:
    """Return whether an upload is called this: by id, by image, or by its path in the mount."""
    if name in {record.token, record.image}:
        return True
    mountpoint = record.owner.mountpoint
    path = os.path.abspath(name)  # noqa: PTH100  # no link is followed: it may be a dead mount
    if not mountpoint or not path.startswith(f"{mountpoint}/"):
        return False
    below = path.removeprefix(f"{mountpoint}/")
    return record.image == below or record.image.endswith(f"/{below}")


def _by_login(
    uploads: Iterable[Found], arguments: argparse.Namespace
) -> dict[Login, list[Found]]:
    grouped: dict[Login, list[Found]] = {}
    for upload in uploads:
        grouped.setdefault(_login_of(upload.record, arguments), []).append(upload)
    return grouped


def _login_of(record: UploadRecord, arguments: argparse.Namespace) -> Login:
    """Return how the upload's mount logged in, with what was given over it.

    Raises:
        ConfigError: Nobody said.
    """
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("source", nargs="?", default="")
    add_option_arguments(parser)
    noted = parser.parse_args(list(record.owner.arguments))
    source = arguments.source or noted.source
    if not source:
        raise errors.ConfigError(f"{record.image}: give --source SOURCE")
    options = [] if arguments.source else noted.options
    config_file = arguments.config_file or noted.config_file
    return Login(source, (*options, *arguments.options), config_file)


def _run(login: Login, uploads: Sequence[Found], arguments: argparse.Namespace) -> list[bool]:
    mountpoint = uploads[0].record.owner.mountpoint or "/"
    config = load_config(login.source, mountpoint, login.options, login.config_file)
    os.environ.update(with_key(config.store.source, os.environ))
    if arguments.save_to is not None:
        return save(config, uploads, arguments.save_to)
    with errors.first_failure():
        return trio.run(_send_all, config, uploads, arguments.forget)


async def _send_all(
    config: Config,
    uploads: Sequence[Found],
    is_forgetting: bool,  # noqa: FBT001  # trio.run passes no names
) -> list[bool]:
    async with contextlib.aclosing(make_pool(config.store)) as pool:
        store = ImageStore(pool, config.store.source.reference, config.view.storage_policy)
        await store.connect()
        for upload in uploads:
            _check_account(upload.record, pool.storage_url)
        with contextlib.closing(open_session(config, pool.storage_url)) as session:
            async with trio.open_nursery() as nursery:
                fetcher = build_fetcher(config, pool, store, nursery)
                parts = write_parts(config, pool, store, fetcher, nursery, session)
                resumption = Resumption(parts, fetcher)
                if any(upload.path.parent.name != KEPT for upload in uploads):
                    recovery = recovery_of(config, pool, session, resumption)
                    _say("somebody died while he sent them: asking Swift what came true")
                    await recovery.run(only_kept=True)
                sender = _Sender(session, Journal(session, pool.compute), resumption)
                act = sender.forget if is_forgetting else sender.send
                results = [await act(upload.record) for upload in uploads]
                nursery.cancel_scope.cancel()
    return results


def _check_account(record: UploadRecord, account: str) -> None:
    if record.owner.account != account:
        raise errors.ConfigError(
            f"{record.image} belongs to {record.owner.account}, and this login leads to {account}"
        )


class _Sender:
    """Takes uploads over, one after the other, and gives back what cannot be sent."""

    def __init__(self, session: Session, journal: Journal, resumption: Resumption) -> None:
        self._session: Final = session
        self._journal: Final = journal
        self._resumption: Final = resumption

    async def send(self, record: UploadRecord) -> bool:
        """Send an upload; return whether it is stored."""
        if not self._session.state.has_upload(record.token):
            _say(f"stored: {record.image}")  # by who was at it, as recovery has found
            return True
        found = self._taken(record.token)
        if found is None:
            return False
        entry = self._journal.resume(found.path, found.record)
        try:
            await self._resumption.send_again(found, entry)
        except errors.SwiftImgFsError as failure:
            await _give_back(found, entry, str(failure), errno_name_of(failure))
            _say_not("stored", found.record, failure)
            return False
        except BaseException:  # Ctrl-C
            with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
                await _give_back(found, entry, "interrupted", found.record.errno)
            raise
        _say(f"stored: {found.record.image}")
        return True

    async def forget(self, record: UploadRecord) -> bool:
        """Delete an upload, here and in Swift; return whether that worked."""
        found = self._taken(record.token)
        if found is None:
            return False
        try:
            count = await forget(self._resumption.store, found.record)
        except errors.SwiftImgFsError as failure:
            self._session.keep(found.path)
            _say_not("forgotten", found.record, failure)
            return False
        shutil.rmtree(found.path)
        _say(f"forgotten: {found.record.image}, {count} segments deleted")
        return True

    def _taken(self, token: str) -> Found | None:
        found = self._session.take_kept(token)
        if isinstance(found, Found):
            return found
        _say(f"somebody else is at it: {token}", is_failure=True)
        return None


async def _give_back(found: Found, entry: JournalEntry, reason: str, errno_name: str) -> None:
    await entry.keep(found.record.recipe or {}, found.spool, reason, errno_name)


def _say_not(done: str, record: UploadRecord, failure: errors.SwiftImgFsError) -> None:
    reason = errors.reason_beside(record.image, failure)
    _say(f"not {done}: {record.image}: {reason}", is_failure=True)


def _say(line: str, *, is_failure: bool = False) -> None:
    stream = sys.stderr if is_failure else sys.stdout
    print(printable(line), file=stream, flush=True)
