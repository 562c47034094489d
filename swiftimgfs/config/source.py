"""SOURCE: what to mount, how to get in, and which directory of the store is the root."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swiftimgfs import errors
from swiftimgfs.config.glance import read_glance
from swiftimgfs.config.references import ReferenceFile, reference_of_options
from swiftimgfs.config.settings import Settings
from swiftimgfs.model.paths import StorePath, is_representable
from swiftimgfs.store.location import SCHEMES, format_location, parse_mount_location
from swiftimgfs.store.login import (
    CallerLogin,
    CloudLogin,
    EnvironmentLogin,
    Login,
    ReferenceLogin,
)
from swiftimgfs.store.references import reference_of_location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.store.references import AccountReference

SCHEME_MARK = "://"
LONGEST_SOURCE = 16 * 1024
# Of our own file; a Glance has references of its own, or none.
OUR_REFERENCES = {"swift_store_config_file", "default_swift_reference"}
FORMS = (
    "a cloud of clouds.yaml, env:, glance:/etc/glance/glance-api.conf, a swift location, or"
    " @FILE that holds one of them"
)


@dataclass(frozen=True, slots=True)
class Source:
    """What to mount.

    Attributes:
        name: The way in, as it was asked for, without credentials.
        root: A container or a prefix in it, or the account.
        reference: What Glance calls the login in its locations; empty without a name.
    """

    name: str
    login: Login
    root: StorePath
    reference: str = ""

    def __str__(self) -> str:
        if self.root.is_root:
            return self.name
        separator = "/" if SCHEME_MARK in self.name else ":"
        return f"{self.name.removesuffix(':')}{separator}{self.root}"


def read_source(
    text: str, own: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Source, Settings]:
    """Return what SOURCE means, and the settings with what it brings along.

    Args:
        text: As given.
        own: What our own files set.
        options: What `-o` set.

    Raises:
        ConfigError: It cannot be understood, or not with these settings.
    """
    text, is_in_file = (_read(Path(text[1:])), True) if text.startswith("@") else (text, False)
    if SCHEME_MARK in text:
        settings = Settings.of(own, options)
        return _location_source(text, settings, is_in_file=is_in_file), settings
    kind, colon, rest = text.partition(":")
    if kind == "glance" and colon:
        return _glance_source(rest, own, options)
    if not kind or "/" in kind or kind in SCHEMES:
        shown = "" if "@" in text else f" {text!r}"  # what is before an @ may be a password
        raise errors.ConfigError(f"source{shown}: give {FORMS}")
    root = _root_of(rest)
    settings = Settings.of(own, options)
    if kind == "env":
        return Source("env:", EnvironmentLogin(), root), settings
    return Source(kind, CloudLogin(kind), root), settings


def _root_of(text: str) -> StorePath:
    container, _, prefix = text.lstrip(":").strip("/").partition("/")
    return _checked(StorePath(container, prefix.strip("/")))


def _checked(root: StorePath) -> StorePath:
    """Return a root that the mount's paths can lead on from."""
    parts = [] if root.is_root else str(root).split("/")
    if not all(map(is_representable, parts)):
        raise errors.ConfigError(f"no directory can be called {str(root)!r}")
    return root


def _read(path: Path) -> str:
    """Return the SOURCE in a file that nobody else can read."""
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            raise errors.ConfigError(f"source @{path}: not a file")
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LONGEST_SOURCE).strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not UTF-8 text"
        raise errors.ConfigError(f"source @{path}: {reason}") from None
    if not text or "\n" in text or text.startswith("@"):
        raise errors.ConfigError(f"source @{path}: must hold one line")
    is_others = bool(status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)) and stat.S_ISREG(
        status.st_mode
    )
    if "@" in text and (is_others or status.st_uid not in {os.geteuid(), 0}):
        raise errors.ConfigError(f"source @{path}: others can use it: chmod 600 {path}")
    return text


# ── a location ─────────────────────────────────────────────────────────────────────────


def _location_source(text: str, settings: Settings, *, is_in_file: bool) -> Source:
    location = parse_mount_location(text)
    if location.key and not is_in_file:
        raise errors.ConfigError(
            "everybody on this host can read the key in a command line: write the location"
            " into a file and give @FILE, or leave the key out to be asked for it"
        )
    name = format_location(replace(location, container="", name=""))
    root = _checked(StorePath(location.container, location.name))
    if location.is_reference:
        reference = _reference_file(settings).reference(location.address)
        return Source(name, ReferenceLogin(reference), root, location.address)
    if location.user:
        return Source(name, ReferenceLogin(reference_of_location(location)), root)
    return Source(name, CallerLogin(location.url, _service(settings)), root)


def _reference_file(settings: Settings) -> ReferenceFile:
    path = settings["swift_store_config_file"]
    if not path:
        raise errors.ConfigError(
            "a swift+config location needs -o config_file=FILE, the file of references"
        )
    return ReferenceFile(Path(path).absolute())


# ── Glance's configuration ─────────────────────────────────────────────────────────────


def _glance_source(
    text: str, own: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Source, Settings]:
    before, mark, after = text.partition("#")
    place, _, root = (after if mark else before).partition(":")
    path, backend = _expanded(before if mark else place), place if mark else None
    if path == Path():
        raise errors.ConfigError(
            "source glance: needs a file: glance:/etc/glance/glance-api.conf"
        )
    path = path.absolute()
    glance = read_glance(path, backend)
    ours = {name: value for name, value in own.items() if name not in OUR_REFERENCES}
    settings = Settings.of(ours, _absolute(glance.given, path.parent), options)
    name = f"glance:{path}" + (f"#{backend}" if backend else "")
    if settings["swift_store_multi_tenant"]:
        _check_multi_tenant(settings, glance.default_store)
        address = reference_of_options(settings.values)
        auth_url = address.auth_url if address.auth_address else None
        caller = CallerLogin(None, _service(settings), auth_url)
        return Source(name, caller, _root_of(root)), settings
    if settings["swift_store_config_file"]:
        reference = settings["default_swift_reference"]
        login = ReferenceLogin(_reference_file(settings).reference(reference))
        return Source(name, login, _root_of(root), reference), settings
    options_reference = reference_of_options(settings.values)
    try:
        replace(options_reference, name="").check()
    except errors.ConfigError as failure:
        raise errors.ConfigError(
            f"{path} [{glance.group}]: no way to log in ({failure}): neither swift_store_config_file nor"
            " swift_store_auth_address with swift_store_user and swift_store_key, or with both"
            " halves of an application credential"
        ) from None
    return Source(name, ReferenceLogin(options_reference), _root_of(root)), settings


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise errors.ConfigError(f"source glance:{text}: no such home directory") from None


def _absolute(given: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return options with the reference file beside Glance's, where its path is relative."""
    file = given.get("swift_store_config_file")
    return {**given, **({"swift_store_config_file": str(directory / file)} if file else {})}


def _check_multi_tenant(settings: Settings, default_store: str | None) -> None:
    """Refuse what the driver refuses: references are logins of ours, and there is a caller's."""
    if settings["swift_store_config_file"] or default_store == "swift+config":
        raise errors.ConfigError(
            "swift_store_multi_tenant and swift_store_config_file (or the store swift+config)"
            " exclude each other"
        )


def _service(settings: Settings) -> AccountReference | None:
    """Return whom Keystone is to trust in a multi-tenant store, if anybody.

    Raises:
        ConfigError: Half of a login is there: somebody counts on the trust.
    """
    reference = reference_of_options(settings.values)
    if not settings["swift_store_use_trusts"] or not reference.has_any_login:
        return None
    replace(reference, name="").check()
    return reference
