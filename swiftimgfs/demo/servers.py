"""The four servers of Swift, each one function, and the updater of account totals.

Import this only after `swift_server.prepare_swift`: many of Swift's modules read swift.conf
when they are imported, and keep what they found.
"""

from __future__ import annotations

import importlib
import os
import warnings
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import eventlet
import eventlet.wsgi
from swift.account.server import AccountController
from swift.common import constraints, db, wsgi
from swift.common.http_protocol import SwiftHttpProtocol
from swift.common.ring import RingData
from swift.common.utils import get_logger
from swift.container.server import ContainerController
from swift.container.updater import ContainerUpdater
from swift.obj import diskfile
from swift.obj.mem_server import ObjectController as MemoryObjectController
from swift.obj.server import ObjectController

from swiftimgfs.demo.configuration import DEVICE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from wsgiref.types import WSGIApplication

# How long an account's totals lag behind its containers.
_UPDATER_INTERVAL_SECONDS = 1.0
_CONNECTIONS = 1024
_PART_POWER = 4

warnings.filterwarnings("ignore", message="capitalize_response_headers is disabled")


def account_server(settings: dict[str, str]) -> WSGIApplication:
    """Return the server that knows an account's containers."""
    return _application(AccountController, settings, "account")


def container_server(settings: dict[str, str]) -> WSGIApplication:
    """Return the server that knows a container's objects."""
    return _application(ContainerController, settings, "container")


def object_server(settings: dict[str, str]) -> WSGIApplication:
    """Return the server that keeps objects as files."""
    return _application(ObjectController, settings, "object")


def memory_object_server(settings: dict[str, str]) -> WSGIApplication:
    """Return the server that keeps objects until it ends."""
    return _application(MemoryObjectController, settings, "object")


def proxy_server(conf_file: Path, wrappers: list[Callable[[Any], Any]]) -> WSGIApplication:
    """Return the server that clients talk to, inside its wrappers, the last one outermost."""
    app = wsgi.loadapp(str(conf_file), global_conf={"log_name": "proxy"})
    for wrap in wrappers:
        app = wrap(app)
    return app  # type: ignore[no-any-return]  # swift has no types


def serve(app: WSGIApplication, listener: socket.socket, settings: dict[str, str]) -> None:
    """Serve `app` on `listener` in a green thread of its own, as Swift's own launcher does."""
    eventlet.spawn(
        eventlet.wsgi.server,
        listener,
        app,
        get_logger(settings, log_route="wsgi"),
        log_output=False,
        debug=False,
        custom_pool=eventlet.GreenPool(_CONNECTIONS),
        protocol=SwiftHttpProtocol,
        socket_timeout=float(settings["client_timeout"]),
        capitalize_response_headers=False,
        url_length_limit=constraints.MAX_REQUEST_LINE,
    )


def write_ring(directory: Path, name: str, port: int) -> None:
    """Write the ring in which one device of one server holds the one replica of all."""
    device = {
        "id": 0,
        "region": 1,
        "zone": 1,
        "weight": 1.0,
        "ip": "127.0.0.1",
        "port": port,
        "replication_ip": "127.0.0.1",
        "replication_port": port,
        "device": DEVICE,
        "meta": "",
    }
    partitions = array("H", [0] * 2**_PART_POWER)
    ring = RingData([partitions], [device], 32 - _PART_POWER)
    ring.save(str(directory / f"{name}.ring.gz"))


def keep_account_totals(settings: dict[str, str]) -> None:
    """Start telling accounts, every second, what changed in their containers."""
    eventlet.spawn(_update_forever, _ChangedContainersUpdater(settings))


def disable_fsync() -> None:
    """Let this process's writes survive its own end but not the machine's.

    A demonstration needs no more, and each PUT would otherwise wait for the disk some ten
    times.
    """
    for module, name in (
        (os, "fsync"),
        (os, "fdatasync"),
        (diskfile, "fsync"),
        (diskfile, "fdatasync"),
        (diskfile, "fsync_dir"),
    ):
        setattr(module, name, _do_nothing)
    connect = db.get_db_connection

    def connect_without_sync(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        connection = connect(*args, **kwargs)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    db.get_db_connection = connect_without_sync


def unknown_constraints(names: Mapping[str, object]) -> list[str]:
    """Return those that swift.conf does not have."""
    return sorted(set(names) - set(constraints.DEFAULT_CONSTRAINTS))


def import_wrapper(name: str) -> Callable[[Any], Any]:
    """Return the callable that ``module:callable`` names.

    Raises:
        ImportError: There is no such module.
        AttributeError: It has no such name.
    """
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


class _ChangedContainersUpdater(ContainerUpdater):  # type: ignore[misc]  # swift has no types
    """Swift's updater, which looks into a container only if its files changed.

    Without this a sweep opens every container's database, a millisecond each, every second.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        super().__init__(settings)
        self._seen: dict[str, tuple[_FileState, _FileState]] = {}

    def process_container(self, dbfile: str) -> None:
        # Taken before: what changes meanwhile is found by the next sweep.
        state = (_state_of(dbfile), _state_of(dbfile + ".pending"))
        if self._seen.get(dbfile) == state:
            return
        failures = self.failures
        super().process_container(dbfile)
        if self.failures == failures:
            self._seen[dbfile] = state


@dataclass(frozen=True, slots=True)
class _FileState:
    modified_ns: int
    size: int


def _state_of(path: str) -> _FileState:
    try:
        status = os.stat(path)  # noqa: PTH116  -- called for every container, every second
    except FileNotFoundError:
        return _FileState(0, 0)
    return _FileState(status.st_mtime_ns, status.st_size)


def _update_forever(updater: _ChangedContainersUpdater) -> None:
    while True:
        eventlet.sleep(_UPDATER_INTERVAL_SECONDS)
        for path in updater.get_paths():
            updater.container_sweep(path)


def _application(
    controller: Callable[..., Any], settings: dict[str, str], name: str
) -> WSGIApplication:
    conf = {**settings, "log_name": name}
    return controller(conf, logger=get_logger(conf, log_route=name))  # type: ignore[no-any-return]


def _do_nothing(_file: object) -> None:
    pass
