"""Configuration files through oslo.config, and what in them was given.

No message shows a line or a value of a file: it may be a key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from swiftimgfs import errors
from swiftimgfs.config.options import GROUP, NAMES, unknown_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def parsed_files(paths: Sequence[Path], *, with_environment: bool = True) -> cfg.ConfigOpts:
    """Return what is in the files, later ones over earlier ones; options come afterwards.

    Args:
        paths: Of the files.
        with_environment: Have variables `OS_GROUP__OPTION` over what the files say.

    Raises:
        ConfigError: One is missing, not readable or not in the format.
    """
    for path in paths:
        try:
            path.read_text(encoding="utf-8")
        except OSError as exc:
            raise errors.ConfigError(f"configuration file {path}: {exc.strerror}") from None
        except UnicodeDecodeError:
            raise errors.ConfigError(f"configuration file {path}: not UTF-8 text") from None
    conf = cfg.ConfigOpts()
    try:
        conf(
            args=[],
            project="swiftimgfs",
            default_config_files=[str(path) for path in paths],
            default_config_dirs=[],
            use_env=with_environment,
        )
    except cfg.Error as exc:
        raise errors.ConfigError(f"configuration file: {_place_of(exc)}") from None
    return conf


def given_in(
    conf: cfg.ConfigOpts, group: str, options: Iterable[cfg.Opt], where: str
) -> dict[str, Any]:
    """Return the options of a group that files or the environment set, by name.

    `where` is what a message calls them.

    Raises:
        ConfigError: A value that an option cannot have.
    """
    given = {}
    for option in options:
        try:
            location = conf.get_location(option.dest, group)
            if location is not None and location.location.is_user_controlled:
                given[option.name] = conf[group][option.dest]
        except (cfg.Error, ValueError) as exc:
            reason = "a $ is written as $$" if option.secret else _reason_of(exc)
            raise errors.ConfigError(f"{where}: [{group}] {option.name}: {reason}") from None
    return given


def check_names(path: Path) -> None:
    """Refuse names in our group that no option has, and other groups: nobody would notice.

    Raises:
        ConfigError: There is one.
    """
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(str(path), sections).parse()
    except cfg.ParseError as exc:
        raise errors.ConfigError(f"configuration file: {_place_of(exc)}") from None
    given = {name for title in sections if title.lower() == GROUP for name in sections[title]}
    if others := [
        title for title, names in sections.items() if names and title.lower() != GROUP
    ]:
        raise errors.ConfigError(
            f"{path}: [{others[0]}] is not [{GROUP}], where our options are"
        )
    if unknown := sorted(given - set(NAMES)):
        told = ", ".join(map(unknown_option, unknown))
        raise errors.ConfigError(f"{path}: [{GROUP}] {told}")


def _place_of(exc: Exception) -> str:
    """Return the place of a syntax error: `at FILE:LINE, REASON: 'THE LINE'` without the line."""
    found = re.search(r"at (.+?):(\d+), (No ':' or '=' found|[^:]*)", str(exc))
    return f"{found[1]}, line {found[2]}: {found[3]}" if found else type(exc).__name__


def _reason_of(exc: Exception) -> str:
    return str(exc).rpartition("is not valid: ")[2]
