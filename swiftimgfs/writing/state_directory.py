"""The state directory: what of this host's uploads must outlive the process that makes them.

    mounts/<session>/lock             locked (flock) by who is at work there while he lives
    mounts/<session>/recovering       there when that is not the mount whose uploads they are
    mounts/<session>/<token>/journal  one upload
    mounts/<session>/<token>/waiting  what who recovers it waits for, for people
    mounts/<session>/<token>/spool    its bytes, once they are kept
    kept/<token>/…                    uploads that failed, waiting for `swiftimgfs retry`

Whoever has a session's lock owns its uploads: a mount its own, recovery those of a mount
that died. An upload changes hands by one rename of its directory. The kernel lets go of a
lock when the process ends, however it ends.

A record is replaced, never changed: written beside, synced, renamed, and the directory
synced, so that it is there after a power failure too, the old one or the new.

Nothing here awaits, and all of it may block.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.private_directory import check_private
from swiftimgfs.writing.locks import is_locked, took_lock
from swiftimgfs.writing.upload_record import (
    DamagedRecordError,
    Owner,
    UploadRecord,
    format_owner,
    format_record,
    new_token,
    parse_owner,
    parse_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

SYSTEM_DIRECTORY: Final = Path("/var/lib/swiftimgfs")
PRIVATE: Final = 0o700
LOCK: Final = "lock"
RECOVERING: Final = "recovering"
KEPT: Final = "kept"
JOURNAL: Final = "journal"
SPOOL: Final = "spool"
PROGRESS: Final = "progress"
WAITING: Final = "waiting"
TRIES = 10  # of making a directory that somebody tidies up at the same moment


@dataclass(frozen=True, slots=True)
class Damaged:
    """An upload whose record cannot be understood."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """An upload in the state directory.

    Attributes:
        path: Its directory.
        is_owned: Whether somebody is at work on it.
        is_recovering: Whether that is somebody else than the mount that began it.
        sent: Bytes that Swift has acknowledged so far.
        noted: When the record was written.
        waiting: What who recovers it waits for; empty when for nothing.
    """

    path: Path
    record: UploadRecord
    is_owned: bool = False
    is_recovering: bool = False
    sent: int = 0
    noted: float = 0.0
    waiting: str = ""

    @property
    def has_bytes(self) -> bool:
        """Whether it can be sent again."""
        return self.record.recipe is not None

    @property
    def spool(self) -> Path | None:
        """Where its bytes are, if they were kept."""
        return self.path / SPOOL if self.record.has_spool else None


def default_directory() -> Path:
    """Return the state directory of who runs us.

    Raises:
        ConfigError: He has no home.
    """
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "swiftimgfs"
    if os.geteuid() == 0:
        return SYSTEM_DIRECTORY
    try:
        return Path.home() / ".local" / "state" / "swiftimgfs"
    except RuntimeError:
        raise errors.ConfigError(
            "no home directory for what is being uploaded: give -o spool_dir=DIRECTORY"
        ) from None


class StateDirectory:
    """One state directory; use `prepare` before anything is put into it."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._mounts: Final = path / "mounts"
        self._kept: Final = path / KEPT

    def prepare(self) -> None:
        """Make it, for its owner alone.

        Raises:
            ConfigError: It cannot be made, is somebody else's, or others can change or replace it.
        """
        try:
            for path in (self.path, self._mounts, self._kept):
                path.mkdir(PRIVATE, parents=True, exist_ok=True)
                check_private(path, "spool_dir")
        except OSError as exc:
            raise errors.ConfigError(
                f"spool_dir {self.path}: {exc.strerror}; give -o spool_dir=DIRECTORY, or -o ro"
            ) from None

    def open_session(self, owner: Owner) -> Session:
        """Return a new session, locked.

        Raises:
            ConfigError: The directory cannot be used.
        """
        self.prepare()
        try:
            for _ in range(TRIES):
                path = self._mounts / new_token()
                path.mkdir(PRIVATE)
                with contextlib.suppress(FileNotFoundError):  # tidied up before it was locked
                    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                    if took_lock(descriptor, path / LOCK):
                        os.write(descriptor, format_owner(owner))
                        return Session(self, path, owner, descriptor)
        except OSError as exc:
            raise errors.ConfigError(f"spool_dir {self.path}: {exc.strerror}") from None
        raise errors.ConfigError(f"spool_dir {self.path}: cannot be locked")

    def take_over(self, account: str) -> Iterator[Session]:
        """Yield the sessions for `account` whose owners are dead, locked by us from now on."""
        for path in _directories(self._mounts):
            session, problem = None, ""
            try:
                session = self._taken(path, account)
            except (OSError, DamagedRecordError) as exc:
                problem = str(exc)
            if problem:
                log.error("cannot be recovered session=%s reason=%s", path, problem)
            if session is not None:
                yield session

    def _taken(self, path: Path, account: str) -> Session | None:
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                path.rmdir()  # whoever made it died before he locked it, or makes another
            return None
        if not took_lock(descriptor, path / LOCK):
            return None
        try:
            owner = parse_owner(_contents(descriptor))
            if owner.account == account:
                (path / RECOVERING).touch(0o600)
                return Session(self, path, owner, descriptor)
            if not any(_directories(path)):
                Session(self, path, owner, descriptor).close()
                return None
        except DamagedRecordError:
            if not any(_directories(path)):  # killed before he had said who he is
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)
                return None
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def all_uploads(self) -> Iterator[Found | Damaged]:
        """Yield the uploads of this host, whoever owns them; locks nothing for long."""
        for session in _directories(self._mounts):
            is_owned = is_locked(session / LOCK)
            is_recovering = is_owned and (session / RECOVERING).exists()
            for path in _directories(session):
                yield from _read_upload(path, is_owned=is_owned, is_recovering=is_recovering)
        yield from self.kept_uploads()

    def kept_uploads(self) -> Iterator[Found | Damaged]:
        """Yield the uploads that failed."""
        for path in _directories(self._kept):
            yield from _read_upload(path)

    def left_uploads(self) -> Iterator[Found]:
        """Yield those whose bytes are here and whose owner died, while sending them mostly."""
        for session in _directories(self._mounts):
            if not is_locked(session / LOCK):
                for path in _directories(session):
                    for found in _read_upload(path):
                        if isinstance(found, Found) and found.has_bytes:
                            yield found

    def has_upload(self, token: str) -> bool:
        """Return whether an upload is here, whoever owns it."""
        places = [self._kept, *_directories(self._mounts)]
        return any((place / token / JOURNAL).exists() for place in places)

    def kept_bytes(self) -> int:
        """Return what the bytes of uploads that failed take of the disk."""
        return sum(disk_bytes(path / SPOOL) for path in _directories(self._kept))

    def kept_path(self, token: str) -> Path:
        """Return where an upload that failed is kept."""
        return self._kept / token


