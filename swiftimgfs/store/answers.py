"""Swift's answers: headers as they are kept, and what is no success."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

import swiftclient

from swiftimgfs import errors
from swiftimgfs.store.request import heartbeat_answer
from swiftimgfs.store.wire import failure_of

if TYPE_CHECKING:
    from swiftimgfs.store.request import Request


def check_range(response: http.client.HTTPResponse, expected: str, what: str) -> None:
    """Refuse an answer that is not the range that was asked for."""
    if response.status >= http.HTTPStatus.MULTIPLE_CHOICES:
        raise failure_of(response, what)
    is_partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if not is_partial or not response.getheader("content-range", "").startswith(expected):
        raise errors.ImageChangedError(f"{what}: not the range asked for")


def headers_of(response: swiftclient.client.requests.Response) -> dict[str, str]:
    """Return headers by lower-cased name, as Swift keeps them: UTF-8, still quoted.

    swiftclient's own dictionary unquotes them; sent back in a POST, a manifest's header
    would then name other segments.
    """
    headers = {}
    for key, value in response.headers.items():
        raw = value.encode("latin-1")  # what http.client decoded it with
        headers[key.lower()] = raw.decode(errors="replace")
    return headers


def raise_for_status(
    request: Request, response: swiftclient.client.requests.Response, body: bytes
) -> None:
    """Raise what an answer says that is no success, also one that was told before it was done.

    Raises:
        ClientException: As swiftclient's own functions raise it.
    """
    if response.status < http.HTTPStatus.MULTIPLE_CHOICES:  # a redirection is not followed
        _raise_for_heartbeat(request, response.status, body)
        return
    raise swiftclient.ClientException.from_response(response, str(request), body)


def _raise_for_heartbeat(request: Request, status: int, body: bytes) -> None:
    """Raise what a request failed with whose status was told before it was done."""
    answer = heartbeat_answer(request, status, body)
    if answer is None:
        return
    told, _, reason = answer[":status"].partition(" ")
    if not told.startswith("2"):
        raise swiftclient.ClientException(
            str(request),
            http_status=int(told),
            http_reason=reason,
            http_response_content=answer[":body"],
        )
