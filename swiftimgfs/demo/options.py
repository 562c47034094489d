"""What can be chosen about the embedded Swift, as values and as command-line arguments.

The parent (`swift_process`) turns options into arguments, the child (`swift_server`) turns
them back; both live here so that they cannot drift apart. Standard library only.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# tempauth takes a user from an option's name, "user_ACCOUNT_USER", and its key and groups
# from the value, split at blanks.
_NOT_IN_NAMES = "_: \t\n="


class OptionsError(Exception):
    """The options contradict themselves or cannot be expressed to Swift."""


@dataclass(frozen=True, slots=True)
class SwiftUser:
    """Somebody tempauth knows; without the group ``.admin`` only ACLs let them in."""

    account: str
    name: str
    key: str
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in (self.account, self.name):
            if not text or any(character in text for character in _NOT_IN_NAMES):
                raise OptionsError(f"tempauth cannot take the name {text!r}")
        if not self.key or any(character.isspace() for character in self.key):
            raise OptionsError(f"tempauth cannot take the key of {self.login}")

    @property
    def login(self) -> str:
        """The user as Swift's v1 authentication takes it."""
        return f"{self.account}:{self.name}"


DEMO_USERS = (
    SwiftUser("demo", "demo", "demo", (".admin",)),
    SwiftUser("demo", "reader", "reader"),
    SwiftUser("other", "other", "other", (".admin",)),
)
DEMO_POLICIES = ("Policy-0",)


@dataclass(frozen=True, slots=True)
class KeystoneService:
    """How Swift itself signs in to Keystone to check the tokens of others."""

    auth_url: str
    username: str
    password: str = field(repr=False)
    project_name: str
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    # Not "AUTH", which is tempauth's: both proxies show the same backends, and an account
    # must belong to one of them.
    reseller_prefix: str = "KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwiftOptions:
    """Everything about an embedded Swift but its directory.

    Attributes:
        port: Of the proxy on 127.0.0.1; 0 takes a free one.
        object_memory: Keep objects in memory; they are gone when the server stops.
        users: Who tempauth knows; the first one's account is the announced storage URL.
        rate_limit_segments: Serve large objects as slowly as Swift does by default, one
            segment a second after the tenth.
        constraints: Of ``swift.conf``, such as ``max_file_size``; /info shows them.
        slo: Options of the slo filter, such as ``max_manifest_segments``.
        policies: The storage policies, the default one first; all on the same disk.
        keystone: Adds a second proxy, over the same backends, that believes this Keystone.
        keystone_port: Of that second proxy; 0 takes a free one.
        wrap: ``module:callable``, each put around every proxy's WSGI application, the last
            one outermost.
    """

    port: int = 0
    object_memory: bool = False
    users: tuple[SwiftUser, ...] = DEMO_USERS
    rate_limit_segments: bool = False
    constraints: Mapping[str, str | int] = field(default_factory=dict)
    slo: Mapping[str, str | int] = field(default_factory=dict)
    policies: tuple[str, ...] = DEMO_POLICIES
    keystone: KeystoneService | None = None
    keystone_port: int = 0
    wrap: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.users:
            raise OptionsError("an embedded Swift needs at least one user")
        if not self.policies:
            raise OptionsError("an embedded Swift needs at least one storage policy")


def format_arguments(options: SwiftOptions) -> list[str]:
    """Return the command-line arguments from which `parse_arguments` makes `options`."""
    arguments = [f"--port={options.port}", f"--keystone-port={options.keystone_port}"]
    arguments += ["--object-memory"] * options.object_memory
    arguments += ["--rate-limit-segments"] * options.rate_limit_segments
    arguments.append("--users=" + json.dumps([asdict(user) for user in options.users]))
    arguments += [f"--constraint={name}={value}" for name, value in options.constraints.items()]
    arguments += [f"--slo={name}={value}" for name, value in options.slo.items()]
    arguments += [f"--policy={name}" for name in options.policies]
    arguments += [f"--wrap={name}" for name in options.wrap]
    if options.keystone is not None:
        arguments.append("--keystone=" + json.dumps(asdict(options.keystone)))
    return arguments


@dataclass(frozen=True, slots=True)
class ServerArguments:
    """The child's whole command line."""

    directory: Path
    parent: int | None
    options: SwiftOptions


def parse_arguments(arguments: Sequence[str] | None = None) -> ServerArguments:
    """Return what the command line asks for; `arguments` are the process's own by default.

    Raises:
        SystemExit: The arguments are wrong; argparse has explained it on stderr.
    """
    parser = _build_parser()
    given = parser.parse_args(arguments)
    try:
        options = SwiftOptions(
            port=given.port,
            object_memory=given.object_memory,
            users=_parse_users(given.users) if given.users else DEMO_USERS,
            rate_limit_segments=given.rate_limit_segments,
            constraints=dict(map(_parse_setting, given.constraint)),
            slo=dict(map(_parse_setting, given.slo)),
            policies=tuple(given.policy) or DEMO_POLICIES,
            keystone=_parse_keystone(given.keystone) if given.keystone else None,
            keystone_port=given.keystone_port,
            wrap=tuple(given.wrap),
        )
    except OptionsError as failure:
        parser.error(str(failure))
    return ServerArguments(given.directory, given.parent, options)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m swiftimgfs.demo.swift_server",
        description="Run a one-node Swift on 127.0.0.1 until SIGTERM or the parent's end.",
    )
    parser.add_argument("directory", type=Path, help="holds all data, settings and the log")
    parser.add_argument("--port", type=int, default=0, help="of the proxy (default: any)")
    parser.add_argument(
        "--object-memory", action="store_true", help="keep objects in memory, not on disk"
    )
    parser.add_argument("--users", metavar="JSON", help="list of account, name, key, groups")
    parser.add_argument(
        "--rate-limit-segments",
        action="store_true",
        help="serve the segments of large objects as slowly as Swift does by default",
    )
    for name, help_text in (
        ("--constraint", "of swift.conf, e.g. max_file_size (may be repeated)"),
        ("--slo", "of the slo filter, e.g. max_manifest_segments (may be repeated)"),
    ):
        parser.add_argument(
            name, action="append", default=[], metavar="NAME=VALUE", help=help_text
        )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="NAME",
        help="a storage policy, the default one first (may be repeated)",
    )
    parser.add_argument(
        "--keystone", metavar="FILE|JSON", help="adds a proxy that believes this Keystone"
    )
    parser.add_argument("--keystone-port", type=int, default=0, help="of that proxy")
    parser.add_argument(
        "--wrap",
        action="append",
        default=[],
        metavar="MODULE:CALLABLE",
        help="put CALLABLE(app) around every proxy (may be repeated)",
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="end when it has ended")
    return parser


def _parse_setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise OptionsError(f"not NAME=VALUE: {text}")
    return name.strip(), value.strip()


def _parse_users(text: str) -> tuple[SwiftUser, ...]:
    try:
        return tuple(
            SwiftUser(user["account"], user["name"], user["key"], tuple(user.get("groups", ())))
            for user in json.loads(text)
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise OptionsError(f"cannot make users of {text!r}: {exc!r}") from exc


def _parse_keystone(text: str) -> KeystoneService:
    """Take JSON, or the name of a file that holds it (so that no password shows in ps)."""
    try:
        content = text if text.lstrip().startswith("{") else Path(text).read_text("utf-8")
        return KeystoneService(**json.loads(content))
    except (OSError, ValueError, TypeError) as exc:
        raise OptionsError(f"cannot use the Keystone credentials: {exc}") from exc
