"""nginx on loopback that answers like Swift: a cluster that costs nothing.

A process of our own with a configuration of our own, never the system's service. It serves
one container, `images`, out of a directory in memory, on several ports at once: plain, TLS,
and with a latency before each answer. The latency is a pause inside nginx, so that nothing
stands between it and a client that could limit the throughput.

What is Swift about it is in swift.lua: Debian's nginx-light and libnginx-mod-http-lua.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import string
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from tests.benchmarks.endpoint import Endpoint, Traffic
from tests.benchmarks.processes import stop, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.images import Image

HERE = Path(__file__).parent
MODULES = Path("/usr/lib/nginx/modules")
START_SECONDS = 10
HOST = "127.0.0.1"


class NginxError(Exception):
    """nginx is not there or does not start; the message says why."""


class _Template(string.Template):
    """nginx's own variables begin with a dollar."""

    delimiter = "@"


SERVER_BLOCK = _Template("""
  server {
    listen 127.0.0.1:@port@ssl;
    access_log @log traffic;
    set $latency @latency;
    set $md5 "";
    rewrite_by_lua_block { swift.wait() }
    location = /auth/v1.0 { content_by_lua_block { swift.authenticate() } }
    location = /info { content_by_lua_block { swift.info() } }
    location ~ ^/v1/AUTH_bench/?$ { content_by_lua_block { swift.account() } }
    location ~ ^/v1/AUTH_bench/images/?$ { content_by_lua_block { swift.container() } }
    location ~ ^/v1/AUTH_bench/images/(?<object>.+)$ {
      rewrite_by_lua_block { swift.object() }
      alias @data/$object;
      add_header ETag $md5;
    }
  }
""")


@dataclass(frozen=True, slots=True)
class Port:
    """One way in: its latency in seconds, and whether it speaks TLS."""

    name: str
    latency: float = 0.0
    is_tls: bool = False


@contextlib.contextmanager
def nginx(
    directory: Path, images: Sequence[Image], ports: Sequence[Port]
) -> Iterator[list[Endpoint]]:
    """Serve `images`, which lie in one directory, while the context lasts.

    Args:
        directory: For the configuration, certificates and logs.
        images: At least one.
        ports: In the order of the servers that are yielded.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None or not (MODULES / "ngx_http_lua_module.so").exists():
        raise NginxError("needs the packages nginx-light and libnginx-mod-http-lua")
    numbers = _free_ports(len(ports))
    _write_configuration(directory, images, dict(zip(ports, numbers, strict=True)))
    with (directory / "stderr.log").open("wb") as errors:
        process = subprocess.Popen(
            [program, "-p", str(directory), "-c", str(directory / "nginx.conf")],
            stdin=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C is for us: we decide when it ends
        )
    try:
        for number in numbers:
            _wait_for(number, process, directory)
        yield [
            _server(directory, port, number)
            for port, number in zip(ports, numbers, strict=True)
        ]
    finally:
        stop(process)


def _server(directory: Path, port: Port, number: int) -> Endpoint:
    scheme = "https" if port.is_tls else "http"
    log = _TrafficLog(_log_file(directory, port))
    return Endpoint(
        name=port.name,
        auth_url=f"{scheme}://{HOST}:{number}/auth/v1.0",
        user="bench:bench",
        key="bench",
        ca_file=directory / "ca.pem" if port.is_tls else None,
        traffic=log.traffic,
        forget_traffic=log.forget,
    )


class _TrafficLog:
    """What one port served, from its access log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = 0

    def traffic(self) -> Traffic:
        """Sum up the requests that have ended since `forget`."""
        with self._path.open(encoding="utf-8") as file:
            file.seek(self._start)
            lines = [line.split() for line in file]
        objects = [int(size) for method, _, size, path in lines if _is_data(method, path)]
        return Traffic(requests=len(lines), gets=len(objects), bytes_sent=sum(objects))

    def forget(self) -> None:
        """Start counting anew."""
        self._start = self._path.stat().st_size


def _is_data(method: str, path: str) -> bool:
    return method == "GET" and path.startswith("/v1/AUTH_bench/images/")


def _log_file(directory: Path, port: Port) -> Path:
    return directory / f"access-{port.name}.log"


def _write_configuration(
    directory: Path, images: Sequence[Image], ports: dict[Port, int]
) -> None:
    (directory / "temporary").mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    certificate = authority.issue_cert(HOST, "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
    rows = (
        f'  {{ name = "{image.name}", size = {image.size}, etag = "{image.md5}" }},'
        for image in sorted(images, key=lambda image: image.name)
    )
    (directory / "objects.lua").write_text("return {\n" + "\n".join(rows) + "\n}\n")
    blocks = (
        SERVER_BLOCK.substitute(
            port=number,
            ssl=" ssl" if port.is_tls else "",
            log=_log_file(directory, port),
            latency=port.latency,
            data=images[0].path.parent,
        )
        for port, number in ports.items()
    )
    template = _Template((HERE / "nginx.conf.template").read_text())
    text = template.substitute(
        modules=MODULES,
        directory=directory,
        user="user root;" if os.geteuid() == 0 else "",
        lua=HERE / "swift.lua",
        servers="".join(blocks),
    )
    (directory / "nginx.conf").write_text(text)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody had a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(port: int, process: subprocess.Popen[bytes], directory: Path) -> None:
    def is_listening() -> bool:
        if process.poll() is not None:
            logs = [directory / "stderr.log", directory / "error.log"]
            said = "".join(log.read_text() for log in logs if log.exists())
            raise NginxError(f"nginx ended: {said.strip()}")
        with socket.socket() as one:
            return one.connect_ex((HOST, port)) == 0

    if not wait_until(is_listening, START_SECONDS):
        raise NginxError(f"nginx does not listen after {START_SECONDS} s")
