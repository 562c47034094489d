"""The servers that jobs name, each started when it is first asked for.

`fast` and its like are one nginx (see `nginx`), the infinitely fast cluster; `swift` and
`swift-limited` are the embedded Swift, a whole cluster in one process, the latter as slow
with the segments of large objects as Swift is by default. `swallow` keeps nothing of what is
written to it (see `swallow`).
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Self

from tests.benchmarks.endpoint import CONTAINER, Endpoint, Traffic
from tests.benchmarks.images import MANY, MANY_SEGMENT_SIZE, SLO
from tests.benchmarks.nginx import Port, nginx
from tests.benchmarks.peers import SEGMENT_SIZE
from tests.benchmarks.swallow import swallower
from tests.support.embedded_swift import FaultySwift, faulty_swift

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import swiftclient

    from tests.benchmarks.images import Image, Images
    from tests.support.fault_control import Request

FAST, FAST_TLS, FAST_5MS, FAST_50MS = "fast", "fast-tls", "fast-5ms", "fast-50ms"
SWIFT, SWIFT_LIMITED = "swift", "swift-limited"
SWALLOW = "swallow"

PORTS = (
    Port(FAST),
    Port(FAST_TLS, is_tls=True),
    Port(FAST_5MS, latency=0.005),
    Port(FAST_50MS, latency=0.050),
)
LARGE_SEGMENTS = 16


class Servers:
    """Starts servers, and ends them with the context.

    Args:
        directory: For what they write; in memory, as nothing else shall limit them.
        images: Of the whole run.
        wanted: By server, the objects that jobs read there.
    """

    def __init__(
        self, directory: Path, images: Images, wanted: Mapping[str, Iterable[str]]
    ) -> None:
        self._directory = directory
        self._images = images
        self._wanted = {server: frozenset(names) for server, names in wanted.items()}
        self._running: dict[str, Endpoint] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self, name: str) -> Endpoint:
        """Return a server that runs.

        Raises:
            NginxError: nginx is not installed, or does not start.
            EmbeddedSwiftError: Swift does not start.
        """
        if name not in self._running:
            starts = {SWIFT: self._start_swift, SWIFT_LIMITED: self._start_swift}
            starts[SWALLOW] = self._start_swallower
            starts.get(name, self._start_nginx)(name)
        return self._running[name]

    def _start_nginx(self, _name: str) -> None:
        names = set[str]().union(*(self._wanted.get(port.name, ()) for port in PORTS))
        directory = self._directory / "nginx"
        directory.mkdir()
        images = self._images.make(sorted(names))
        started = self._stack.enter_context(nginx(directory, images, PORTS))
        self._running |= {endpoint.name: endpoint for endpoint in started}

    def _start_swallower(self, name: str) -> None:
        images = self._images.make(sorted(self._wanted[name]))
        directory = self._directory / name
        started = self._stack.enter_context(swallower(name, directory, images, [SEGMENT_SIZE]))
        self._running[name] = started

    def _start_swift(self, name: str) -> None:
        images = {wanted: self._images.get(wanted) for wanted in self._wanted[name]}
        started = self._stack.enter_context(
            swift(name, self._directory / name, images, is_limited=name == SWIFT_LIMITED)
        )
        self._running[name] = started


@contextlib.contextmanager
def swift(
    name: str, directory: Path, images: Mapping[str, Image], *, is_limited: bool
) -> Iterator[Endpoint]:
    """Run an embedded Swift with `images` in it, by object name, while the context lasts."""
    directory.mkdir()
    # Its server that keeps objects itself is slower than the real one on files in memory.
    has_attributes = _has_attributes(directory)
    options = {"object_memory": not has_attributes, "rate_limit_segments": is_limited}
    with faulty_swift(directory, **options) as running:
        with contextlib.closing(running.connect(retries=3)) as client:
            client.put_container(CONTAINER)
            for object_name, image in images.items():
                _store(client, object_name, image)
        kept = frozenset(images)
        yield Endpoint(
            name=name,
            auth_url=running.swift.auth_url,
            user=running.swift.user,
            key=running.swift.key,
            ca_file=None,
            traffic=lambda: _traffic_of(running),
            forget_traffic=running.control.clear,
            wipe=lambda: _wipe(running, kept),
            directory=directory,
        )


def _wipe(running: FaultySwift, kept: frozenset[str]) -> None:
    """Delete all objects but those that are read, and the segments of those."""
    with contextlib.closing(running.connect(retries=3)) as client:
        for container in client.get_account(full_listing=True)[1]:
            for row in client.get_container(container["name"], full_listing=True)[1]:
                if not row["name"].startswith(tuple(kept)):
                    client.delete_object(container["name"], row["name"])


def _has_attributes(directory: Path) -> bool:
    """Whether the object server can keep metadata there: in a tmpfs since Linux 6.6."""
    try:
        os.setxattr(directory, "user.swift.metadata", b"probe")
    except OSError:
        return False
    return True


def _store(client: swiftclient.Connection, name: str, image: Image) -> None:
    """Store an image as Glance does, a DLO beside its segments; an SLO is ours."""
    size = MANY_SEGMENT_SIZE if name == MANY else -(-image.size // LARGE_SEGMENTS)
    rows = []
    with image.path.open("rb") as file:
        for number, offset in enumerate(range(0, image.size, size), 1):
            segment = f"{name}-{number:05d}"
            length = min(size, image.size - offset)
            etag = client.put_object(CONTAINER, segment, file, content_length=length)
            rows.append({"path": f"{CONTAINER}/{segment}", "etag": etag, "size_bytes": length})
    if name == SLO:
        manifest_body = json.dumps(rows).encode()
        client.put_object(CONTAINER, name, manifest_body, query_string="multipart-manifest=put")
    else:
        manifest = {"X-Object-Manifest": f"{CONTAINER}/{name}-"}
        client.put_object(CONTAINER, name, b"", headers=manifest)


def _traffic_of(running: FaultySwift) -> Traffic:
    """Sum up the journal; the path of an object has four parts."""
    journal = running.control.journal()
    objects = [one for one in journal if len(one.path.strip("/").split("/", 3)) == 4]
    data = [one for one in objects if not _is_of_manifest(one)]
    gets = [one for one in data if one.method == "GET"]
    puts = [one for one in data if one.method == "PUT"]
    return Traffic(
        requests=len(journal),
        gets=len(gets),
        bytes_sent=sum(get.bytes_sent for get in gets),
        puts=len(puts),
        bytes_received=sum(put.bytes_received for put in puts),
        manifests=sum(one.method == "PUT" for one in objects) - len(puts),
    )


def _is_of_manifest(request: Request) -> bool:
    return "multipart-manifest" in request.query or "x-object-manifest" in request.headers
