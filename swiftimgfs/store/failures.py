"""Where HTTP becomes one of our failures: statuses, broken connections, refused identities.

Source of the table: the Swift API reference, and what swift 2.38 was seen to answer
(413 is a quota when its body says so; 412 depends on which condition was sent).
"""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING

import keystoneauth1.exceptions as keystone
import requests
import swiftclient
import urllib3

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a connection can die of. requests raises its own kind when it makes the request, and
# lets urllib3's and http.client's through when a body is read afterwards.
CONNECTION_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)

_BY_STATUS: dict[int, type[errors.SwiftImgFsError]] = {
    401: errors.AccessDeniedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    408: errors.StoreUnavailableError,
    416: errors.ImageChangedError,  # we only ask for bytes that the image had
    422: errors.CorruptDataError,
    429: errors.StoreUnavailableError,
    498: errors.StoreUnavailableError,
    499: errors.StoreUnavailableError,
    507: errors.StoreFullError,
}
SERVER_ERROR = 500


def failure_of_status(
    exc: swiftclient.ClientException, what: str, *, is_exclusive: bool = False
) -> errors.SwiftImgFsError:
    """Return the failure that an HTTP status means.

    Args:
        exc: What swiftclient made of the response.
        what: The request, for the message; no query and no header of it.
        is_exclusive: Whether it carried If-None-Match, which a 412 then answers.
    """
    status = exc.http_status or 0
    body = exc.http_response_content or b""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    message = f"{what}: {status} {exc.http_reason or ''}".rstrip()
    transaction = _transaction_of(exc)
    if transaction:
        message += f" (transaction {transaction})"
    return _kind(status, text, is_exclusive=is_exclusive)(
        message,
        retry_after=_retry_after(exc.http_response_headers or {}),
        status=exc.http_status,
        transaction=transaction,
    )


def _kind(status: int, text: str, *, is_exclusive: bool) -> type[errors.SwiftImgFsError]:
    if status == http.client.PRECONDITION_FAILED:
        return errors.ExistsError if is_exclusive else errors.ImageChangedError
    if status == http.client.REQUEST_ENTITY_TOO_LARGE:
        return errors.QuotaExceededError if "quota" in text.lower() else errors.TooLargeError
    default = (
        errors.StoreUnavailableError if status >= SERVER_ERROR else errors.StoreRefusedError
    )
    return _BY_STATUS.get(status, default)


def _transaction_of(exc: swiftclient.ClientException) -> str:
    """Return what Swift calls the request; swiftclient overlooks it in lower-cased headers."""
    headers = exc.http_response_headers or {}
    told = exc.transaction_id or headers.get("x-trans-id")
    return told or headers.get("x-openstack-request-id") or ""


def _retry_after(headers: dict[str, str]) -> float | None:
    with contextlib.suppress(ValueError):  # the other allowed form is a date: wait our own time
        return max(0.0, float(headers.get("retry-after", "")))
    return None


@contextlib.contextmanager
def translated(what: str, *, is_exclusive: bool = False) -> Iterator[None]:
    """Raise whatever the clients raise inside as one of our failures, naming `what`."""
    try:
        yield
    except swiftclient.ClientException as exc:
        if exc.http_status is None:
            raise errors.StoreUnavailableError(f"{what}: {exc.msg}") from exc
        raise failure_of_status(exc, what, is_exclusive=is_exclusive) from exc
    except keystone.Unauthorized as exc:
        raise errors.AccessDeniedError(f"{what}: Keystone refused the credentials") from exc
    except (keystone.MissingRequiredOptions, keystone.NoMatchingPlugin) as exc:
        raise errors.ConfigError(f"{what}: {exc}") from exc
    except keystone.CatalogException as exc:
        raise errors.StoreRefusedError(
            f"{what}: no object store in the catalog: {exc}"
        ) from exc
    except keystone.ClientException as exc:
        raise errors.StoreUnavailableError(f"{what}: {exc}") from exc
    except CONNECTION_FAILURES as exc:
        raise errors.StoreUnavailableError(f"{what}: {describe(exc)}") from exc


def describe(exc: BaseException) -> str:
    """Return the innermost reason of a broken connection in one line.

    requests nests urllib3's errors, which nest the socket's: only the last says what a
    person wants to know ("Connection refused", "Name or service not known").
    """
    if isinstance(exc, requests.exceptions.InvalidHeader):
        return "a header has characters that HTTP cannot carry"  # requests would show it
    reason: BaseException = exc
    while True:
        inner = getattr(reason, "reason", None) or reason.__cause__ or reason.__context__
        if not isinstance(inner, BaseException) or inner is reason:
            break
        reason = inner
    text = str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
    return " ".join(text.split())
