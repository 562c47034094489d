"""A WSGI layer that knows when a TLS front stands before the server it wraps.

Given to the embedded Swift as ``wrap=("tests.support.https_layer:HttpsLayer",)``. Swift's
tempauth makes the storage URL that it answers from the request, as far as it can see it:
behind a front it sees the client's Host, and takes plain HTTP for the scheme.

The front (`tls`) passes bytes on and cannot add a header, but a Host with another port than
the one we listen on tells as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class HttpsLayer:
    """A WSGI application around another one."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        port = environ.get("HTTP_HOST", "").rpartition(":")[2]
        if port.isdigit() and port != str(environ["SERVER_PORT"]):
            environ["wsgi.url_scheme"] = "https"
        return self._app(environ, start_response)
