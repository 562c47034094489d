"""`swiftimgfs check`: what a source leads to, and what we may do there, without mounting it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from swiftimgfs import errors
from swiftimgfs.assembly import check_root, make_pool
from swiftimgfs.commands.source import (
    EXIT_FAILED,
    SOURCE_HELP,
    add_option_arguments,
    give_up,
    printable,
    with_key,
)
from swiftimgfs.config.load import StoreConfig, load_store_config
from swiftimgfs.model.hidden import HiddenNames
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.store.permissions import Permissions, find_permissions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from swiftimgfs.config.settings import Settings
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.cluster import Limits
    from swiftimgfs.store.records import AccountInfo

SHOWN_NAMES = 20  # of hidden ones; the rest is counted
PIPE_WIDTH = 10_000
# Of who looks, where nobody has set them: a mount waits for minutes before it gives a server up.
PATIENCE: Final = {"timeout": 10.0, "retries": 2}

EPILOG = f"""
{SOURCE_HELP}
example:
  swiftimgfs check glance:/etc/glance/glance-api.conf
  swiftimgfs check mycloud:golden --json | jq .permissions

A server that says nothing is given up soon: where nobody sets them, timeout is {PATIENCE["timeout"]:.0f} here, and
retries is {PATIENCE["retries"]}.

Nothing is changed in the store. Exit status: 0 when it can be mounted, 1 when Keystone or Swift
said no, 2 when what was asked for cannot be understood.
"""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about a source.

    Attributes:
        warning: What somebody should know of the login.
    """

    config: StoreConfig
    storage_url: str
    account: AccountInfo
    limits: Limits
    container: str | None
    permissions: Permissions
    warning: str
    hidden: tuple[str, ...]
    hidden_count: int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="show what a source leads to, and what may be done there",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE")
    add_option_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    logging.basicConfig(level=logging.ERROR)  # the clients warn of what we say ourselves
    try:
        config, settings = load_store_config(
            arguments.source, arguments.options, arguments.config_file, PATIENCE
        )
        os.environ.update(with_key(config.source, os.environ))
        findings = _inspected(config)
    except errors.SwiftImgFsError as failure:
        return give_up(failure)
    if arguments.json:
        print(json.dumps(_fields(settings, findings), indent=1))  # noqa: T201
        return 0 if _can_be_mounted(findings) else EXIT_FAILED
    # In a pipe or a file nothing is folded: there lines are for other programs.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(_table(findings))
    for warning in _warnings(settings, findings):
        console.print(Text(f"warning: {warning}", style="yellow"))
    return 0 if _can_be_mounted(findings) else EXIT_FAILED


def _inspected(config: StoreConfig) -> Findings:
    """Return what was found out about a source.

    Raises:
        StoreUnavailableError: Nobody answered; the message says for how long we waited.
    """
    started = time.monotonic()
    try:
        with errors.first_failure():
            return trio.run(_inspect, config)
    except errors.StoreUnavailableError as failure:
        if not failure.is_transient:
            raise
        waited, retry = time.monotonic() - started, config.retry
        raise errors.StoreUnavailableError(
            f"{failure}; given up after {waited:.0f} s (timeout={retry.timeout:g},"
            f" retries={retry.tries})"
        ) from failure


async def _inspect(config: StoreConfig) -> Findings:
    root = config.source.root
    async with contextlib.aclosing(make_pool(config)) as pool:
        store = ImageStore(pool, config.source.reference)
        account = await store.connect()
        await check_root(root, store)
        container = await _container_to_try(store, root)
        permissions = await find_permissions(pool, store.limits, container)
        names = [name async for name in _hidden_names(store, root)]
        return Findings(
            config=config,
            storage_url=pool.storage_url,
            account=account,
            limits=store.limits,
            container=container,
            permissions=permissions,
            warning=pool.warning,
            hidden=tuple(names[:SHOWN_NAMES]),
            hidden_count=len(names),
        )


async def _container_to_try(store: ImageStore, root: StorePath) -> str | None:
    if not root.is_root:
        return root.container
    rows = await store.list_containers(limit=1)
    return rows[0].name if rows else None


