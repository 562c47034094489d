"""What the journal says of one upload, as a frozen value and as JSON. Pure.

A record is written before what it says is done: segments that may be in Swift, an etag that
the image may have, objects that may still have to go. So it never says too little, and who
reads it after a crash asks Swift what of it came true. It holds no credential.

The format has a version; a reader refuses what it does not know.
"""

from __future__ import annotations

import contextlib
import enum
import json
import secrets
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION: Final = 1
# The reasons of an upload that is neither going on nor kept.
GIVEN_UP: Final = "given up; what Swift has of it is deleted, by the next mount if need be"
UNCERTAIN: Final = "Swift did not say whether it stored it; the next mount of the account asks"
ObjectName = tuple[str, str]  # container, object


class DamagedRecordError(ValueError):
    """A record that cannot be understood: cut off, from elsewhere, or of a later version."""


class State(enum.StrEnum):
    """How far an upload is.

    Attributes:
        UPLOADING: Objects are stored that no manifest names yet.
        COMMITTING: The image itself is being stored: the old one is there, or the new one.
        COMMITTED: Swift acknowledged the image; what it replaced has to go.
        INTERRUPTED: The bytes are kept here, and nobody was told that they were not stored.
        FAILED: The bytes are kept here, and somebody was told an errno.
    """

    UPLOADING = "uploading"
    COMMITTING = "committing"
    COMMITTED = "committed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who uploads: a mount, or who goes on with what one left.

    Attributes:
        account: URL of the account.
        mountpoint: Of the mount; empty for a command.
        arguments: By which the source can be logged in to again, as on a command line.
    """

    account: str
    pid: int
    mountpoint: str = ""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One commit that may have been stored.

    Attributes:
        etag: What the image has if it was; empty when the image was removed.
        replaced: What then has to go.
    """

    etag: str
    replaced: tuple[ObjectName, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """One upload, as far as it is known to have gone.

    Attributes:
        token: Unique among all uploads of all hosts; part of its segments' names.
        container: Of the image.
        name: Of the image.
        base_etag: Of the image that is replaced; None when there was none.
        places: (container, prefix) below which everything is of this upload.
        objects: What else it stored, by name.
        attempts: Commits that may have been stored, the latest last.
        claim: An object that is of this upload if its metadata says so, and else not.
        moved_from: Of a rename: the manifest's old name, which has to go once it has the new.
        started: Seconds since the epoch.
        changed: When the state became what it is.
        delete_after: When what was replaced may go.
        size: Of the image, once it is known.
        recipe: How the image is put together from what is in Swift and in the spool.
        has_spool: Whether there are bytes beside the record.
        reason: Why it failed.
        errno: Its name, as who wrote was told.
    """

    token: str
    owner: Owner
    container: str
    name: str
    base_etag: str | None
    started: float
    changed: float
    state: State = State.UPLOADING
    places: tuple[ObjectName, ...] = ()
    objects: tuple[ObjectName, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    claim: ObjectName | None = None
    moved_from: ObjectName | None = None
    delete_after: float = 0.0
    size: int | None = None
    recipe: dict[str, Any] | None = None
    has_spool: bool = False
    reason: str = ""
    errno: str = ""

    @property
    def image(self) -> str:
        """The image's path below the account."""
        return f"{self.container}/{self.name}"

    @property
    def replaced(self) -> tuple[ObjectName, ...]:
        """What has to go once the latest attempt is known to be stored."""
        return self.attempts[-1].replaced if self.attempts else ()

    @property
    def is_kept(self) -> bool:
        """Whether its bytes wait here to be sent."""
        return self.state in {State.INTERRUPTED, State.FAILED}

    @property
    def is_given_up(self) -> bool:
        """Whether all that is left to do is to clean up."""
        return self.reason in {GIVEN_UP, UNCERTAIN} and not self.is_kept

    def is_placed(self, container: str, name: str) -> bool:
        """Return whether an object is known to be of this upload by its prefix."""
        return any(container == c and name.startswith(prefix) for c, prefix in self.places)


def new_token() -> str:
    """Return what tells one upload from all others, of all hosts; sorts by time."""
    return f"{time.time():.6f}-{secrets.token_hex(4)}"


def format_owner(owner: Owner) -> bytes:
    """Return an owner as JSON; inverse of `parse_owner`."""
    return json.dumps({"version": VERSION, **asdict(owner)}).encode()


def parse_owner(text: bytes) -> Owner:
    """Return the owner in `text`.

    Raises:
        DamagedRecordError: There is none in it.
    """
    with _damage_told():
        return _owner(_fields(text))


def format_record(record: UploadRecord) -> bytes:
    """Return a record as JSON; inverse of `parse_record`."""
    return json.dumps({"version": VERSION, **asdict(record)}, indent=1).encode()


def parse_record(text: bytes) -> UploadRecord:
    """Return the record in `text`.

    Raises:
        DamagedRecordError: There is none in it, or one of a later version.
    """
    with _damage_told():
        return _record(_fields(text))


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except DamagedRecordError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        # Not what the parser says: that is the text.
        raise DamagedRecordError(f"cannot be understood ({type(exc).__name__})") from None


def _fields(text: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(text)
    version = fields.pop("version")
    if version != VERSION:
        raise DamagedRecordError(f"of version {version}, and this one knows {VERSION}")
    return fields


def _owner(fields: dict[str, Any]) -> Owner:
    return Owner(**{**fields, "arguments": tuple(_text(x) for x in fields["arguments"])})


def _record(fields: dict[str, Any]) -> UploadRecord:
    attempts = tuple(
        Attempt(str(row["etag"]), tuple(_names(row["replaced"]))) for row in fields["attempts"]
    )
    record = UploadRecord(
        **{
            **fields,
            "owner": _owner(fields["owner"]),
            "state": State(fields["state"]),
            "places": tuple(_names(fields["places"])),
            "objects": tuple(_names(fields["objects"])),
            "attempts": attempts,
            "claim": next(_names([claim])) if (claim := fields.get("claim")) else None,
            "moved_from": next(_names([moved])) if (moved := fields["moved_from"]) else None,
        }
    )
    # What is deleted by these must be what was meant: an empty prefix is every object.
    for text in (record.token, record.container, record.name, record.owner.account):
        _text(text)
    return record


def _names(rows: Iterable[Iterable[str]]) -> Iterator[ObjectName]:
    for container, name in rows:
        yield _text(container), _text(name)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value
