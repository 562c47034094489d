"""`swiftimgfs mount`: mount an image store, in the background or the foreground."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.commands.logs import set_up_logging
from swiftimgfs.commands.source import (
    EXIT_FAILED,
    SOURCE_HELP,
    add_option_arguments,
    give_up,
    printable,
    with_key,
)
from swiftimgfs.config.documentation import options_help
from swiftimgfs.config.load import Config, load_config
from swiftimgfs.mount import run_mount
from swiftimgfs.mount_process import (
    READY,
    READY_FD_VARIABLE,
    NobodyWaitsError,
    forbid_core_dumps,
    leave_process_group,
    start_mount,
    tell_parent,
)
from swiftimgfs.mountpoint import check_host, check_mountpoint, free_dead_mount

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

LOG_TO_JOURNAL: Final = "journal"
FILES: Final = (
    "OS_CLIENT_CONFIG_FILE",
    "OS_CLIENT_SECURE_FILE",
    "OS_CACERT",
    "OS_CERT",
    "OS_KEY",
)

EPILOG = f"""
{SOURCE_HELP}
example:
  swiftimgfs mount mycloud /mnt/images -o ro,connections=16
  swiftimgfs mount glance:/etc/glance/glance-api.conf /mnt/images -o layout=images

Without --foreground the command returns when the mount serves; its log is then in log_file,
by default ~/.local/state/swiftimgfs/<mount point>.log. Look at it with swiftimgfs status, unmount
it with swiftimgfs umount MOUNTPOINT. A command that is ended before that (Ctrl-C, SIGTERM) leaves
no mount.

Exit status: 0 when it serves (with --foreground: when it was unmounted), 1 when Keystone, Swift
or this host said no, 2 when what was asked for cannot be understood.

"""


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "mount",
        help="mount an image store",
        epilog=EPILOG + options_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="what to mount; its forms are below")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    add_option_arguments(parser)
    parser.add_argument("--foreground", "-f", action="store_true", help="stay until unmounted")
    parser.add_argument(
        "--replace-dead",
        action="store_true",
        help="unmount first what a mount that was killed has left at MOUNTPOINT",
    )
    parser.add_argument("--debug", action="store_true", help="the same as --log-level debug")
    for name in ("log_level", "log_format"):
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest="options",
            metavar=name.partition("_")[2].upper(),
            type=f"{name}={{}}".format,
            action="append",
            help=f"the same as -o {name}=",
        )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    try:
        config = load_config(
            arguments.source, arguments.mountpoint, arguments.options, arguments.config_file
        )
        environ = with_key(config.store.source, os.environ)
        if arguments.replace_dead:
            free_dead_mount(config.mountpoint)
        if arguments.foreground:
            os.environ.update(environ)
            return _run_here(config, is_debug=arguments.debug)
        check_host()
        check_mountpoint(config.mountpoint)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    return _run_in_background(arguments, environ, _log_file(config))


def _run_here(config: Config, *, is_debug: bool) -> int:
    in_background = READY_FD_VARIABLE in os.environ and not sys.stderr.isatty()
    _set_up_logging(config, is_debug=is_debug, to_file=in_background and config.log_file != "-")
    forbid_core_dumps()
    if in_background:
        os.environ.update(_with_whole_paths(os.environ))
        os.chdir("/")  # keep no directory busy
    for warning in config.warnings:
        log.warning("%s", warning)
    try:
        run_mount(config, lambda warning: _serving(config, warning))
    except NobodyWaitsError as failure:
        # A command that was ended has mounted nothing, whatever it had begun.
        log.warning("unmounted before it served reason=%s", failure)
        return EXIT_FAILED
    except errors.SwiftImgFsError as failure:
        log.debug("mount failed", exc_info=failure)
        return give_up(failure)
    except Exception:
        log.exception("the mount ended by a defect of swiftimgfs")
        raise
    return 0


def _with_whole_paths(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what variables that name files are, from wherever they are read."""
    return {name: os.path.abspath(environ[name]) for name in FILES if environ.get(name)}  # noqa: PTH100  # a link stays one


def _serving(config: Config, warning: str) -> None:
    if warning:
        log.warning("%s", warning)
    warnings = "; ".join(filter(None, (*config.warnings, warning)))
    if READY_FD_VARIABLE in os.environ:
        leave_process_group()
    if not tell_parent(f"{READY} {printable(warnings)}".rstrip()) and sys.stdout.isatty():
        source = config.store.source
        print(f"{source} is mounted at {config.mountpoint}; Ctrl-C unmounts", flush=True)  # noqa: T201


def _run_in_background(
    arguments: argparse.Namespace, environ: Mapping[str, str], log_file: Path | None
) -> int:
    mountpoint = str(Path(arguments.mountpoint).absolute())
    rest = [flag for option in arguments.options for flag in ("-o", option)]
    rest += ["--debug"] if arguments.debug else []
    rest += ["--config-file", str(arguments.config_file)] if arguments.config_file else []
    mounted = start_mount([arguments.source, mountpoint, *rest], environ, is_detached=True)
    if mounted.is_serving:
        if mounted.warning:
            print(f"swiftimgfs: warning: {mounted.warning}", file=sys.stderr)  # noqa: T201
        return 0
    hint = f"; its log: {log_file}" if mounted.said_nothing and log_file else ""
    print(f"swiftimgfs: {mounted.message}{hint}", file=sys.stderr)  # noqa: T201
    return mounted.process.returncode or EXIT_FAILED


def _set_up_logging(config: Config, *, is_debug: bool, to_file: bool) -> None:
    level = "debug" if is_debug else config.log_level
    target = _log_target(config) if to_file or config.log_file == LOG_TO_JOURNAL else None
    try:
        if isinstance(target, Path) and config.log_file is None:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        set_up_logging(level=level, style=config.log_format, target=target)
    except OSError as exc:
        raise errors.ConfigError(f"log_file {target}: {exc.strerror}") from exc


def _log_target(config: Config) -> Path | str | None:
    return LOG_TO_JOURNAL if config.log_file == LOG_TO_JOURNAL else _log_file(config)


def _log_file(config: Config) -> Path | None:
    """Return the file that a mount in the background writes its log to, if that is a file."""
    if config.log_file in {"-", LOG_TO_JOURNAL}:
        return None
    return Path(config.log_file) if config.log_file else _default_log_file(config.mountpoint)


def _default_log_file(mountpoint: Path) -> Path:
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:
        raise errors.ConfigError(
            "no home directory for the log: give -o log_file=FILE"
        ) from None
    return (
        state / "swiftimgfs" / f"{str(mountpoint).strip('/').replace('/', '-') or 'root'}.log"
    )
