"""`swiftimgfs mount`: mount an image store, in the background or the foreground."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from swiftimgfs import errors
from swiftimgfs.config import OPTIONS, Config, load_config
from swiftimgfs.mount import check_host, check_mountpoint, run_mount
from swiftimgfs.mount_process import READY, READY_FD_VARIABLE, start_mount, tell_parent

log = logging.getLogger(__name__)

EXIT_FAILED = 1  # the cloud or this host said no
EXIT_USAGE = 2  # what was asked for cannot be understood

EPILOG = """
SOURCE is a cloud of clouds.yaml, or env: for the variables ST_AUTH, ST_USER, ST_KEY (tempauth)
or OS_AUTH_URL, OS_USERNAME, ... (Keystone). SOURCE:CONTAINER and SOURCE:CONTAINER/PREFIX mount
a part of it.

example:
  swiftimgfs mount mycloud /mnt/images -o ro,connections=16

Without --foreground the command returns when the mount serves; its log is then in log_file,
by default ~/.local/state/swiftimgfs/<mount point>.log. Unmount with fusermount3 -u MOUNTPOINT.

options (-o NAME=VALUE,...; sizes take K, M, G or T):
"""


class OneLineFormatter(logging.Formatter):
    """One line per event, whatever is in a name that somebody gave an image."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the line with control characters escaped."""
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Add the verb to the command line."""
    rows = (f"  {o.name:<20} {o.help} (default: {o.default})" for o in OPTIONS)
    parser = subparsers.add_parser(
        "mount",
        help="mount an image store",
        epilog=EPILOG + "\n".join(rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT")
    parser.add_argument(
        "-o", dest="options", metavar="OPTION[=VALUE],...", action="append", default=[]
    )
    parser.add_argument("--foreground", "-f", action="store_true", help="stay until unmounted")
    parser.add_argument("--debug", action="store_true", help="log every refusal and request")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    try:
        config = load_config(arguments.source, arguments.mountpoint, arguments.options)
        if arguments.foreground:
            return _run_here(config, is_debug=arguments.debug)
        check_host()
        check_mountpoint(config.mountpoint)
    except errors.SwiftImgFsError as failure:
        return _give_up(failure)
    return _run_in_background(arguments)


def _run_here(config: Config, *, is_debug: bool) -> int:
    in_background = READY_FD_VARIABLE in os.environ and not sys.stderr.isatty()
    _set_up_logging(config, is_debug=is_debug, to_file=in_background and config.log_file != "-")
    try:
        run_mount(config, lambda: _serving(config))
    except errors.SwiftImgFsError as failure:
        log.debug("mount failed", exc_info=failure)
        return _give_up(failure)
    return 0


def _serving(config: Config) -> None:
    if not tell_parent(READY):
        print(f"{config.source} is mounted at {config.mountpoint}; Ctrl-C unmounts", flush=True)  # noqa: T201


def _give_up(failure: errors.SwiftImgFsError) -> int:
    status = EXIT_USAGE if isinstance(failure, errors.ConfigError) else EXIT_FAILED
    message = " ".join(str(failure).split())
    if not tell_parent(message):
        print(f"swiftimgfs: {message}", file=sys.stderr)  # noqa: T201
    return status


def _run_in_background(arguments: argparse.Namespace) -> int:
    mountpoint = str(Path(arguments.mountpoint).absolute())
    rest = [flag for option in arguments.options for flag in ("-o", option)]
    rest += ["--debug"] if arguments.debug else []
    mounted = start_mount([arguments.source, mountpoint, *rest], os.environ, is_detached=True)
    if mounted.is_serving:
        return 0
    print(f"swiftimgfs: {mounted.message}", file=sys.stderr)  # noqa: T201
    return mounted.process.returncode or EXIT_FAILED


def _set_up_logging(config: Config, *, is_debug: bool, to_file: bool) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if to_file:
        path = (
            Path(config.log_file) if config.log_file else _default_log_file(config.mountpoint)
        )
        try:
            if config.log_file is None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handler = logging.FileHandler(path, encoding="utf-8")
        except OSError as exc:
            raise errors.ConfigError(f"log_file {path}: {exc.strerror}") from exc
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if is_debug else logging.INFO, handlers=[handler])
    # The clients' own debug output shows headers, and so the beginning of tokens.
    for name in (
        "swiftclient",
        "keystoneauth",
        "urllib3",
        "requests",
        "openstack",
        "stevedore",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)


def _default_log_file(mountpoint: Path) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return (
        state / "swiftimgfs" / f"{str(mountpoint).strip('/').replace('/', '-') or 'root'}.log"
    )
