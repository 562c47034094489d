"""A WSGI layer that refuses SLOs with short segments, as Swift did before 2.4.

Given to the embedded Swift as ``wrap=("tests.support.segments_layer:SmallestSegment",)``.
Swift then had ``min_segment_size``, 1 MiB by default: each row of a manifest but the last one
had to have it, a row with a range for its range, and `/info` told. Today's has 1 there.
Nested manifests are looked at row by row, like any other.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import Any

SMALLEST = 3000

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class SmallestSegment:
    """A WSGI application around another one."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/info":
            return self._info(environ, start_response)
        if "multipart-manifest=put" in environ.get("QUERY_STRING", ""):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            if short := [row for row in json.loads(body)[:-1] if length(row) < SMALLEST]:
                start_response("400 Bad Request", [("Content-Type", "text/plain")])
                return [f"Too small; each segment, except the last: {short}".encode()]
        return self._app(environ, start_response)

    def _info(self, environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        told: list[Any] = []
        body = b"".join(self._app(environ, lambda *answer: told.extend(answer)))
        info = json.loads(body)
        info["slo"]["min_segment_size"] = SMALLEST
        body = json.dumps(info).encode()
        headers = [(k, v) for k, v in told[1] if k.lower() != "content-length"]
        start_response(told[0], [*headers, ("Content-Length", str(len(body)))])
        return [body]


def length(row: dict[str, Any]) -> int:
    """Return how many bytes a row names."""
    if "range" not in row:
        return int(row["size_bytes"])
    first, _, last = row["range"].partition("-")
    return int(last) - int(first) + 1
