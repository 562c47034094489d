"""Glance's files of logins: what is in them, what is wrong with them, and never a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.config.references import ReferenceFile, reference_of_options
from swiftimgfs.errors import ConfigError
from swiftimgfs.store.location import parse_mount_location
from swiftimgfs.store.references import (
    AccountReference,
    reference_of_location,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = "s3cr3t"
LOGIN = f"auth_address = https://keystone/v3\nuser = project:user\nkey = {KEY}\n"
APPLICATION = (
    "auth_address = https://keystone/v3\n"
    f"application_credential_id = an-id\napplication_credential_secret = {KEY}\n"
)
DEFAULT_DOMAINS = ("default", "", "default", "")


def file_of(directory: Path, text: str) -> ReferenceFile:
    """Return a file of references with that text."""
    path = directory / "swift.conf"
    path.write_text(text, encoding="utf-8")
    return ReferenceFile(path)


def refusal(directory: Path, text: str, name: str = "ref1") -> str:
    """Return why a reference is refused; the file's path is left out."""
    with pytest.raises(ConfigError) as caught:
        file_of(directory, text).reference(name)
    message = str(caught.value)
    assert KEY not in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert str(directory / "swift.conf") in message
    return message.replace(str(directory / "swift.conf"), "FILE")


def domains(reference: AccountReference) -> tuple[str, str, str, str]:
    """Return ids and names of the domains, of the user first."""
    return (
        reference.user_domain_id,
        reference.user_domain_name,
        reference.project_domain_id,
        reference.project_domain_name,
    )


# ── what is in a section ───────────────────────────────────────────────────────────────


def test_a_section_is_a_login_with_a_name(tmp_path):
    reference = file_of(tmp_path, f"[ref1]\n{LOGIN}").reference("ref1")

    assert (reference.name, reference.auth_url) == ("ref1", "https://keystone/v3")
    assert (reference.user, reference.key) == ("project:user", KEY)
    assert not reference.has_application_credential
    assert not reference.is_legacy


def test_an_application_credential_needs_neither_user_nor_key(tmp_path):
    text = f"[ref1]\n{APPLICATION}project_name = p\nproject_id = i\n"

    reference = file_of(tmp_path, text).reference("ref1")

    assert reference.has_application_credential
    assert reference.application_credential_secret == KEY
    assert (reference.user, reference.key) == ("", "")
    assert (reference.project_name, reference.project_id) == ("p", "i")
    assert domains(reference) == DEFAULT_DOMAINS


def test_an_application_credential_may_have_a_login_beside_it(tmp_path):
    text = f"[ref1]\n{APPLICATION}user = project:user\nkey = {KEY}\n"

    assert file_of(tmp_path, text).reference("ref1").has_application_credential


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("plain", "plain"),
        ("'single'", "single"),
        ('"double"', "double"),
        ("'it's'", "it's"),
        ("\"'both'\"", "'both'"),
        ("'  spaces '", "  spaces "),
        ("in'side", "in'side"),
        ("end'", "end'"),
        ("50%%", "50%"),
        ("'%%s'", "%s"),
        ("a;b#c", "a;b#c"),
        ("a = b: c", "a = b: c"),
        ("ключ", "ключ"),
        ("$x$$", "$x$$"),
    ],
)
def test_a_value_may_be_in_quotes_and_its_percent_signs_are_doubled(tmp_path, written, key):
    text = f"[ref1]\nauth_address = h\nuser = p:u\nkey = {written}\n"

    assert file_of(tmp_path, text).reference("ref1").key == key


@hypothesis.given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30),
    st.sampled_from("'\""),
)
def test_any_key_can_be_written_in_quotes(tmp_path_factory, key, quote):
    text = (
        f"[ref1]\nauth_address = h\nuser = p:u\nkey = {quote}{key.replace('%', '%%')}{quote}\n"
    )

    assert file_of(tmp_path_factory.getbasetemp(), text).reference("ref1").key == key


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", DEFAULT_DOMAINS),
        ("user_domain_id = u\nproject_domain_id = p\n", ("u", "", "p", "")),
        ("user_domain_name = U\nproject_domain_name = P\n", ("", "U", "", "P")),
        ("user_domain_name = U\n", ("", "U", "default", "")),
        ("project_domain_id = p\n", ("default", "", "p", "")),
        ("user_domain_id = u\nuser_domain_name = U\n", ("u", "U", "default", "")),
        ("user_domain_id =\nproject_domain_name = ''\n", DEFAULT_DOMAINS),
    ],
)
@pytest.mark.parametrize("login", [LOGIN, APPLICATION])
def test_a_domain_that_is_not_named_is_the_default_one(tmp_path, lines, expected, login):
    reference = file_of(tmp_path, f"[ref1]\n{login}{lines}").reference("ref1")

    assert domains(reference) == expected


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://keystone/v3", "https://keystone/v3"),
        ("http://keystone:5000/v3/", "http://keystone:5000/v3/"),
        ("keystone:5000/v3", "https://keystone:5000/v3"),
        ("httphost/v3", "https://httphost/v3"),
    ],
)
def test_an_address_without_a_scheme_is_encrypted(address, url):
    assert AccountReference("r", address).auth_url == url


