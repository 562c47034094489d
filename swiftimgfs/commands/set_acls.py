"""`swiftimgfs set-acls`: who may read and write a container, as Glance's driver sets it."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.assembly import check_root, make_pool
from swiftimgfs.commands.mounted import check_mounted
from swiftimgfs.commands.source import (
    SOURCE_HELP,
    add_option_arguments,
    give_up,
    printable,
    with_key,
)
from swiftimgfs.config.load import load_store_config
from swiftimgfs.control.mounts import our_mounts, resolved
from swiftimgfs.store.acls import AclHeader, Acls, parse_tenants, set_acls
from swiftimgfs.store.container_acls import change_acls, read_acls
from swiftimgfs.store.image_store import ImageStore

if TYPE_CHECKING:
    from swiftimgfs.config.load import StoreConfig

XATTR = "user.swift.acl"

EPILOG = f"""
TARGET is a container: its directory in a mount, or a SOURCE with :CONTAINER.
{SOURCE_HELP}
As with the driver, what is not named is taken away: who may read is set by --public or
--read-tenants (neither: nobody but the account's own project), who may write by
--write-tenants; swift_store_admin_tenants may always write. Segments of the container's images
get the same. A list that names nobody is refused. Without any option the ACLs are shown, and nothing is changed (--private takes
all away).

examples:
  swiftimgfs set-acls /mnt/images/glance --read-tenants 8a0f...,91b2...
  swiftimgfs set-acls mycloud:golden --public
  swiftimgfs set-acls mycloud:golden --json

Exit status: 0, 1 when Swift said no, 2 when what was asked for cannot be understood.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is to be let in; None to leave all as it is."""

    is_public: bool
    readers: tuple[str, ...]
    writers: tuple[str, ...]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "set-acls",
        help="show or set who may read and write a container",
        description="Show or set who may read and write a container.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="TARGET")
    readers = parser.add_mutually_exclusive_group()
    readers.add_argument("--public", action="store_true", help="everybody may read")
    readers.add_argument("--read-tenants", metavar="ID,...", help="these projects may read")
    readers.add_argument("--private", action="store_true", help="nobody else may read")
    parser.add_argument("--write-tenants", metavar="ID,...", help="these projects may write")
    parser.add_argument("--json", action="store_true", help="print the ACLs as JSON")
    add_option_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    logging.basicConfig(level=logging.ERROR)  # the clients warn of what we say ourselves
    try:
        wanted = _wanted(arguments)
        directory = _in_mount(arguments.target)
        if directory is not None:
            acls = _through_mount(directory, wanted)
        else:
            acls = _directly(arguments, wanted)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    told = {"read": acls.read, "write": acls.write}
    if arguments.json:
        print(json.dumps(told))  # noqa: T201
    else:
        for name, text in told.items():
            print(f"{name:<5}  {printable(text) or '-'}")  # noqa: T201
    return 0


def _wanted(arguments: argparse.Namespace) -> Wanted | None:
    given = (arguments.read_tenants, arguments.write_tenants)
    if not any((arguments.public, arguments.private, *(text is not None for text in given))):
        return None
    try:
        readers, writers = (parse_tenants(text) if text else () for text in given)
    except errors.InvalidRequestError as exc:
        raise errors.ConfigError(str(exc)) from None
    _check_names_somebody(arguments, readers, writers)
    return Wanted(arguments.public, readers, writers)


def _check_names_somebody(
    arguments: argparse.Namespace, readers: tuple[str, ...], writers: tuple[str, ...]
) -> None:
    """Refuse a list of nobody: a variable that was not set must not close a container."""
    if arguments.read_tenants is not None and not readers:
        raise errors.ConfigError("--read-tenants names no project: --private lets nobody read")
    if arguments.write_tenants is not None and not writers:
        raise errors.ConfigError(
            "--write-tenants names no project: without it none may write but"
            " swift_store_admin_tenants"
        )


def _in_mount(target: str) -> Path | None:
    """Return a directory in a mount of ours, None when the target is a source.

    Raises:
        ConfigError: It can only be a directory, and is one elsewhere.
    """
    if not Path(target).is_dir():
        return None
    path = resolved(Path(target))
    if any(path.is_relative_to(entry.mountpoint) for entry in our_mounts()):
        return path
    if target.startswith(("/", ".")):  # which no source does
        check_mounted([target])
    return None


def _through_mount(directory: Path, wanted: Wanted | None) -> Acls:
    """Set the extended attributes of a container's directory; return the ACLs as they are then.

    Raises:
        NotPermittedError: The mount said no.
    """
    try:
        if wanted is not None:
            if wanted.is_public:
                os.setxattr(directory, f"{XATTR}.read_tenants", b"")
                os.setxattr(directory, f"{XATTR}.public", b"1")
            else:
                os.setxattr(directory, f"{XATTR}.read_tenants", _joined(wanted.readers))
            os.setxattr(directory, f"{XATTR}.write_tenants", _joined(wanted.writers))
        return Acls(_attribute(directory, "read"), _attribute(directory, "write"))
    except OSError as exc:
        raise errors.NotPermittedError(f"{directory}: {exc.strerror}") from None


def _joined(tenants: tuple[str, ...]) -> bytes:
    return ",".join(tenants).encode()


def _attribute(directory: Path, name: str) -> str:
    if f"{XATTR}.{name}" not in os.listxattr(directory):
        return ""
    return os.getxattr(directory, f"{XATTR}.{name}").decode(errors="replace")


def _directly(arguments: argparse.Namespace, wanted: Wanted | None) -> Acls:
    config, settings = load_store_config(
        arguments.target, arguments.options, arguments.config_file
    )
    root = config.source.root
    if not root.is_container:
        raise errors.ConfigError(f"{config.source}: name a container: SOURCE:CONTAINER")
    os.environ.update(with_key(config.source, os.environ))
    admins = tuple(settings["swift_store_admin_tenants"])
    with errors.first_failure():
        return trio.run(_in_swift, config, wanted, admins)


async def _in_swift(
    config: StoreConfig, wanted: Wanted | None, admins: tuple[str, ...]
) -> Acls:
    container = config.source.root.container
    async with contextlib.aclosing(make_pool(config)) as pool:
        store = ImageStore(pool, config.source.reference)
        await store.connect()
        await check_root(config.source.root, store)
        if wanted is not None:
            acls = set_acls(
                public=wanted.is_public,
                read_tenants=wanted.readers,
                write_tenants=wanted.writers,
                admin_tenants=admins,
            )
            changes = {AclHeader.READ: acls.read, AclHeader.WRITE: acls.write}
            await change_acls(store, container, changes)
        return await read_acls(store, container)
