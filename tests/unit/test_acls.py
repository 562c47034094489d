"""ACLs become what Swift makes of them, and are what Glance sets."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.errors import InvalidRequestError
from swiftimgfs.store.acls import (
    MAX_HEADER_LINE,
    PUBLIC,
    AclHeader,
    Acls,
    canonical_acl,
    parse_tenants,
    set_acls,
    tenants_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _swifts_clean_acl() -> Callable[[str, str], str]:
    """Return Swift's own function out of its file: importing its package brings eventlet."""
    package = importlib.util.find_spec("swift")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "common" / "middleware" / "acl.py"
    spec = importlib.util.spec_from_file_location("acl_of_swift", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clean_acl: Callable[[str, str], str] = module.clean_acl
    return clean_acl


clean_acl = _swifts_clean_acl()

HEADERS = st.sampled_from(AclHeader)
DESIGNATORS = [".r", ".ref", ".referer", ".referrer", ".rlistings", ".x"]
SIGNS = [",", ":", ".", "-", "*", "**", " ", "\xa0", "\u3000"]
ITEMS = ["a", "b:c", "*:*", "example.com", "*.example.com", "%2C", "write", "é", "à"]
WORDS = st.sampled_from([*DESIGNATORS, *SIGNS, *ITEMS])
TEXTS = st.lists(WORDS, max_size=12).map("".join) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), max_size=40
)
TENANTS = st.lists(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=":,%"), max_size=9
    )
    .map(str.strip)
    .filter(lambda text: text not in {"", "*"} and not text.startswith(".")),
    max_size=5,
    unique=True,
)


def what_swift_stores(header: AclHeader, text: str) -> str | None:
    """Return what its server stores, which sees a header's bytes as Latin-1; None for no."""
    try:
        cleaned = clean_acl(header.value, text.encode().decode("latin-1"))
        return cleaned.encode("latin-1").decode()
    except ValueError:  # refused, or not UTF-8 any more
        return None


def canonical_or_none(header: AclHeader, text: str) -> str | None:
    try:
        return canonical_acl(header, text)
    except InvalidRequestError:
        return None


# ── what Swift stores ──────────────────────────────────────────────────────────────────


@hypothesis.settings(max_examples=1000)
@hypothesis.given(HEADERS, TEXTS)
def test_an_acl_becomes_what_swift_makes_of_it(header, text):
    assert canonical_or_none(header, text) == what_swift_stores(header, text)


@hypothesis.given(HEADERS, st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_of_plain_text_that_is_what_swifts_function_returns(header, text):
    try:
        expected = clean_acl(header.value, text)
    except ValueError:
        expected = None

    assert canonical_or_none(header, text) == expected


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("", ""),
        ("bob, sue", "bob,sue"),
        ("bob , sue", "bob,sue"),
        ("bob,,,sue,", "bob,sue"),
        (".referrer : *", ".r:*"),
        (".ref:*.example.com", ".r:.example.com"),
        (".r:*, .rlistings", ".r:*,.rlistings"),
        (".r : - * .thief.com", ".r:-.thief.com"),
        ("p : u", "p : u"),
        ("*:*", "*:*"),
        (".r:**a", ".r:*a"),
        (".r:bad::", ".r:bad::"),
        ("a : b : c", "a : b : c"),
        ("Ä:*,é", "Ä:*,é"),
    ],
)
def test_a_messy_acl_is_tidied(text, stored):
    assert canonical_acl(AclHeader.READ, text) == stored


@pytest.mark.parametrize(
    "text", [".r:", ".r:-", ".r:.", ".r:*.", ".x:a", ".rlistings:a", ".:a"]
)
@pytest.mark.parametrize("header", AclHeader)
def test_a_broken_referrer_is_refused(header, text):
    with pytest.raises(InvalidRequestError, match=r"in an ACL"):
        canonical_acl(header, f"a,{text}")


def test_a_referrer_may_not_write():
    with pytest.raises(InvalidRequestError, match="may read, but not write"):
        canonical_acl(AclHeader.WRITE, "a:*,.r:*")


def test_what_only_looks_like_a_referrer_may_write():
    assert canonical_acl(AclHeader.WRITE, ".rlistings,.r") == ".rlistings,.r"