@pytest.mark.parametrize(
    ("address", "version", "is_legacy"),
    [
        ("http://h/auth", "1", True),
        ("http://h/auth", "1.0", True),
        ("http://h/auth/v1.0", "3", True),
        ("http://h/auth/v1/", "2", True),
        ("http://h/v3", "2", False),
        ("http://v1", "3", False),
        ("h/v1.0/x", "3", False),
    ],
)
def test_auth_version_1_and_an_address_that_ends_so_are_tempauths(address, version, is_legacy):
    assert AccountReference("r", address, auth_version=version).is_legacy is is_legacy


@pytest.mark.parametrize("user", ["account:user", "user", "a:b:c"])
def test_a_tempauth_user_is_of_any_form(tmp_path, user):
    text = (
        f"[ref1]\nauth_address = http://h/auth\nauth_version = 1\nuser = {user}\nkey = {KEY}\n"
    )

    reference = file_of(tmp_path, text).reference("ref1")

    assert (reference.is_legacy, reference.user) == (True, user)


def test_what_sections_have_in_common_may_be_in_default(tmp_path):
    file = file_of(tmp_path, f"[DEFAULT]\n{LOGIN}[ref1]\n[ref2]\nuser = other:user\n")

    assert file.reference("ref1").user == "project:user"
    assert (file.reference("ref2").user, file.reference("ref2").key) == ("other:user", KEY)


def test_a_reference_shows_no_key(tmp_path):
    for text in (LOGIN, APPLICATION):
        reference = file_of(tmp_path, f"[ref1]\n{text}").reference("ref1")

        assert KEY not in repr(reference)
        assert KEY not in str(reference)


# ── what is wrong with a section ───────────────────────────────────────────────────────


@pytest.mark.parametrize("quoted", [f"'{KEY}", f'"{KEY}', f"'{KEY}\"", f"\"{KEY}'", "'", '"'])
def test_a_quote_that_is_not_closed_is_refused(tmp_path, quoted):
    text = f"[ref1]\nauth_address = h\nuser = p:u\nkey = {quoted}\n"

    assert refusal(tmp_path, text) == "FILE: reference ref1: key: a quote that is not closed"


@pytest.mark.parametrize(
    "value", [f"{KEY}%", f"%{KEY}", f"'{KEY}%x'", f"%({KEY})s", f"%({KEY}"]
)
def test_a_percent_sign_that_is_not_doubled_is_refused(tmp_path, value):
    text = f"[ref1]\nauth_address = h\nuser = p:u\nkey = {value}\n"

    assert refusal(tmp_path, text) == "FILE: reference ref1: key: a % is written as %%"


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (f"user = p:u\nkey = {KEY}\n", "reference ref1 has no auth_address"),
        (f"auth_address = ''\nuser = p:u\nkey = {KEY}\n", "reference ref1 has no auth_address"),
        (f"auth_address = h\nkey = {KEY}\n", "reference ref1 has no user"),
        ("auth_address = h\nuser = p:u\n", "reference ref1 has no key"),
        ('auth_address = h\nuser = p:u\nkey = ""\n', "reference ref1 has no key"),
        ("auth_address = h\n", "reference ref1 has no user and no key"),
        ("", "reference ref1 has no auth_address"),
        (
            f"auth_address = h\nuser = u\nkey = {KEY}\n",
            "reference ref1: its user is not of the form project:user",
        ),
        (
            f"auth_address = h\nuser = a:b:c\nkey = {KEY}\n",
            "reference ref1: its user is not of the form project:user",
        ),
        (
            "auth_address = h\napplication_credential_id = i\n",
            (
                "reference ref1 has an application_credential_id"
                " and no application_credential_secret"
            ),
        ),
        (
            f"auth_address = h\napplication_credential_secret = {KEY}\n",
            (
                "reference ref1 has an application_credential_secret"
                " and no application_credential_id"
            ),
        ),
        (
            f"auth_address = h\napplication_credential_id = i\nkey = {KEY}\n",
            (
                "reference ref1 has an application_credential_id"
                " and no application_credential_secret"
            ),
        ),
    ],
)
def test_a_section_that_cannot_log_in_is_refused(tmp_path, section, reason):
    assert refusal(tmp_path, f"[ref1]\n{section}") == f"FILE: {reason}"


