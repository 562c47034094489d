"""What applications were refused: counted, the latest kept, each told to the log once.

What applications ask for all day (does it exist? is it empty?) is no failure: nobody wants
to read of it, and it is not counted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from swiftimgfs import errors

log = logging.getLogger(__name__)

KEPT: Final = 50
# What applications ask for all day, and what they are told anyway.
EXPECTED: Final = (
    errors.NotFoundError,
    errors.NoSuchAttributeError,
    errors.ForeignAttributeError,
    errors.ExistsError,
    errors.DirectoryNotEmptyError,
    errors.CrossDeviceError,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One request of the kernel that was answered with an errno.

    Attributes:
        when: Seconds since the epoch.
        operation: The request.
        image: Its container and its name; empty when it is not known.
        errno: Its name.
        status: Of HTTP, 0 where there was none.
        transaction: What Swift calls it in its logs; empty where it said nothing.
    """

    when: float
    operation: str
    image: str
    errno: str
    status: int
    transaction: str
    reason: str


class Refusals:
    """The refusals of a mount.

    Attributes:
        counts: How many there were, by operation and name of the errno.
    """

    def __init__(self) -> None:
        self.counts: Final[Counter[tuple[str, str]]] = Counter()
        self._latest: deque[Refusal] = deque(maxlen=KEPT)

    def latest(self) -> tuple[Refusal, ...]:
        """Return the last ones, the latest last."""
        return tuple(self._latest)

    def note(self, operation: str, image: str, failure: Exception) -> None:
        """Take note of a refusal, and tell the log."""
        status, transaction = errors.answer_of(failure)
        name = errors.errno_name(errors.errno_of(failure))
        reason = errors.reason_beside(image, failure)
        is_expected = isinstance(failure, EXPECTED)
        if not is_expected:
            self.counts[operation, name] += 1
            self._latest.append(
                Refusal(time.time(), operation, image, name, status or 0, transaction, reason)
            )
        facts = {
            "operation": operation,
            "image": image,
            "errno": name,
            "status": status,
            "transaction": transaction,
        }
        log.log(
            _level_of(failure, is_expected=is_expected),
            "%s failed image=%s errno=%s status=%s transaction=%s reason=%s",
            operation,
            image,
            name,
            status or "-",
            transaction or "-",
            reason,
            exc_info=None if isinstance(failure, errors.SwiftImgFsError) else failure,
            extra=facts,
        )


def _level_of(failure: Exception, *, is_expected: bool) -> int:
    if not isinstance(failure, errors.SwiftImgFsError):
        return logging.ERROR  # a defect of ours
    return logging.DEBUG if is_expected else logging.WARNING
