"""The outermost WSGI layer of the tests' Swift: it keeps a journal and makes faults happen.

Given to the embedded Swift as ``wrap=("tests.support.faults:FaultLayer",)``, and told what
to do by `fault_control`.

How a connection is cut: eventlet's server closes it, without completing the answer, when an
application says that it has "already handled" the request. What was yielded before has been
flushed by then, to the byte; a client sees an end of file in the middle of the body, or
instead of an answer.

Source: eventlet/wsgi.py, HttpProtocol.handle_one_response.
"""

from __future__ import annotations

import http
import itertools
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import eventlet
from eventlet.wsgi import WSGI_LOCAL

from swiftimgfs.demo.memory_cache import SHARED_CACHE
from tests.support.fault_control import CONTROL_PREFIX, Fault, Request

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

NO_FAULT = Fault()


class FaultLayer:
    """A WSGI application around another one."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._journal: list[Request] = []
        self._faults: list[PendingFault] = []
        self._cleared = eventlet.Event()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(CONTROL_PREFIX):
            return self._control(environ, start_response)
        request = request_from(environ)
        self._journal.append(request)
        fault = next((fault.value for fault in self._faults if fault.befalls(request)), None)
        request.harmed = fault is not None
        # Write what is yielded at once: by default less than 4 KiB waits for more.
        environ["eventlet.minimum_write_chunk_size"] = 0
        return self._answer(environ, start_response, request, fault or NO_FAULT)

    def _answer(
        self, environ: Environ, start_response: StartResponse, request: Request, fault: Fault
    ) -> Iterator[bytes]:
        try:
            if fault.forget_tokens:
                SHARED_CACHE.forget_tokens()
            eventlet.sleep(fault.delay)
            environ["wsgi.input"] = CountedInput(environ["wsgi.input"], request)
            if fault.cut_upload_after is not None:
                environ["wsgi.input"].read(fault.cut_upload_after)
                cut_connection()
            elif fault.status is not None:
                yield from refuse(fault, request, start_response)
            elif fault.lose_answer or fault.hold:
                self._keep_answer(environ, request, fault)
            else:
                yield from pass_on(self._app, environ, start_response, request, fault)
        finally:
            request.duration = time.time() - request.started

    def _keep_answer(self, environ: Environ, request: Request, fault: Fault) -> None:
        """Do it or not, now or later, and close the connection without a word."""
        if fault.hold != "before":
            exhaust(self._app(environ, ignore_start))
        if fault.hold:
            request.held = True
            self._cleared.wait()
        cut_connection()

    def _control(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        match environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(CONTROL_PREFIX):
            case "GET", "journal":
                return answer_json(start_response, [asdict(entry) for entry in self._journal])
            case "DELETE", "journal":
                self._journal.clear()
            case "POST", "faults":
                content = json.loads(environ["wsgi.input"].read())
                self._faults.append(PendingFault(Fault(**content)))
            case "DELETE", "faults":
                self._faults.clear()
                self._cleared.send()
                self._cleared = eventlet.Event()
            case "DELETE", "tokens":
                SHARED_CACHE.forget_tokens()
            case unknown:
                return answer_json(start_response, unknown, "400 Bad Request")
        return answer_json(start_response, None)


class PendingFault:
    """A fault and how many of its requests have come."""

    def __init__(self, value: Fault) -> None:
        self.value = value
        self._target = re.compile(value.target)
        self._first = value.skip
        self._end = float("inf") if value.count is None else value.skip + value.count
        self._come = 0

    def befalls(self, request: Request) -> bool:
        """Whether this request is one of the harmed; each request may be asked about once."""
        if self.value.method not in (None, request.method):
            return False
        if not self._target.search(request.target):
            return False
        self._come += 1
        return self._first < self._come <= self._end


class CountedInput:
    """The request's body, counting what is read of it."""

    def __init__(self, body: Any, request: Request) -> None:
        self._body = body
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def read(self, *size: int) -> bytes:
        data: bytes = self._body.read(*size)
        self._request.bytes_received += len(data)
        return data

    def readline(self, *size: int) -> bytes:
        data: bytes = self._body.readline(*size)
        self._request.bytes_received += len(data)
        return data


def request_from(environ: Environ) -> Request:
    """Return a journal entry for a request that has just come."""
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    headers = {name.lower(): value for name, value in environ["headers_raw"]}
    method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
    return Request(method, path, query, headers, time.time())


def refuse(fault: Fault, request: Request, start_response: StartResponse) -> Iterator[bytes]:
    """Answer with the fault's status, headers and body."""
    assert fault.status is not None
    body = fault.body.encode()
    headers = {"Content-Type": "text/plain", "Content-Length": str(len(body)), **fault.headers}
    phrase = http.HTTPStatus(fault.status).phrase if fault.status in PHRASES else "Injected"
    start_response(f"{fault.status} {phrase}", list(headers.items()))
    request.status = fault.status
    request.bytes_sent = len(body)
    yield body


PHRASES = frozenset(http.HTTPStatus)


def pass_on(
    app: Application,
    environ: Environ,
    start_response: StartResponse,
    request: Request,
    fault: Fault,
) -> Iterator[bytes]:
    """Answer what the application answers, with what the fault does to the body."""
    write: Callable[[bytes], object] | None = None

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        nonlocal write
        request.status = int(status[:3])
        write = start_response(status, headers, *exc_info)
        return write

    body = app(environ, start)
    wanted = (fault.cut_after, fault.stall_after, fault.corrupt_at)
    places = [place for place in wanted if place is not None]
    try:
        for chunk in divided(body, places):
            if request.bytes_sent == 0 and 0 in places and write is not None:
                write(b"")  # the headers, which would wait for the first byte
            if request.bytes_sent == fault.stall_after:
                eventlet.sleep(fault.stall_seconds)
            if request.bytes_sent == fault.cut_after:
                cut_connection()
                return
            is_corrupt = request.bytes_sent == fault.corrupt_at
            request.bytes_sent += len(chunk)
            yield corrupted(chunk) if is_corrupt else chunk
    finally:
        close(body)


def divided(chunks: Iterable[bytes], places: Collection[int]) -> Iterator[bytes]:
    """Yield the same bytes, in chunks of which one begins at each of the places."""
    offset = 0
    for chunk in chunks:
        inside = {place - offset for place in places if offset < place < offset + len(chunk)}
        bounds = [0, *sorted(inside), len(chunk)]
        for start, end in itertools.pairwise(bounds):
            if start < end:
                yield chunk[start:end]
        offset += len(chunk)


def corrupted(chunk: bytes) -> bytes:
    """Flip all bits of the first byte."""
    return bytes([chunk[0] ^ 0xFF]) + chunk[1:]


def exhaust(body: Iterable[bytes]) -> None:
    """Let an application finish its work, whatever it answers."""
    try:
        for _ in body:
            pass
    finally:
        close(body)


def close(body: Iterable[bytes]) -> None:
    """Do what a WSGI server owes to the body of every answer."""
    if hasattr(body, "close"):
        body.close()


def cut_connection() -> None:
    """Make eventlet's server close the connection as soon as the application returns."""
    WSGI_LOCAL.already_handled = True


def ignore_start(*_answer: Any) -> Callable[[bytes], object]:
    """Take an answer's status and headers, and keep them from the client."""
    return lambda _data: None


def answer_json(
    start_response: StartResponse, content: object, status: str = "200 OK"
) -> list[bytes]:
    """Answer a test that controls us."""
    body = json.dumps(content).encode()
    start_response(status, [("Content-Type", "application/json")])
    return [body]