async def _hidden_names(store: ImageStore, root: StorePath) -> AsyncIterator[str]:
    containers = (
        [row.name for row in await store.list_containers()]
        if root.is_root
        else [root.container]
    )
    for container in containers:
        hidden = HiddenNames()
        marker: str | None = ""
        while marker is not None:
            try:
                page = await store.list_page(
                    container, root.prefix, delimiter="", marker=marker
                )
            except (errors.ForbiddenError, errors.NotFoundError):
                break  # not for us, or gone by now
            for name in hidden.among(page.rows):
                yield f"{container}/{name}"
            marker = page.next_marker


def _can_be_mounted(findings: Findings) -> bool:
    return findings.permissions.list_account or bool(findings.permissions.read)


def _fields(settings: Settings, findings: Findings) -> dict[str, object]:
    """Return what was found out, as it is printed in JSON."""
    account = findings.account if findings.permissions.list_account else None
    return {
        "source": str(findings.config.source),
        "reference": findings.config.source.reference,
        "account": findings.storage_url,
        "usage": dataclasses.asdict(account) if account else None,
        "limits": dataclasses.asdict(findings.limits),
        "container": findings.container,
        "permissions": dataclasses.asdict(findings.permissions),
        "can_be_mounted": _can_be_mounted(findings),
        "hidden": list(findings.hidden),
        "hidden_count": findings.hidden_count,
        "warnings": list(_warnings(settings, findings)),
    }


# ── what is shown ──────────────────────────────────────────────────────────────────────


def _table(findings: Findings) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in _rows(findings):
        table.add_row(name, Text(printable(text)))
    return table


def _rows(findings: Findings) -> Iterable[tuple[str, str]]:
    account, limits, source = findings.account, findings.limits, findings.config.source
    yield "source", str(source)
    if source.reference:
        yield "reference", source.reference
    yield "account", findings.storage_url
    if findings.permissions.list_account:
        quota = f" of {decimal(account.quota)}" if account.quota is not None else ""
        yield (
            "usage",
            (
                f"{decimal(account.bytes_used)}{quota} in {account.object_count} objects,"
                f" {account.container_count} containers"
            ),
        )
    yield (
        "Swift",
        (
            f"{limits.version or 'does not tell its version'}; objects to"
            f" {decimal(limits.largest_object)}, segments from {decimal(limits.smallest_segment)},"
            f" {limits.manifest_segments} segments in a manifest"
        ),
    )
    yield "policies", ", ".join(limits.policies) or "not told"
    yield from _permission_rows(findings)
    if findings.hidden_count:
        yield "hidden", f"{findings.hidden_count} names that a mount cannot show:"
        yield from zip(itertools.repeat(""), findings.hidden, strict=False)
        if (more := findings.hidden_count - len(findings.hidden)) > 0:
            yield "", f"and {more} more"
    else:
        yield "hidden", "none: a mount shows every name, segments apart"


def _permission_rows(findings: Findings) -> Iterable[tuple[str, str]]:
    permissions = findings.permissions
    where = f" (tried in {findings.container})" if findings.container else ""
    for name, allowed, place in (
        ("may list containers", permissions.list_account, ""),
        ("may read", permissions.read, where),
        ("may write", permissions.write, where),
        ("may make containers", permissions.create_containers, ""),
        ("may set ACLs", permissions.own, ""),
    ):
        answer = "not known: there is no container" if allowed is None else "yes"
        yield name, ("no" if allowed is False else answer) + (place if allowed else "")


def _warnings(settings: Settings, findings: Findings) -> Iterable[str]:
    segment_size, limits = settings["segment_size"], findings.limits
    if not limits.smallest_segment <= segment_size <= limits.largest_object:
        yield f"segment_size={segment_size} is outside of what this Swift takes"
    if findings.warning:
        yield findings.warning
    if findings.config.transport.insecure:
        yield "certificates are not verified: anybody between here and there can read along"
    yield from findings.config.warnings