@pytest.mark.parametrize(
    "half", ["application_credential_id = i\n", f"application_credential_secret = {KEY}\n"]
)
def test_beside_a_login_half_an_application_credential_does_not_count(tmp_path, half):
    """As in the driver, which then forgets the half that is there."""
    reference = file_of(tmp_path, f"[ref1]\n{LOGIN}{half}").reference("ref1")

    assert not reference.has_application_credential
    assert (reference.user, reference.key) == ("project:user", KEY)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        f"auth_address = h\nuser = u\nkey = '{KEY}\n",
        f"auth_address = h\nuser = u\nkey = {KEY}%\n",
        f"auth_address = h\nuser = a:b:c\nkey = {KEY}\n",
    ],
)
def test_a_section_that_cannot_be_used_does_not_keep_another_from_it(tmp_path, broken):
    text = f"[broken]\n{broken}[ref1]\n{LOGIN}"

    assert file_of(tmp_path, text).reference("ref1").key == KEY
    assert refusal(tmp_path, text, "broken")


@pytest.mark.parametrize("name", ["ref2", "REF1", "DEFAULT", ""])
def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path, name):
    text = f"[DEFAULT]\nkey = {KEY}\n[ref1]\n{LOGIN}[other]\n"

    assert (
        refusal(tmp_path, text, name) == f"no reference {name!r} in FILE (it has: ref1, other)"
    )


def test_an_empty_file_has_none(tmp_path):
    assert refusal(tmp_path, "") == "no reference 'ref1' in FILE (it has: none)"


# ── what is wrong with a file ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"key = {KEY}\n[ref1]\n", "line 1 is outside any section"),
        (f"[ref1 {KEY}\n", "line 1 is outside any section"),
        (f"[ref1]\n{KEY}\n", "line 2 is neither a section nor a value"),
        (f"[ref1]\n= {KEY}\n", "line 2 is neither a section nor a value"),
        (f"[ref1]\nuser=u\n[ref1]\nkey={KEY}\n", "line 3: section ref1 is there twice"),
        (f"[ref1]\nkey=a\nKey={KEY}\n", "line 3: key is there twice"),
    ],
)
def test_a_slip_is_told_by_its_line_number_and_never_by_the_line(tmp_path, text, reason):
    assert refusal(tmp_path, text) == f"reference file FILE: {reason}"


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"reference file .*none: No such file or directory"):
        ReferenceFile(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        ReferenceFile(tmp_path)
    (tmp_path / "latin").write_bytes(b"[ref1]\nkey = \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        ReferenceFile(tmp_path / "latin")


@hypothesis.given(st.text("[]=:%'\"\n\\ ab", max_size=40))
def test_no_file_at_all_fails_otherwise_than_with_a_clear_refusal(tmp_path_factory, noise):
    text = f"[ref1]\n{LOGIN}{noise}"

    try:
        reference = file_of(tmp_path_factory.getbasetemp(), text).reference("ref1")
    except ConfigError as failure:
        message = str(failure)
    else:
        message = repr(reference)

    assert KEY not in message


# ── other logins of the same kind ──────────────────────────────────────────────────────


def test_options_beside_a_reference_file_describe_a_login_too():
    reference = reference_of_options(
        {
            "default_swift_reference": "ref1",
            "swift_store_auth_address": "keystone/v3",
            "swift_store_user": "p:u",
            "swift_store_key": KEY,
            "swift_store_project_name": None,
        }
    )

    assert reference == AccountReference(
        "ref1", "keystone/v3", "p:u", KEY, user_domain_id="default", project_domain_id="default"
    )


def test_options_that_describe_no_login_make_one_that_is_refused():
    with pytest.raises(ConfigError, match="the login has no auth_address"):
        reference_of_options({}).check()


def test_a_location_with_a_user_is_a_login_without_a_name():
    location = parse_mount_location(f"swift+http://p%3Au:{KEY}@h:5000/v3/c")

    reference = reference_of_location(location)

    assert (reference.name, reference.auth_url) == ("", "http://h:5000/v3")
    assert (reference.user, reference.key) == ("p:u", KEY)
    assert domains(reference) == DEFAULT_DOMAINS
