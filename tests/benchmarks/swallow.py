"""A Swift that takes everything and keeps nothing: what is measured is who sends.

A process of its own (`python -m tests.benchmarks.swallow TOLD`), because nginx cannot drop
a body before it answers without keeping it somewhere first. Bodies of a known length never
leave the kernel (`MSG_TRUNC`); chunked ones are read past. It remembers names, sizes and
manifests, so that a client can look at what it stored, and counts.

It computes no MD5, which would cost as much as what is measured: it has been told those of
the pieces that will come, by size and first bytes. Of other bodies it believes the `ETag`
that a client sent, and a body with neither is a 422, so that nothing passes by mistake.

Source: tcp(7), "MSG_TRUNC"; ncw/swift's ObjectPut and swiftclient's upload, which compare
the answered etag with an MD5 of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import json
import socket
import sys
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tests.benchmarks.endpoint import CONTAINER, Endpoint, Traffic
from tests.support.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.benchmarks.images import Image

HOST = "127.0.0.1"
ACCOUNT = "/v1/AUTH_bench"
CONTROL = "/__benchmark__"
EMPTY_MD5 = hashlib.md5(b"", usedforsecurity=False).hexdigest()
HEAD_SIZE = 16  # of noise: enough to tell any two pieces
START_SECONDS = 10
SCRATCH = 1024 * 1024
LISTED_MODIFIED = "2026-11-22T10:00:00.000000"
INFO = {
    "swift": {
        "version": "2.38.0",
        "container_listing_limit": 10000,
        "max_file_size": 5 * 1024**3 + 2,
    },
    "slo": {"max_manifest_segments": 1000, "min_segment_size": 1},
    "tempauth": {},
}


# ── the side of the benchmarks ────────────────────────────────────────────────────────


def told(images: Iterable[Image], piece_sizes: Sequence[int]) -> dict[str, str]:
    """Return the MD5s of images, and of all their pieces of some sizes, by `piece_key`."""
    known: dict[str, str] = {}
    for image in images:
        with image.path.open("rb") as file:
            known[piece_key(image.size, file.read(HEAD_SIZE))] = image.md5
            for size in piece_sizes:
                file.seek(0)
                while piece := file.read(size):
                    md5 = hashlib.md5(piece, usedforsecurity=False).hexdigest()
                    known[piece_key(len(piece), piece[:HEAD_SIZE])] = md5
    return known


def piece_key(size: int, head: bytes) -> str:
    """Return what tells a piece from all others."""
    return f"{size} {head[:HEAD_SIZE].hex()}"


@contextlib.contextmanager
def swallower(
    name: str, directory: Path, images: Iterable[Image], piece_sizes: Sequence[int]
) -> Iterator[Endpoint]:
    """Swallow what is sent while the context lasts.

    Args:
        name: Of the endpoint.
        directory: For its files; made.
        images: That will be sent, whole or in pieces.
        piece_sizes: Of those pieces, as clients cut them.
    """
    directory.mkdir()
    table = directory / "told.json"
    table.write_text(json.dumps(told(images, piece_sizes)))
    with Child(__name__, [str(table)], log=directory / "log") as child:
        port = int(child.read_line(START_SECONDS))
        yield Endpoint(
            name=name,
            auth_url=f"http://{HOST}:{port}/auth/v1.0",
            user="bench:bench",
            key="bench",
            ca_file=None,
            traffic=lambda: Traffic(**_control(port, "GET", "traffic")),
            forget_traffic=lambda: _control(port, "DELETE", "traffic"),
            wipe=lambda: _control(port, "DELETE", "objects"),
        )


def _control(port: int, method: str, name: str) -> Any:
    connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, f"{CONTROL}/{name}")
        return json.load(connection.getresponse())


# ── the server ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of an object: all but its bytes."""

    size: int
    etag: str
    headers: dict[str, str]
    manifest: bytes = b""