@pytest.mark.parametrize(
    "text", ["a\nX-Evil: 1", "a\rb", "a\0", "\ta", "a\x7f", "a\x85", "\udcff"]
)
def test_control_characters_are_refused(text):
    with pytest.raises(InvalidRequestError, match="control characters"):
        canonical_acl(AclHeader.READ, text)


@pytest.mark.parametrize("text", ["à", "à,b", "a,b\xa0"])
def test_a_character_that_swift_would_damage_and_then_refuse_is_refused(text):
    with pytest.raises(InvalidRequestError, match="cannot keep"):
        canonical_acl(AclHeader.READ, text)


@pytest.mark.parametrize("header", AclHeader)
@pytest.mark.parametrize("character", ["a", "é"])
def test_an_acl_longer_than_a_header_is_refused(header, character):
    room = MAX_HEADER_LINE - 1 - len(f"{header.value}: \r\n")
    text = character * (room // len(character.encode()))

    assert canonical_acl(header, text) == text
    with pytest.raises(InvalidRequestError, match="too long"):
        canonical_acl(header, text + character)


# ── what Glance sets ───────────────────────────────────────────────────────────────────


def test_a_public_image_may_be_read_by_all_who_have_a_token():
    assert set_acls(public=True) == Acls(read="*:*", write="")


def test_of_a_public_image_the_readers_do_not_matter():
    assert set_acls(public=True, read_tenants=["matt"]).read == PUBLIC


def test_a_shared_image_may_be_read_by_its_tenants():
    assert set_acls(read_tenants=["matt", "mark"]) == Acls(read="matt:*,mark:*", write="")


def test_writers_and_admins_may_write():
    acls = set_acls(write_tenants=("frank", "jim"), admin_tenants=("boss",))

    assert acls == Acls(read="", write="frank:*,jim:*,boss:*")


def test_otherwise_nobody_but_the_owner_may_anything():
    assert set_acls() == Acls(read="", write="")


def test_setting_acls_leaves_the_callers_lists_alone():
    writers, admins = ["a"], ["b"]

    set_acls(write_tenants=writers, admin_tenants=admins)

    assert (writers, admins) == (["a"], ["b"])


@hypothesis.given(HEADERS, TENANTS)
def test_swift_stores_what_glance_sets_unchanged(header, tenants):
    acl = set_acls(read_tenants=tenants).read

    assert canonical_acl(header, acl) == acl


# ── tenants ────────────────────────────────────────────────────────────────────────────


@hypothesis.given(TENANTS)
def test_the_tenants_of_an_acl_are_those_that_were_set(tenants):
    assert tenants_of(set_acls(read_tenants=tenants).read) == tuple(tenants)


@pytest.mark.parametrize(
    "acl",
    [
        PUBLIC,
        "a:*,*:*",
        "a",
        "a:b",
        "a:*,role",
        "a:*,,b:*",
        "a:*,",
        "a:*, b:*",
        ":*",
        ".r:*",
        ".r:*,.rlistings",
        "a:b:*",
        "%2A:*",
    ],
)
def test_an_acl_with_anything_else_has_no_list_of_tenants(acl):
    assert tenants_of(acl) is None


@pytest.mark.parametrize(
    ("text", "tenants"),
    [
        ("", ()),
        (" , ,", ()),
        ("b", ("b",)),
        (" b , a,b,,c ", ("b", "a", "c")),
        ("a b,ä,-x,50%", ("a b", "ä", "-x", "50%")),
    ],
)
def test_a_list_of_tenants_is_trimmed_and_has_each_once(text, tenants):
    assert parse_tenants(text) == tenants


@pytest.mark.parametrize(
    "tenant",
    ["*", "a:*", "a:b", ":", ".r", ".rlistings", "a\nb", "a\0", "%2A", "%41", "\udcff"],
)
def test_what_an_acl_would_take_for_something_else_is_no_tenant(tenant):
    with pytest.raises(InvalidRequestError) as caught:
        parse_tenants(f"a,{tenant}")

    assert "\n" not in str(caught.value)


@hypothesis.given(st.text(max_size=30))
def test_whatever_is_taken_as_tenants_is_read_back_from_the_acl(text):
    try:
        tenants = parse_tenants(text)
    except InvalidRequestError:
        return
    assert tenants_of(set_acls(read_tenants=tenants).read) == tenants
    assert parse_tenants(",".join(tenants)) == tenants
