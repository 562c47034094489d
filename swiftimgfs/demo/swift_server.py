"""The embedded Swift's process: proxy, account, container and object server on loopback.

``python -m swiftimgfs.demo.swift_server DIRECTORY`` prints one line of JSON when it serves:
``auth_url``, ``storage_url``, ``port`` and ``pid``, and with ``--keystone`` also
``keystone_port``. It ends on SIGTERM, and by itself when its parent has ended.

A process of its own, never a thread: eventlet replaces sockets, threads and locks of the
whole process. The order of the steps matters:

1. swift.conf is written and Swift told where it is, before any other import of Swift;
2. the sockets are bound, so that the rings can name their ports;
3. only then `servers` is imported, and the servers started.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from swiftimgfs.demo import configuration, options
from swiftimgfs.demo.configuration import DEVICE, TEMPAUTH_PREFIX, Layout

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from swiftimgfs.demo.options import ServerArguments, SwiftOptions

# How late the end of the parent, or a SIGTERM, is noticed.
_WATCH_SECONDS = 0.1
# Many clients may connect at once while the one process is busy with something else.
_BACKLOG = 1024


class StartError(Exception):
    """The server cannot start; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The bound sockets, one per server."""

    proxy: socket.socket
    keystone_proxy: socket.socket | None
    account: socket.socket
    container: socket.socket
    object: socket.socket


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or the parent's end; return the exit status."""
    given = options.parse_arguments(arguments)
    parent = os.getppid() if given.parent is None else given.parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C: the parent decides
    try:
        require_swift()
        with prepare_directory(Layout(given.directory.absolute()), given.options):
            run(given, parent)
    except StartError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


def require_swift() -> None:
    """Check that Swift is installed, without importing it.

    Raises:
        StartError: It is not.
    """
    if importlib.util.find_spec("swift") is None:
        raise StartError(
            "the embedded Swift needs the package swift: pip install swiftimgfs[demo]"
        )


def prepare_directory(layout: Layout, chosen: SwiftOptions) -> IO[str]:
    """Make the directory usable and return its lock, held until it is closed.

    Raises:
        StartError: It cannot be written, takes no extended attributes, or is in use.
    """
    try:
        (layout.devices / DEVICE).mkdir(parents=True, exist_ok=True)
        lock = layout.lock.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not chosen.object_memory:
            # The object server keeps an object's metadata there.
            os.setxattr(layout.lock, "user.swift.metadata", b"probe")
    except OSError as exc:
        reason = _DIRECTORY_REASONS.get(exc.errno or 0, exc.strerror)
        raise StartError(f"cannot keep a Swift in {layout.directory}: {reason}") from exc
    return lock


_DIRECTORY_REASONS = {
    errno.EWOULDBLOCK: "another one is running there",
    errno.ENOTSUP: "its filesystem has no extended attributes",
}


def run(given: ServerArguments, parent: int) -> None:
    """Start everything, say so, and wait for the end.

    Raises:
        StartError: A port is taken, or Swift does not accept an option.
    """
    layout = Layout(given.directory.absolute())
    prepare_swift(layout, given.options)
    listeners = open_listeners(given.options)
    start_servers(layout, given.options, listeners)
    ready = describe(given.options, listeners)
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    wait_for_end(parent)


def prepare_swift(layout: Layout, chosen: SwiftOptions) -> None:
    """Make Swift read its settings in `layout` instead of /etc/swift.

    Raises:
        StartError: A constraint is no number.
    """
    os.environ["TZ"] = "UTC+0"
    time.tzset()
    configuration.write_swift_conf(layout, chosen)
    from swift.common import utils  # noqa: PLC0415  -- in this order, see above

    utils.monkey_patch()
    utils.set_swift_dir(str(layout.directory))
    try:
        from swift.common import constraints, storage_policy  # noqa: PLC0415

        constraints.reload_constraints()
    except ValueError as exc:
        raise StartError(f"wrong value of a constraint: {exc}") from exc
    storage_policy.reload_storage_policies()


