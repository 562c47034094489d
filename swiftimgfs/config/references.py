"""`swift_store_config_file`: a file of references, each in a section of its own.

Read as glance_store's `SwiftParams` reads it: values may be in quotes, `%` is doubled, a
domain that is not named is `default`, and a section that cannot be used does not keep
others from being used. Unlike there, what is wrong with a section is told when it is asked
for, and no line of the file is ever shown: it may hold a key.
"""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.store.references import AccountReference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Where the reference has the same name for it.
_KEYS = (
    "auth_address",
    "user",
    "key",
    "application_credential_id",
    "application_credential_secret",
    "project_name",
    "project_id",
    "user_domain_id",
    "user_domain_name",
    "project_domain_id",
    "project_domain_name",
    "auth_version",
)


class ReferenceFile:
    """The references of one file."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: It is missing, not readable, or no such file at all.
        """
        self.path = path
        self._parser = configparser.ConfigParser()
        try:
            self._parser.read_string(path.read_text(encoding="utf-8"), str(path))
        except OSError as exc:
            raise errors.ConfigError(f"reference file {path}: {exc.strerror}") from None
        except UnicodeDecodeError:
            raise errors.ConfigError(f"reference file {path}: not UTF-8 text") from None
        except configparser.Error as exc:
            raise errors.ConfigError(f"reference file {path}: {_told(exc)}") from None

    def reference(self, name: str) -> AccountReference:
        """Return a reference that is fit to log in.

        Raises:
            ConfigError: There is none of that name, or something is missing or wrong in it.
        """
        if not self._parser.has_section(name):
            known = ", ".join(self._parser.sections()) or "none"
            raise errors.ConfigError(f"no reference {name!r} in {self.path} (it has: {known})")
        values = {key: value for key in _KEYS if (value := self._value(name, key))}
        values.setdefault("auth_address", "")  # for check() to miss it
        reference = AccountReference(name, **values).with_domains()
        try:
            reference.check()
        except errors.ConfigError as failure:
            raise errors.ConfigError(f"{self.path}: {failure}") from None
        return reference

    def _value(self, section: str, key: str) -> str:
        try:
            value = self._parser.get(section, key, fallback="")
        except configparser.InterpolationError:
            raise errors.ConfigError(
                f"{self.path}: reference {section}: {key}: a % is written as %%"
            ) from None
        if value[:1] in {"'", '"'} and value:
            if len(value) == 1 or value[-1] != value[0]:
                raise errors.ConfigError(
                    f"{self.path}: reference {section}: {key}: a quote that is not closed"
                )
            return value[1:-1]
        return value


def reference_of_options(values: Mapping[str, str | None]) -> AccountReference:
    """Return the login that the options outside a reference file describe, complete or not."""

    def value(name: str) -> str:
        return values.get(f"swift_store_{name}") or ""

    return AccountReference(
        name=values.get("default_swift_reference") or "",
        auth_address=value("auth_address"),
        user=value("user"),
        key=value("key"),
        application_credential_id=value("application_credential_id"),
        application_credential_secret=value("application_credential_secret"),
        project_name=value("project_name"),
        project_id=value("project_id"),
    ).with_domains()


def _told(exc: configparser.Error) -> str:
    """Return what is wrong with a file, without the line that is."""
    match exc:
        case configparser.ParsingError(errors=[(number, _), *_]):
            return f"line {number} is neither a section nor a value"
        case configparser.MissingSectionHeaderError(lineno=number):
            return f"line {number} is outside any section"
        case configparser.DuplicateSectionError(section=section, lineno=number):
            return f"line {number}: section {section} is there twice"
        case configparser.DuplicateOptionError(option=option, lineno=number):
            return f"line {number}: {option} is there twice"
        case _:
            return "not a file of sections"
