"""SOURCEs of a mount and the files that they name; nothing that is shown may have the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from swiftimgfs.config.settings import parse_options, read_own_files
from swiftimgfs.config.source import Source, read_source
from swiftimgfs.errors import ConfigError
from swiftimgfs.store.login import CallerLogin, ReferenceLogin

if TYPE_CHECKING:
    from pathlib import Path

    from swiftimgfs.store.references import AccountReference

KEY = "s3cr3t-k3y"
LOGIN = (
    "swift_store_auth_address = http://keystone/v3\n"
    f"swift_store_user = service:glance\nswift_store_key = {KEY}\n"
)
APPLICATION = (
    "swift_store_auth_address = http://keystone/v3\n"
    f"swift_store_application_credential_id = i\n"
    f"swift_store_application_credential_secret = {KEY}\n"
)
REFERENCES = f"""\
[ref1]
auth_address = https://keystone/v3
user = service:glance
key = {KEY}
[ref2]
auth_address = https://other/v3
user = service:glance
key = {KEY}
"""
ROOTS = [
    ("", "", ""),
    (":", "", ""),
    (":c", "c", ""),
    (":/c/", "c", ""),
    (":c/p", "c", "p"),
    (":c/p/q/", "c", "p/q"),
    (":c d/ä", "c d", "ä"),
    (":c/a:b", "c", "a:b"),
]


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    """Return a file with that text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def source_of(text: str, *options: str, **own: object) -> Source:
    """Return what SOURCE means; nothing that is shown of it may be a key."""
    source, settings = read_source(text, own, parse_options(options))
    assert KEY not in f"{source} {source!r} {settings!r}"
    return source


def refusal(text: str, *options: str, **own: object) -> str:
    """Return why SOURCE is refused; never with a key."""
    with pytest.raises(ConfigError) as caught:
        read_source(text, own, parse_options(options))
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def refusal_of_file(path: Path) -> str:
    """Return why a configuration file is refused."""
    with pytest.raises(ConfigError) as caught:
        read_own_files(path)
    assert caught.value.__cause__ is None
    return str(caught.value)


def reference_of(source: Source) -> AccountReference:
    """Return the credentials that a source brings along."""
    assert isinstance(source.login, ReferenceLogin)
    return source.login.reference


def caller_of(source: Source) -> CallerLogin:
    """Return the login of a source that takes its caller's."""
    assert isinstance(source.login, CallerLogin)
    return source.login


def glance(directory: Path, lines: str, name: str = "glance-api.conf") -> str:
    """Return the source of a Glance with one Swift store."""
    path = written(directory / name, f"[glance_store]\nstores = swift\n{lines}")
    return f"glance:{path}"
