"""Our settings: `swiftimgfs.conf`, Glance's file when one is the source, then `-o` on top."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from oslo_config import cfg, types

from swiftimgfs import errors
from swiftimgfs.config.files import check_names, given_in, parsed_files
from swiftimgfs.config.mount_words import REFUSED, REVERSED
from swiftimgfs.config.options import BY_NAME, GROUP, NAMES, SHORT_NAMES, unknown_option
from swiftimgfs.private_directory import is_open_to_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VARIABLES: Final = f"OS_{GROUP.upper()}__"
SECRETS: Final = frozenset(["swift_store_key", "swift_store_application_credential_secret"])
SYSTEM_FILE = Path("/etc/swiftimgfs/swiftimgfs.conf")


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of every option, ours and Glance's, by name; and which somebody set."""

    values: Mapping[str, Any] = field(repr=False)  # with passwords
    given: frozenset[str]

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> Settings:
        """Return the defaults with `layers` over them, the last on top."""
        given = {name: value for layer in layers for name, value in layer.items()}
        defaults = {name: _default(option) for name, option in BY_NAME.items()}
        return cls({**defaults, **given}, frozenset(given))

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def if_given(self, name: str) -> Any:
        """Return a value that somebody set, and not to an empty text, else None."""
        value = self.values[name] if name in self.given else None
        return None if value == "" else value


def _default(option: cfg.Opt) -> Any:
    return None if option.default is None else option.type(option.default)


def user_file() -> Path:
    """Return where a user's own file is: relative, and not to be read, without a home."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111  # never fails
    return Path(base) / "swiftimgfs" / "swiftimgfs.conf"


def read_own_files(explicit: Path | None = None) -> dict[str, Any]:
    """Return what `[swiftimgfs]` says: of one file, or of the system's and the user's.

    Options of Glance may have their short names. `OS_SWIFTIMGFS__NAME` in the environment is
    over both, as with any user of oslo.config.

    Raises:
        ConfigError: The file is missing, or something in it cannot be understood.
    """
    return with_environment(values_by_file(explicit))


def values_by_file(explicit: Path | None = None) -> dict[Path, dict[str, Any]]:
    """Return what each of our files says: the one that was named, or those that are there.

    Raises:
        ConfigError: The file is missing, or something in it cannot be understood.
    """
    # One at a time: a short name in one file is the long one in another.
    return {path: _values_in(path) for path in _own_files(explicit)}


def with_environment(by_file: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what files say, the later over the earlier, and the environment over all.

    Raises:
        ConfigError: A variable is of no option, or has a value that it cannot have.
    """
    given = {name: value for values in by_file.values() for name, value in values.items()}
    _check_variables(os.environ)
    return given | _own_values(parsed_files([]), "environment")


def open_to_all(settings: Settings, by_file: Mapping[Path, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a warning of each file of secrets that everybody on this host can read."""
    files = [path for path, values in by_file.items() if SECRETS & values.keys()]
    if references := settings["swift_store_config_file"]:
        files.append(Path(references))
    for path in files:
        if is_open_to_all(path):
            yield f"everybody on this host can read {path}: chmod o-r {path}"


def _own_files(explicit: Path | None) -> list[Path]:
    if explicit:
        return [explicit]
    return [
        path for path in (SYSTEM_FILE, user_file()) if path.is_absolute() and _is_there(path)
    ]


def _values_in(path: Path) -> dict[str, Any]:
    conf = parsed_files([path], with_environment=False)
    check_names(path)
    return _own_values(conf, str(path))


def _check_variables(environ: Mapping[str, str]) -> None:
    """Refuse variables that look like options and are none: oslo.config passes them over."""
    known = {name.upper() for name in NAMES}
    for variable in environ:
        name = variable.removeprefix(VARIABLES)
        if name != variable and name not in known:
            raise errors.ConfigError(f"{variable}: {unknown_option(name.lower())}")


def _is_there(path: Path) -> bool:
    """Return whether there is a file to read, or to say why it cannot be read."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _own_values(conf: cfg.ConfigOpts, where: str) -> dict[str, Any]:
    short = [_renamed(BY_NAME[long], short) for short, long in SHORT_NAMES.items()]
    options = [*BY_NAME.values(), *short]
    conf.register_opts(options, group=GROUP)
    given = given_in(conf, GROUP, options, where)
    for name, long in SHORT_NAMES.items():
        if name in given and long in given:
            raise errors.ConfigError(f"{where}: [{GROUP}] {name} and {long} are one option")
    return {SHORT_NAMES.get(name, name): value for name, value in given.items()}


def _renamed(option: cfg.Opt, name: str) -> cfg.Opt:
    return cfg.Opt(name, type=option.type, secret=option.secret, help=option.help)


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    r"""Return the values of `-o` arguments, each a comma-separated list (a comma itself: `\,`).

    `rw` and `exec` are taken as mount(8) means them.

    Raises:
        ConfigError: An unknown option, a value that it cannot have, a secret, or what no mount
            of ours does.
    """
    given: dict[str, Any] = {}
    for item in (item.strip() for text in texts for item in re.split(r"(?<!\\),", text)):
        if item:
            name, equals, text = item.replace("\\,", ",").partition("=")
            if name in REVERSED and not equals:
                name, equals, text = REVERSED[name], "=", "false"
            option = _option_of(name)
            given[option.name] = _parsed(option, name, text if equals else None)
    return given


def _option_of(name: str) -> cfg.Opt:
    option = BY_NAME.get(SHORT_NAMES.get(name, name))
    if option is not None:
        return option
    if name in REFUSED:
        raise errors.ConfigError(f"option {name}: {REFUSED[name]}")
    raise errors.ConfigError(unknown_option(name))


def _parsed(option: cfg.Opt, name: str, text: str | None) -> Any:
    if option.secret:
        raise errors.ConfigError(
            f"option {name}: everybody on this host can read a command line; put it into"
            " swiftimgfs.conf or a reference file, of mode 0600"
        )
    if text is None:
        if not isinstance(option.type, types.Boolean):
            raise errors.ConfigError(f"option {name} needs a value: {name}=…")
        text = "true"
    if isinstance(option.type, types.List):
        text = text.replace(":", ",")  # the comma separates options
    try:
        return option.type(text)
    except ValueError as exc:
        raise errors.ConfigError(f"option {name}={text}: {exc}") from None