def open_listeners(chosen: SwiftOptions) -> Listeners:
    """Bind all sockets on 127.0.0.1, those of the backends to free ports.

    Raises:
        StartError: A port is taken, or not ours to take.
    """
    has_keystone = chosen.keystone is not None
    return Listeners(
        proxy=_listen(chosen.port),
        keystone_proxy=_listen(chosen.keystone_port) if has_keystone else None,
        account=_listen(0),
        container=_listen(0),
        object=_listen(0),
    )


def start_servers(layout: Layout, chosen: SwiftOptions, listeners: Listeners) -> None:
    """Write the rings and the proxies' settings, and start all servers.

    Raises:
        StartError: An option is wrong.
    """
    from swiftimgfs.demo import servers  # noqa: PLC0415  -- in this order, see above

    if unknown := servers.unknown_constraints(chosen.constraints):
        raise StartError(f"Swift has no constraint {', '.join(unknown)}")
    settings = configuration.backend_settings(layout)
    servers.disable_fsync()
    servers.find_methods_once()
    for name in ("account", "container"):
        servers.write_ring(layout.directory, name, _port_of(getattr(listeners, name)))
    for index, _ in enumerate(chosen.policies):
        name = f"object-{index}" if index else "object"
        servers.write_ring(layout.directory, name, _port_of(listeners.object))
    in_memory = chosen.object_memory
    keeper = servers.memory_object_server if in_memory else servers.object_server
    servers.serve(servers.account_server(settings), listeners.account, settings)
    servers.serve(servers.container_server(settings), listeners.container, settings)
    servers.serve(keeper(settings), listeners.object, settings)
    _start_proxies(layout, chosen, listeners, settings)


def _start_proxies(
    layout: Layout, chosen: SwiftOptions, listeners: Listeners, settings: dict[str, str]
) -> None:
    from swiftimgfs.demo import servers  # noqa: PLC0415  -- in this order, see above

    try:
        wrappers = [servers.import_wrapper(name) for name in chosen.wrap]
    except (ImportError, AttributeError, ValueError) as exc:
        raise StartError(f"cannot wrap the proxy: {exc}") from exc

    def start(conf_file: Path, listener: socket.socket) -> None:
        try:
            app = servers.proxy_server(conf_file, wrappers)
        except (ImportError, LookupError, ValueError) as exc:
            raise StartError(f"Swift does not accept its settings: {exc}") from exc
        servers.serve(app, listener, settings)

    start(configuration.write_tempauth_proxy_conf(layout, chosen), listeners.proxy)
    if chosen.keystone is not None and listeners.keystone_proxy is not None:
        conf_file = configuration.write_keystone_proxy_conf(layout, chosen, chosen.keystone)
        start(conf_file, listeners.keystone_proxy)


def describe(chosen: SwiftOptions, listeners: Listeners) -> dict[str, str | int]:
    """Return what the parent needs to know, the contents of the one line on stdout."""
    port = _port_of(listeners.proxy)
    base = f"http://127.0.0.1:{port}"
    ready: dict[str, str | int] = {
        "auth_url": f"{base}/auth/v1.0",
        "storage_url": f"{base}/v1/{TEMPAUTH_PREFIX}_{chosen.users[0].account}",
        "port": port,
        "pid": os.getpid(),
    }
    if listeners.keystone_proxy is not None:
        ready["keystone_port"] = _port_of(listeners.keystone_proxy)
    return ready


def wait_for_end(parent: int) -> None:
    """Return after SIGTERM, or when process `parent` is no longer our parent.

    PR_SET_PDEATHSIG would not do: it fires when the parent's *thread* that started us ends.
    """
    import eventlet  # noqa: PLC0415  -- in this order, see above

    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: signals.append(number))
    while not signals and os.getppid() == parent:
        eventlet.sleep(_WATCH_SECONDS)


def _listen(port: int) -> socket.socket:
    import eventlet  # noqa: PLC0415  -- in this order, see above

    try:
        # With reuse_port a second server would quietly share a taken port.
        return eventlet.listen(("127.0.0.1", port), backlog=_BACKLOG, reuse_port=False)  # type: ignore[no-any-return]
    except (OSError, OverflowError) as exc:
        reason = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else exc
        raise StartError(f"cannot listen on 127.0.0.1:{port}: {reason}") from exc


def _port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
