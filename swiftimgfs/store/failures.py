"""Where HTTP becomes one of our failures: statuses, broken connections, refused identities.

Source of the table: the Swift API reference, and what swift 2.38 was seen to answer
(413 is a quota when its body says so; 412 depends on which condition was sent).
"""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

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
# What Swift says of the segments of a manifest that it does not take; source: `slo.py`.
_LOST_SEGMENTS: Final = ("404 Not Found", "Etag Mismatch", "Size Mismatch")
_CHANGES: Final = {
    400: "a segment that it names is gone, or another one now",
    412: "changed by somebody else meanwhile",
    416: "changed by somebody else meanwhile",
}
# That a connection was not made at all; others broke later.
_NOT_MADE: Final = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)
# OpenSSL's X509_V_ERR_*: nobody here knows who signed it (18-21); source: X509_STORE_CTX_get_error(3).
_UNKNOWN_AUTHORITY: Final = frozenset({18, 19, 20, 21})
_PLACE_IN_SSL: Final = re.compile(r"^_ssl\.c:\d+: | \(_ssl\.c:\d+\)$")  # of Python's own source
_CACERT_HINT: Final = "give its authority's by cacert (-o cacert=FILE; cacert in clouds.yaml; OS_CACERT with env:)"


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
    kind = _kind(status, text, is_exclusive=is_exclusive)
    reason = f"{_CHANGES.get(status, '')}: " if kind is errors.ImageChangedError else ""
    message = f"{what}: {reason}{status} {exc.http_reason or ''}".rstrip()
    transaction = _transaction_of(exc)
    if transaction:
        message += f" (transaction {transaction})"
    return kind(
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
    if status == http.client.BAD_REQUEST and any(sign in text for sign in _LOST_SEGMENTS):
        return errors.ImageChangedError
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
def translated(what: str, *, is_exclusive: bool = False, at: str = "") -> Iterator[None]:
    """Raise whatever the clients raise inside as one of our failures.

    Args:
        what: What is being done, for the message.
        is_exclusive: Whether it carries If-None-Match, which a 412 then answers.
        at: The URL of who is asked, where `what` does not say it.
    """
    asked = f"{what} at {at}" if at else what
    try:
        yield
    except swiftclient.ClientException as exc:
        if exc.http_status is None:
            raise errors.StoreUnavailableError(f"{asked}: {exc.msg}") from exc
        raise failure_of_status(exc, asked, is_exclusive=is_exclusive) from exc
    except keystone.ClientException as exc:
        raise _of_keystone(exc, what, at) from exc
    except CONNECTION_FAILURES as exc:
        raise _unreachable(exc, what, at) from exc


def _of_keystone(exc: keystone.ClientException, what: str, at: str) -> errors.SwiftImgFsError:
    asked = f"{what} at {at}" if at else what
    match exc:
        case keystone.Unauthorized():
            return errors.AccessDeniedError(f"{asked}: Keystone refused the credentials")
        case keystone.MissingRequiredOptions() | keystone.NoMatchingPlugin():
            return errors.ConfigError(f"{what}: {exc}")
        case keystone.CatalogException():
            return errors.StoreRefusedError(f"{asked}: no object store in the catalog: {exc}")
        case _:
            pass
    if any(isinstance(cause, requests.RequestException) for cause in _causes(exc)):
        return _unreachable(exc, what, at)
    return errors.StoreUnavailableError(f"{asked}: {exc}")


def _unreachable(exc: BaseException, what: str, at: str) -> errors.StoreUnavailableError:
    is_untrusted = isinstance([*_causes(exc)][-1], ssl.SSLCertVerificationError)
    kind = errors.UntrustedServerError if is_untrusted else errors.StoreUnavailableError
    return kind(f"{what}: {describe(exc, at)}")


def describe(exc: BaseException, at: str = "") -> str:
    """Return in one line which server could not be reached, or what a connection broke of.

    requests and keystoneauth nest urllib3's errors, which nest the socket's: only the last
    says what a person wants to know ("connection refused", "no such host").

    Args:
        exc: What a client raised.
        at: The URL that was asked for; shown instead of the bare address of its server.
    """
    if isinstance(exc, requests.exceptions.InvalidHeader):
        return "a header has characters that HTTP cannot carry"  # requests would show it
    causes = list(_causes(exc))
    server = _server_of(causes, at)
    reason = causes[-1]
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _certificate_problem(reason, server or "the server")
    text = _text_of(causes)
    if any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes):
        return f"cannot reach the proxy before {server or 'the server'}: {text}"
    is_made = not any(isinstance(cause, _NOT_MADE) for cause in causes)
    if not server:
        return text
    return f"{server}: {text}" if is_made else f"cannot reach {server}: {text}"


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was raised of, down to the first of all."""
    reason: BaseException = exc
    while True:
        yield reason
        inner = getattr(reason, "reason", None) or reason.__cause__ or reason.__context__
        if not isinstance(inner, BaseException) or inner is reason:
            return
        reason = inner


def _server_of(causes: list[BaseException], at: str) -> str:
    """Return the server's URL without what was asked of it; empty when no client names it."""
    urls = (getattr(getattr(cause, "request", None), "url", None) for cause in causes)
    url = urlsplit(next(filter(None, urls), None) or at)
    server = f"{url.scheme}://{url.netloc.rpartition('@')[2]}" if url.netloc else ""
    return at if at.startswith(server) else server


def _text_of(causes: list[BaseException]) -> str:
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        return "no such host"
    reason = causes[-1]
    text = " ".join(str(getattr(reason, "strerror", None) or reason).split())
    text = _PLACE_IN_SSL.sub("", text) or type(reason).__name__
    is_sentence = text[1:2].islower() or text[1:2] == " "
    return text[:1].lower() + text[1:] if is_sentence else text


def _certificate_problem(exc: ssl.SSLCertVerificationError, server: str) -> str:
    if exc.verify_code in _UNKNOWN_AUTHORITY:
        return f"the certificate of {server} is not trusted: {_CACERT_HINT}"
    return f"the certificate of {server} is refused: {exc.verify_message}"
