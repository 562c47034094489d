"""The four servers of Swift, each one function; the container server's updates account totals.

Import this only after `swift_server.prepare_swift`: many of Swift's modules read swift.conf
when they are imported, and keep what they found.
"""

from __future__ import annotations

import importlib
import os
import warnings
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eventlet
import eventlet.wsgi
from swift.account.server import AccountController
from swift.common import constraints, db, wsgi
from swift.common.http_protocol import SwiftHttpProtocol
from swift.common.ring import RingData
from swift.common.swob import wsgi_to_str
from swift.common.utils import get_logger, hash_path, split_path, storage_directory
from swift.container.backend import DATADIR
from swift.container.server import ContainerController
from swift.container.updater import ContainerUpdater
from swift.obj import diskfile
from swift.obj.mem_server import ObjectController as MemoryObjectController
from swift.obj.server import ObjectController
from swift.proxy.controllers.base import Controller

from swiftimgfs.demo.configuration import DEVICE

if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Callable, Mapping
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# How long an account's totals lag behind its containers.
_UPDATER_INTERVAL_SECONDS = 1.0
_CHANGING = frozenset({"PUT", "POST", "DELETE", "UPDATE"})
_CONNECTIONS = 1024
_PART_POWER = 4

warnings.filterwarnings("ignore", message="capitalize_response_headers is disabled")


def account_server(settings: dict[str, str]) -> WSGIApplication:
    """Return the server that knows an account's containers."""
    return _application(AccountController, settings, "account")


def container_server(settings: dict[str, str]) -> WSGIApplication:
    """Return the server that knows a container's objects.

    Accounts know what changed in their containers a second later.
    """
    server: Any = _application(_WatchedContainers, settings, "container")
    eventlet.spawn(_ChangedContainersUpdater(settings, server.changed).keep_up)
    return server  # type: ignore[no-any-return]


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


def find_methods_once() -> None:
    """Let each kind of proxy controller find out once what its methods are.

    Swift has every request look for them, which is a tenth of what a HEAD costs.
    """
    for name in ("allowed_methods", "private_methods"):
        found = getattr(Controller, name).fget
        setattr(Controller, name, property(_once_for_each_class(found)))


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


class _WatchedContainers(ContainerController):  # type: ignore[misc]  # swift has no types
    """Swift's container server, which tells what its requests may have changed.

    Attributes:
        changed: Directories in which there is the database of such a container.
    """

    def __init__(self, conf: Mapping[str, str], logger: logging.Logger) -> None:
        super().__init__(conf, logger=logger)
        self.changed: set[str] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:  # noqa: ANN401  -- swift has no types
        try:
            return super().__call__(environ, start_response)
        finally:  # after the change: who looks before it would not look again
            if environ["REQUEST_METHOD"] in _CHANGING:
                self._note(wsgi_to_str(environ["PATH_INFO"]))

    def _note(self, path: str) -> None:
        try:
            device, partition, account, container, _ = split_path(
                path, 4, 5, rest_with_last=True
            )
        except ValueError:  # not of a container: it was refused
            return
        place = storage_directory(DATADIR, partition, hash_path(account, container))
        self.changed.add(str(Path(self.root, device, place)))


class _ChangedContainersUpdater(ContainerUpdater):  # type: ignore[misc]  # swift has no types
    """Swift's updater, which looks only where something changed, and at first everywhere.

    Swift's own opens every container's database with each sweep. That is for a sweep every
    five minutes; ours are a second apart.
    """

    def __init__(self, settings: dict[str, str], changed: set[str]) -> None:
        super().__init__(settings)
        self._changed = changed
        self._changed.update(self.get_paths())

    def keep_up(self) -> None:
        while True:
            eventlet.sleep(_UPDATER_INTERVAL_SECONDS)
            paths = sorted(self._changed)
            self._changed.clear()
            for path in paths:
                self.container_sweep(path)

    def process_container(self, dbfile: str) -> None:
        failures, is_done = self.failures, False
        try:
            super().process_container(dbfile)
            is_done = self.failures == failures
        finally:
            if not is_done:  # another time, then
                self._changed.add(str(Path(dbfile).parent))


def _once_for_each_class(found: Callable[[Any], set[str]]) -> Callable[[Any], set[str]]:
    known: dict[type, set[str]] = {}

    def methods(controller: object) -> set[str]:
        kind = type(controller)
        if kind not in known:
            known[kind] = found(controller)
        return set(known[kind])

    return methods


def _application(
    controller: Callable[..., Any], settings: dict[str, str], name: str
) -> WSGIApplication:
    conf = {**settings, "log_name": name}
    return controller(conf, logger=get_logger(conf, log_route=name))  # type: ignore[no-any-return]


def _do_nothing(_file: object) -> None:
    pass