class Session:
    """Uploads that have one owner, who has the lock: us."""

    def __init__(
        self, state: StateDirectory, path: Path, owner: Owner, descriptor: int
    ) -> None:
        self.state: Final = state
        self.path: Final = path
        self.owner: Final = owner
        self._descriptor = descriptor

    @property
    def spool_directory(self) -> Path:
        """Where spool files are to be made: what is no upload there goes with the session."""
        return self.path

    def uploads(self) -> Iterator[Found | Damaged]:
        """Yield the uploads of this session."""
        for path in _directories(self.path):
            yield from _read_upload(path, is_owned=True)

    def begin(self, record: UploadRecord) -> Path:
        """Make an upload's directory, with its record, durably; return it."""
        path = self.path / record.token
        path.mkdir(PRIVATE)
        write_record(path, record)
        sync_directory(self.path)
        return path

    def keep(self, path: Path) -> Path:
        """Give an upload up to whoever retries it; return where it is now."""
        kept = self.state.kept_path(path.name)
        path.rename(kept)
        sync_directory(kept.parent)
        sync_directory(self.path)
        return kept

    def take_kept(self, token: str) -> Found | Damaged | None:
        """Take over an upload that failed; None when somebody else has, or had."""
        path = self.path / token
        try:
            self.state.kept_path(token).rename(path)
        except FileNotFoundError:
            return None
        return next(_read_upload(path, is_owned=True), None)

    def close(self) -> None:
        """Let go of what is left; remove the session when that is nothing.

        Spool files that belong to no upload are removed.
        """
        with contextlib.suppress(OSError):  # what cannot be tidied up now can at the next mount
            for path in self.path.iterdir():
                if path.name != LOCK and not path.is_dir():
                    path.unlink()
            if not any(_directories(self.path)):
                (self.path / LOCK).unlink()
                self.path.rmdir()
        os.close(self._descriptor)


def write_record(directory: Path, record: UploadRecord) -> None:
    """Replace the record in an upload's directory, durably."""
    temporary = directory / f"{JOURNAL}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(format_record(record))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(directory / JOURNAL)
    sync_directory(directory)


def remove_upload(directory: Path) -> None:
    """Remove an upload: its record first, so that none is left without its bytes."""
    (directory / JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(directory)


def adopt_spool(directory: Path, spool: Path) -> None:
    """Move a spool file to its upload, durably."""
    with spool.open("rb") as file:
        os.fsync(file.fileno())
    spool.rename(directory / SPOOL)
    sync_directory(directory)


def disk_bytes(path: Path) -> int:
    """Return what a file takes of the disk, which for one with holes is less than its size."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def write_progress(directory: Path, sent: int) -> None:
    """Note how many bytes were sent: for who looks, and not durable."""
    with contextlib.suppress(OSError):
        (directory / PROGRESS).write_text(str(sent))


def write_waiting(directory: Path, text: str) -> None:
    """Note what a recovery waits for: for who looks, and not durable."""
    with contextlib.suppress(OSError):
        (directory / WAITING).write_text(text)


def sync_directory(path: Path) -> None:
    """Return when what is in a directory is on disk, by name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_upload(
    path: Path, *, is_owned: bool = False, is_recovering: bool = False
) -> Iterator[Found | Damaged]:
    try:
        noted = (path / JOURNAL).stat().st_mtime
        record = parse_record((path / JOURNAL).read_bytes())
    except FileNotFoundError:
        return  # being made, or being removed
    except (OSError, DamagedRecordError) as exc:
        yield Damaged(path, str(exc))
        return
    waiting = _waiting(path) if is_recovering else ""
    yield Found(path, record, is_owned, is_recovering, _progress(path), noted, waiting)


def _progress(path: Path) -> int:
    try:
        return int((path / PROGRESS).read_text())
    except (OSError, ValueError):
        return 0


def _waiting(path: Path) -> str:
    try:
        return (path / WAITING).read_text()
    except (OSError, ValueError):
        return ""


def _directories(path: Path) -> Iterator[Path]:
    try:
        with os.scandir(path) as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        yield path / name


def _contents(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 1024 * 1024)