class Memory:
    """What the server knows; its methods are called by many threads."""

    def __init__(self, told: dict[str, str]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self.forget_objects()
        self.forget_traffic()

    def forget_objects(self) -> None:
        self.containers: dict[str, dict[str, Kept]] = {CONTAINER: {}}

    def forget_traffic(self) -> None:
        self._counts = dict.fromkeys(Traffic.__dataclass_fields__, 0)

    def count(self, **amounts: int) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount

    def traffic(self) -> dict[str, int]:
        return dict(self._counts)

    def etag_of(self, size: int, head: bytes, sent: str) -> str:
        if size == 0:
            return EMPTY_MD5
        return self._told.get(piece_key(size, head)) or sent

    def size_of(self, container: str, kept: Kept) -> int:
        """Return what a HEAD says: of a DLO's manifest the size of what it names."""
        where = kept.headers.get("x-object-manifest")
        if where is None:
            return kept.size
        there, _, prefix = urllib.parse.unquote(where).partition("/")
        segments = self.containers.get(there, {})
        return sum(s.size for name, s in segments.items() if name.startswith(prefix))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers like Swift, as far as those need it who only write."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 256 * 1024
    memory: ClassVar[Memory]

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._dispatch()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  # http.server's names

    def _dispatch(self) -> None:
        path, _, query = self.path.partition("?")
        self._query = urllib.parse.parse_qs(query, keep_blank_values=True)
        if path.startswith(CONTROL):
            self._answer_control(path.removeprefix(f"{CONTROL}/"))
            return
        self.memory.count(requests=1)
        if path == "/auth/v1.0":
            url = f"http://{self.headers['Host']}{ACCOUNT}"
            self._answer(200, {"X-Storage-Url": url, "X-Auth-Token": "AUTH_tkbench"})
        elif path == "/info":
            self._answer_json(INFO)
        else:
            parts = path.removeprefix(ACCOUNT).strip("/").split("/", 1)
            self._dispatch_stored(*(urllib.parse.unquote(part) for part in parts if part))

    def _answer_control(self, name: str) -> None:
        if self.command == "DELETE" and name == "traffic":
            self.memory.forget_traffic()
        elif self.command == "DELETE":
            self.memory.forget_objects()
        self._answer_json(self.memory.traffic())

    def _dispatch_stored(self, container: str = "", name: str = "") -> None:
        kind = "object" if name else "container" if container else "account"
        handle = getattr(self, f"_{self.command.lower()}_{kind}", None)
        if handle is None:
            self._swallow()
            self._answer(405)
        elif kind == "account":
            handle()
        elif kind == "container":
            handle(container)
        elif container in self.memory.containers:
            handle(container, name)
        else:
            self._swallow()
            self._answer(404)

    # ── account and containers ──

    def _get_account(self) -> None:
        rows = [
            {"name": name, "count": 0, "bytes": 0, "last_modified": LISTED_MODIFIED}
            for name in self.memory.containers
        ]
        marker = self._query.get("marker", [""])[0]
        self._answer_json([row for row in rows if str(row["name"]) > marker])

    def _head_account(self) -> None:
        self._answer(204, {"X-Account-Container-Count": str(len(self.memory.containers))})

    def _put_container(self, container: str) -> None:
        self._swallow()
        self.memory.containers.setdefault(container, {})
        self._answer(201)

    def _post_container(self, _container: str) -> None:
        self._swallow()
        self._answer(204)

    def _head_container(self, container: str) -> None:
        objects = self.memory.containers.get(container)
        if objects is None:
            self._answer(404)
        else:
            counts = {"X-Container-Object-Count": str(len(objects))}
            self._answer(204, {**counts, "X-Container-Bytes-Used": "0"})

    def _get_container(self, container: str) -> None:
        asked = {name: values[0] for name, values in self._query.items()}
        prefix, marker = asked.get("prefix", ""), asked.get("marker", "")
        rows = [
            {
                "name": name,
                "bytes": kept.size,
                "hash": kept.etag,
                "content_type": "application/octet-stream",
                "last_modified": LISTED_MODIFIED,
            }
            for name, kept in sorted(self.memory.containers.get(container, {}).items())
            if name.startswith(prefix) and name > marker
        ]
        self._answer_json(rows)

    # ── objects ──

    def _put_object(self, container: str, name: str) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        objects = self.memory.containers[container]
        if self._query.get("multipart-manifest") == ["put"]:
            kept = self._take_manifest(headers)
            self.memory.count(manifests=1)
            etag = f'"{kept.etag}"'
        else:
            size, head = self._swallow()
            sent = headers.get("etag", "").strip('"')
            kept = Kept(size, self.memory.etag_of(size, head, sent), headers)
            is_dlo = "x-object-manifest" in headers
            self.memory.count(manifests=is_dlo, puts=not is_dlo, bytes_received=size)
            etag = kept.etag
        if not etag:
            self._answer(422)
        elif headers.get("if-none-match") == "*" and name in objects:
            self._answer(412)
        else:
            objects[name] = kept
            self._answer_stored(etag)

    def _answer_stored(self, etag: str) -> None:
        if "heartbeat" not in self._query:
            self._answer(201, {"Etag": etag})
            return
        facts: dict[str, object] = {"Response Status": "201 Created", "Etag": etag}
        facts |= {"Errors": [], "Last Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
        facts |= {"Response Body": ""}
        kind = {"Content-Type": "application/json"}
        self._answer(202, kind, json.dumps(facts).encode())

    def _take_manifest(self, headers: dict[str, str]) -> Kept:
        body = self.rfile.read(int(headers["content-length"]))
        rows = json.loads(body)
        etags = "".join(row["etag"] for row in rows).encode()
        size = sum(row["size_bytes"] for row in rows)
        etag = hashlib.md5(etags, usedforsecurity=False).hexdigest()
        return Kept(size, etag, headers, body)

    def _head_object(self, container: str, name: str) -> None:
        kept = self.memory.containers[container].get(name)
        if kept is None:
            self._answer(404)
            return
        stored = {k: v for k, v in kept.headers.items() if k.startswith("x-object-")}
        stored |= {"Content-Type": "application/octet-stream"}
        stored |= {
            "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT",
            "X-Timestamp": "1795341600",
        }
        stored |= {"Etag": f'"{kept.etag}"' if kept.manifest else kept.etag}
        stored |= {"X-Static-Large-Object": "True"} if kept.manifest else {}
        self._answer(200, stored, size=self.memory.size_of(container, kept))

    def _get_object(self, container: str, name: str) -> None:
        kept = self.memory.containers[container].get(name)
        if kept is None or self._query.get("multipart-manifest") != ["get"]:
            self._answer(404)
            return
        rows = json.loads(kept.manifest)
        listed = [
            {"name": row["path"], "hash": row["etag"], "bytes": row["size_bytes"]}
            for row in rows
        ]
        self._answer(200, {"X-Static-Large-Object": "True"}, json.dumps(listed).encode())

    def _post_object(self, _container: str, _name: str) -> None:
        self._swallow()
        self._answer(202)

    def _delete_object(self, container: str, name: str) -> None:
        is_there = self.memory.containers[container].pop(name, None) is not None
        self._answer(204 if is_there else 404)

    # ── bodies ──

    def _swallow(self) -> tuple[int, bytes]:
        """Return the size of the request's body and its first bytes, after its last came."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._swallow_chunks()
        length = int(self.headers.get("Content-Length", "0"))
        head = self.rfile.read(min(HEAD_SIZE, length))
        self._skip(length - len(head))
        return length, head

    def _skip(self, rest: int) -> None:
        if not rest:
            return
        rest -= len(self.rfile.read(min(rest, len(self.rfile.peek()))))  # type: ignore[attr-defined]
        while rest:
            count = self.connection.recv_into(
                _scratch, min(rest, SCRATCH), socket.MSG_TRUNC | socket.MSG_WAITALL
            )
            if not count:
                raise ConnectionError
            rest -= count

    def _swallow_chunks(self) -> tuple[int, bytes]:
        total, head = 0, b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            if len(head) < HEAD_SIZE:
                head += self.rfile.read(min(size, HEAD_SIZE - len(head)))
                self.rfile.read(size + 2 - len(head))
            else:
                self.rfile.read(size + 2)
            total += size
        self.rfile.readline()
        return total, head

    # ── answers ──

    def _answer_json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self._answer(200, {"Content-Type": "application/json; charset=utf-8"}, body)

    def _answer(
        self,
        status: int,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        size: int = -1,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("X-Trans-Id", "txbenchmark")
        if status != 204:
            self.send_header("Content-Length", str(len(body) if size < 0 else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


_scratch = bytearray(SCRATCH)  # of all threads: nothing is ever written to it


def main() -> None:
    """Say the port, and serve until standard input ends."""
    Handler.memory = Memory(json.loads(Path(sys.argv[1]).read_text()))
    server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
