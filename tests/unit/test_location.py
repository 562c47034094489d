"""Locations as glance_store reads them, and the sources of mounts."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.errors import ConfigError
from swiftimgfs.store.location import (
    SCHEMES,
    Location,
    format_location,
    format_storage_location,
    parse_location,
    parse_mount_location,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = TEXTS.filter(bool)
SEPARATORS = st.text("/@:%?#[ ]&=+.;ä\n\0", min_size=1, max_size=8)
ANY_NAMES = NAMES | SEPARATORS
HOSTS = st.sampled_from(["host", "host:8080", "httphost", "10.0.0.1:1", "[::1]", "[::1]:80"])
LOGINS = st.just(("", "")) | st.tuples(ANY_NAMES, TEXTS | SEPARATORS)
WEB_SCHEMES = st.sampled_from([scheme for scheme in SCHEMES if scheme != "swift+config"])
REFERENCES = st.builds(
    Location,
    st.just("swift+config"),
    st.sampled_from(["ref1", "my ref", "httpref", "v3"]),
    ANY_NAMES,
    ANY_NAMES,
)


def locations(paths: st.SearchStrategy[str]) -> st.SearchStrategy[Location]:
    """Return locations with a host and a path of the address."""
    return st.builds(
        lambda scheme, host, path, container, name, login: Location(
            scheme, host + path, container, name, *login
        ),
        WEB_SCHEMES,
        HOSTS,
        paths,
        ANY_NAMES,
        ANY_NAMES,
        LOGINS,
    )


IMAGES = REFERENCES | locations(st.sampled_from(["", "/v3", "/identity/v3", "/v1/AUTH_%C3%A4"]))


# ── an image's location ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("swift://t:u:k@auth/c/o", ("swift", "auth", "c", "o", "t:u", "k")),
        ("swift://t%3Au:k@auth/c/o", ("swift", "auth", "c", "o", "t:u", "k")),
        (
            "swift+https://u:k@auth:5000/v3/c/o",
            ("swift+https", "auth:5000/v3", "c", "o", "u", "k"),
        ),
        ("swift+http://u:k@a/x/v3/c/o", ("swift+http", "a/x/v3", "c", "o", "u", "k")),
        ("swift+https://h/v1/AUTH_x/c/o", ("swift+https", "h/v1/AUTH_x", "c", "o")),
        ("swift+config://ref1/c/o", ("swift+config", "ref1", "c", "o")),
        ("swift+https://t%3Au:@h/c/o", ("swift+https", "h", "c", "o", "t:u", "")),
        ("swift://u:k@httphost/c/o", ("swift", "httphost", "c", "o", "u", "k")),
        ("swift://[::1]:80/c/o", ("swift", "[::1]:80", "c", "o")),
        ("swift://h//c/o", ("swift", "h", "c", "o")),
        ("swift://h/a%20b/%C3%A4%2F%3F", ("swift", "h", "a b", "ä/?")),
    ],
)
def test_the_last_two_parts_are_container_and_image_and_the_rest_the_address(uri, expected):
    assert parse_location(uri) == Location(*expected)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("a%2Fb", "a/b"),
        ("50%25", "50%"),
        ("50%", "50%"),
        ("a%40b", "a@b"),
        ("a@b", "a@b"),
        ("a@b@", "a@b@"),
        ("a%3Ab", "a:b"),
        ("%25%32%46", "%2F"),
    ],
)
def test_a_key_may_have_any_character(written, key):
    location = parse_location(f"swift+https://t:u:{written}@host/v3/c/o")

    assert (location.user, location.key, location.address) == ("t:u", key, "host/v3")


@pytest.mark.parametrize(
    "uri",
    [
        "c/o",
        "swift:/h/c/o",
        "swift://u:secret@http://h/c/o",
        "https://h/c/o",
        "SWIFT://h/c/o",
        " swift://h/c/o",
        "swift+ftp://h/c/o",
        "swift://secret@h/c/o",
        "swift://:secret@h/c/o",
        "swift://@h/c/o",
        "swift://u:secret@/c/o",
        "swift:///c/o",
        "swift://:80/c/o",
        "swift://h:port/c/o",
        "swift://h:65536/c/o",
        "swift://u%3Asecret/c/o",
        "swift://h",
        "swift://h/o",
        "swift://u:secret@h//o",
        "swift://h/c/",
        "swift://h/v3//o",
        "swift://h/c/o?secret",
        "swift://h/c/o#secret",
        "swift://u:sec?ret@h/c/o",
        "swift://h/c/o\n",
        "swift://h/c/\udcff",
        "swift://h/c/%ff",
        "swift://u:secret%ff@h/c/o",
        "swift://u:sec/ret@h/v3/c/o",
        "swift://u:s@h/secret@h/v3/c/o",
        "swift+config:///c/o",
        "swift+config://u:secret@ref1/c/o",
        "swift+config://ref1/o",
        "swift+config://ref1/c/dir/o",
    ],
)
def test_what_is_no_location_is_refused_in_one_line_without_a_secret(uri):
    with pytest.raises(ConfigError) as caught:
        parse_location(uri)

    assert "\n" not in str(caught.value)
    assert "sec" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)


@hypothesis.given(IMAGES)
def test_what_is_written_with_credentials_is_read_back(location):
    assert parse_location(format_location(location, with_credentials=True)) == location


@hypothesis.given(IMAGES)
def test_without_credentials_everything_else_is_read_back(location):
    read = parse_location(str(location))

    assert format_location(read, with_credentials=True) == str(location)
    assert (read.container, read.name, read.user, read.key) == (
        location.container,
        location.name,
        "",
        "",
    )


@hypothesis.given(st.text(max_size=40) | st.text("swift+config://@u:/v13%?#", max_size=60))
def test_no_text_at_all_fails_otherwise_than_with_a_clear_refusal(text):
    for uri in (text, f"swift://{text}", f"swift+config://{text}"):
        for parse in (parse_location, parse_mount_location):
            try:
                location = parse(uri)
            except ConfigError:
                continue
            assert parse(format_location(location, with_credentials=True)) == location


def test_a_location_shows_no_key():
    location = parse_location("swift+https://tenant:user:secret@host/v3/c/o")

    assert str(location) == "swift+https://host/v3/c/o"
    assert "secret" not in repr(location)
    assert "user" in repr(location)


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("swift://h:1/v3/c/o", "https://h:1/v3"),
        ("swift+https://h/c/o", "https://h"),
        ("swift+http://h/v1/A/c/o", "http://h/v1/A"),
    ],
)
def test_an_address_is_encrypted_unless_the_scheme_says_http(uri, url):
    location = parse_location(uri)

    assert location.url == url
    assert not location.is_reference


def test_only_a_reference_is_to_be_looked_up():
    assert parse_location("swift+config://ref1/c/o").is_reference


# ── the source of a mount ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("swift+config://ref1", ("ref1", "", "")),
        ("swift+config://ref1/", ("ref1", "", "")),
        ("swift+config://ref1/c", ("ref1", "c", "")),
        ("swift+config://ref1/c/", ("ref1", "c", "")),
        ("swift+config://ref1/v3/a/b/", ("ref1", "v3", "a/b")),
        ("swift+https://h/v1/AUTH_x", ("h/v1/AUTH_x", "", "")),
        ("swift+https://h/v1/AUTH_x/", ("h/v1/AUTH_x", "", "")),
        ("swift+https://h/swift/v1/AUTH_x/c/p", ("h/swift/v1/AUTH_x", "c", "p")),
        ("swift+https://h/v1/AUTH_x/v1/a%20b/c", ("h/v1/AUTH_x", "v1", "a b/c")),
        ("swift+https://h/v1.0/a/v2/v3", ("h/v1.0/a", "v2", "v3")),
    ],
)
def test_a_mount_may_be_of_an_account_a_container_or_a_prefix(uri, expected):
    location = parse_mount_location(uri)

    assert (location.address, location.container, location.name) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ("h", "", "")),
        ("/glance", ("h", "glance", "")),
        ("/glance/a/b", ("h", "glance", "a/b")),
        ("/v3", ("h/v3", "", "")),
        ("/v2.0/glance", ("h/v2.0", "glance", "")),
        ("/identity/v3/glance/a/b", ("h/identity/v3", "glance", "a/b")),
        ("/v3/v1/v2", ("h/v3", "v1", "v2")),
        ("/identity/glance", ("h", "identity", "glance")),
        ("/v3x/v3", ("h/v3x/v3", "", "")),
    ],
)
def test_the_address_for_a_user_ends_with_the_first_version(path, expected):
    location = parse_mount_location(f"swift+https://t:u:k@h{path}")

    assert (location.address, location.container, location.name) == expected
    assert (location.user, location.key) == ("t:u", "k")


@pytest.mark.parametrize("path", ["", "/c", "/c/p", "/v1", "/swift/v1/", "/V1/AUTH_x", "/v/A"])
def test_without_a_user_a_storage_url_with_an_account_is_needed(path):
    with pytest.raises(ConfigError, match="such as https://host/v1/AUTH_x"):
        parse_mount_location(f"swift+https://h{path}")


@pytest.mark.parametrize(
    "uri",
    [
        "swift+config://ref1/c//p",
        "swift+config://",
        "swift+config://u:secret@ref1",
        "swift+https://u:secret@h/v3//c",
        "swift+https://u:secret@h/v3/c?p",
        "swift+https://u:sec/ret@h/v3/c",
        "swift+https://u:secret",
        "https://h/v1/AUTH_x",
        "ref1:c",
        "",
    ],
)
def test_what_cannot_be_mounted_is_refused_without_a_secret(uri):
    with pytest.raises(ConfigError) as caught:
        parse_mount_location(uri)

    assert "sec" not in str(caught.value)


def test_the_key_of_a_mount_may_be_left_to_be_asked_for():
    location = parse_mount_location("swift+https://tenant%3Auser:@host/v3/glance")

    assert (location.user, location.key) == ("tenant:user", "")


@hypothesis.given(
    REFERENCES | locations(st.just("/x/v3")).filter(lambda location: bool(location.user))
)
def test_the_source_of_a_mount_is_read_back(location):
    written = format_location(location, with_credentials=True)

    assert parse_mount_location(written) == location


# ── the location below a storage URL ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("storage_url", "location"),
    [
        ("https://host:8080/v1/AUTH_a", "swift+https://host:8080/v1/AUTH_a/c/o"),
        ("http://host/v1/AUTH_a/", "swift+http://host/v1/AUTH_a/c/o"),
        ("https://host/swift/v1", "swift+https://host/swift/v1/c/o"),
        ("https://[::1]:8080/v1/AUTH_a", "swift+https://[::1]:8080/v1/AUTH_a/c/o"),
    ],
)
def test_a_location_is_the_storage_url_with_container_and_name(storage_url, location):
    assert format_storage_location(storage_url, "c", "o") == location


def test_the_location_of_a_container_ends_with_it():
    assert format_storage_location("https://h/v1/A", "c") == "swift+https://h/v1/A/c"


@hypothesis.given(NAMES, NAMES)
def test_the_last_two_parts_of_a_location_are_container_and_name(container, name):
    location = format_storage_location("https://h/v1/A", container, name)

    parts = urlsplit(location).path.split("/")
    assert [unquote(part) for part in parts] == ["", "v1", "A", container, name]


@hypothesis.given(NAMES, NAMES)
def test_a_location_below_a_storage_url_is_read_back(container, name):
    location = format_storage_location("https://h/v1/A", container, name)

    assert parse_location(location) == Location("swift+https", "h/v1/A", container, name)
