"""Every failure that swiftimgfs reports, and the errno of each.

This is the only table from failures to errnos. HTTP becomes one of these in
`swiftimgfs.store.failures`; one of these becomes an errno for the kernel in
`swiftimgfs.fuse.operations`. Between the two nobody speaks of statuses or errnos.
"""

from __future__ import annotations

import contextlib
import errno
import re
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# What may stand before a name that a reason begins with: the method of a request.
_METHOD: Final = re.compile("([A-Z]+ )?")


class SwiftImgFsError(Exception):
    """Something the user of the mount is told.

    Attributes:
        errno: What the application that asked sees.
        is_transient: Whether the same request may succeed if it is sent again.
        retry_after: Seconds that the server asked us to wait, if it did.
        status: Of HTTP, where that was the failure.
        transaction: What Swift calls the request in its own logs; empty when it did not say.
    """

    errno: ClassVar[int] = errno.EIO
    is_transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        transaction: str = "",
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status
        self.transaction = transaction


class ConfigError(SwiftImgFsError):
    """What the user asked for cannot be understood: a usage error, before any mount."""

    errno = errno.EINVAL


class MountError(SwiftImgFsError):
    """The mount cannot be made here: the mount point, the kernel or a tool is in the way."""


class NotFoundError(SwiftImgFsError):
    """No such container or object (HTTP 404)."""

    errno = errno.ENOENT


class ExistsError(SwiftImgFsError):
    """The name is taken (HTTP 412 to If-None-Match, 202 to the PUT of a container)."""

    errno = errno.EEXIST


class AccessDeniedError(SwiftImgFsError):
    """Keystone or Swift refused who we are (HTTP 401 after a new token, 403)."""

    errno = errno.EACCES


class ForbiddenError(AccessDeniedError):
    """Swift knows who we are, and does not let us (HTTP 403)."""


class NotPermittedError(SwiftImgFsError):
    """Swift could do it, but it would harm an image: refused by us."""

    errno = errno.EPERM


class ImageChangedError(SwiftImgFsError):
    """The image is no longer the one that was opened (HTTP 412 to If-Match, lost segments)."""

    errno = errno.ESTALE


class QuotaExceededError(SwiftImgFsError):
    """The account's or the container's quota is used up (HTTP 413)."""

    errno = errno.EDQUOT


class StoreFullError(SwiftImgFsError):
    """Swift has no room left (HTTP 507)."""

    errno = errno.ENOSPC


class HostDiskError(SwiftImgFsError):
    """This host's disk failed, where bytes wait for Swift or the journal is."""


class HostFullError(HostDiskError):
    """This host's disk has no room left (ENOSPC, EDQUOT)."""

    errno = errno.ENOSPC


class TooLargeError(SwiftImgFsError):
    """Larger than Swift stores in one piece or names in one manifest (HTTP 413)."""

    errno = errno.EFBIG


class StoreUnavailableError(SwiftImgFsError):
    """Swift or Keystone did not answer, or not usefully (network, HTTP 408, 429, 498, 5xx)."""

    is_transient = True


class UntrustedServerError(StoreUnavailableError):
    """Somebody answers whose certificate is none that we may trust; another try changes nothing."""

    is_transient = False


class BrokenBodyError(StoreUnavailableError):
    """The connection broke in the middle of an answer: what came is good, the rest is missing."""


class StalledError(BrokenBodyError):
    """Nothing came for too long: another connection may do better at once."""


class StoreRefusedError(SwiftImgFsError):
    """Swift refused for a reason that trying again does not cure (HTTP 400, 405, 409 …)."""


class CorruptDataError(SwiftImgFsError):
    """Bytes and checksum disagree (HTTP 422, or an etag other than the one expected)."""

    is_transient = True


class SignatureError(SwiftImgFsError):
    """An image's signature is wrong, or cannot be verified: there is no such image."""


class BadHandleError(SwiftImgFsError):
    """A file handle that is not open, or not open for this."""

    errno = errno.EBADF


class IsADirectoryFsError(SwiftImgFsError):
    """A directory where a file is needed."""

    errno = errno.EISDIR


class NotADirectoryFsError(SwiftImgFsError):
    """A file where a directory is needed."""

    errno = errno.ENOTDIR


class DirectoryNotEmptyError(SwiftImgFsError):
    """A directory that still has entries, or a container that has objects (HTTP 409)."""

    errno = errno.ENOTEMPTY


class CrossDeviceError(SwiftImgFsError):
    """A rename that only a copy can do; `mv` then copies."""

    errno = errno.EXDEV


class NoSuchAttributeError(SwiftImgFsError):
    """An extended attribute that this image or container does not have."""

    errno = errno.ENODATA


class AttributeTooLargeError(SwiftImgFsError):
    """An extended attribute whose name or value Swift never holds, or Linux does not pass on."""

    errno = errno.E2BIG


class AttributesFullError(SwiftImgFsError):
    """Swift holds no more metadata with this image or container."""

    errno = errno.ENOSPC


class NotSupportedError(SwiftImgFsError):
    """A request that an image store cannot honour."""

    errno = errno.EOPNOTSUPP


class ForeignAttributeError(NotSupportedError):
    """An extended attribute of a kind that is not kept here; tools ask and set them untold."""


class InvalidRequestError(SwiftImgFsError):
    """A request that makes no sense here: a name that is not UTF-8, an unknown flag."""

    errno = errno.EINVAL


class NameTooLongError(SwiftImgFsError):
    """A name longer than Swift holds: 1024 bytes for an object, 256 for a container."""

    errno = errno.ENAMETOOLONG


def errno_of(failure: Exception) -> int:
    """Return the errno that tells an application of `failure`; EIO for what nobody expected."""
    return failure.errno if isinstance(failure, SwiftImgFsError) else errno.EIO


def errno_name(number: int | None) -> str:
    """Return what the manual pages call an errno.

    Linux has one number for ENOTSUP and EOPNOTSUPP, of which Python names the other one.
    """
    name = errno.errorcode.get(number or 0, str(number))
    return "EOPNOTSUPP" if name == "ENOTSUP" else name


def answer_of(failure: BaseException) -> tuple[int | None, str]:
    """Return the HTTP status and the transaction id that a failure comes from, if any does."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, SwiftImgFsError) and cause.status is not None:
            return cause.status, cause.transaction
        cause = cause.__cause__
    return None, ""


def reason_beside(name: object, reason: object) -> str:
    """Return a reason for who has read an image's name before it: without the name.

    `c/x: exists` is `exists`, and `PUT c/x: 503` is `PUT: 503`. One that names something else,
    a segment for instance, stays as it is.
    """
    text = str(reason)
    before, named, after = text.partition(f"{name}: ")
    if not (named and _METHOD.fullmatch(before)):
        return text
    return f"{before.rstrip()}: {after}" if before else after


def host_failure(exc: OSError, what: str) -> HostDiskError:
    """Return what a system call on this host's disk failed with, naming `what`."""
    is_full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
    kind = HostFullError if is_full else HostDiskError
    return kind(f"{what}: {exc.strerror or exc}")


@contextlib.contextmanager
def first_failure() -> Iterator[None]:
    """Raise the first of our failures out of the group that a trio nursery raises.

    A nursery wraps what its tasks raise in an ExceptionGroup, which an
    `except NotFoundError` around it does not match. A group that holds anything other
    than our failures is a bug and passes unchanged.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        ours, others = group.split(SwiftImgFsError)
        if ours is None or others is not None:
            raise
        failure: BaseException = ours
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from None
