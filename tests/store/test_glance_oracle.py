"""Locations, containers and ACLs are what Glance's own driver makes of them.

Both are asked the same. Where they differ the driver is wrong, and the case is in a table
here with the reason; whatever else is asked must be answered alike.
"""

from __future__ import annotations

import itertools
import random
import uuid

import pytest

from swiftimgfs.errors import ConfigError
from swiftimgfs.store.acls import set_acls
from swiftimgfs.store.location import (
    SCHEMES,
    Location,
    format_location,
    format_storage_location,
    parse_location,
)
from swiftimgfs.store.naming import MAX_SEED, Naming
from tests.support.glance import DriverLocation, GlanceError, GlanceStore

UPSTREAM_ID = "fdae39a1-bac5-4238-aba4-69bcc726e848"
STORAGE_URL = "https://swift:8080/v1/AUTH_a"

LOCATIONS = [
    f"swift://tenant:user:key@auth:5000/v3/glance/{UPSTREAM_ID}",
    f"swift+https://tenant%3Auser:key@auth/v3/glance/{UPSTREAM_ID}",
    f"swift+http://tenant%3Auser:key@auth/identity/v3/glance_fda/{UPSTREAM_ID}",
    f"swift+https://swift/v1/AUTH_x/glance_{UPSTREAM_ID}/{UPSTREAM_ID}",
    f"swift+http://swift:8080/swift/v1/AUTH_x/glance/{UPSTREAM_ID}",
    "swift://user:k%40%2F%25%C3%A4@[::1]:5000/v3/c/o",
    "swift://a:b:c:key@h/c/o",
    "swift://user:@h/c/o",
    "swift://h//v3/c/o",
    "swift://h/v3//x/c/o",
]
REFUSED = [
    "swift://user:key@http://auth/v3/c/o",
    "http://h/c/o",
    "SWIFT://h/c/o",
    "swift:/h/c/o",
    "swift://user@h/c/o",
    "swift://h",
    "swift://h/o",
    "swift:///c/o",
    "swift:///o",
    "swift://u:p@h//o",
    "swift+config://u:p@ref1/c/o",
    "swift+config:///c/o",
    "swift+config://ref1/o",
]
# What the driver makes of them, and why we do something else.
MISREAD = {
    "a host whose name starts with http is forgotten": (
        "swift://u:k@httphost/c/o",
        "AttributeError",
        Location("swift", "httphost", "c", "o", "u", "k"),
    ),
    "a key with an @ that is not quoted": (
        "swift://u:k@y@h/c/o",
        "ValueError",
        Location("swift", "h", "c", "o", "u", "k@y"),
    ),
    "it unquotes the login before it looks for the last colon": (
        "swift://u:k%3Ay@h/c/o",
        DriverLocation("swift", "u:k", "y", "h", "c", "o"),
        Location("swift", "h", "c", "o", "u", "k:y"),
    ),
    "it does not unquote names": (
        "swift://u:k@h/a%20b/%C3%A4",
        DriverLocation("swift", "u", "k", "h", "a%20b", "%C3%A4"),
        Location("swift", "h", "a b", "ä", "u", "k"),
    ),
    "a reference is looked up at once, and only ref1 is configured": (
        "swift+config://ref2/c/o",
        "BadStoreUri",
        Location("swift+config", "ref2", "c", "o"),
    ),
    "a slash in a key, as it writes it itself, makes user and key pass for a host": (
        "swift+https://t%3Au:a/b@h/v3/c/o",
        DriverLocation("swift+https", None, None, "t%3Au:a/b@h/v3", "c", "o"),
        None,
    ),
    "an @ in a path cannot be told from the one after such a key": (
        "swift+https://h/v1/A/c/a@b",
        DriverLocation("swift+https", None, None, "h/v1/A", "c", "a@b"),
        None,
    ),
    "a query is dropped": (
        "swift://h/c/o?x",
        DriverLocation("swift", None, None, "h", "c", "o"),
        None,
    ),
    "a fragment is dropped": (
        "swift://h/c/o#x",
        DriverLocation("swift", None, None, "h", "c", "o"),
        None,
    ),
    "a line's end is dropped": (
        "swift://h/c/o\n",
        DriverLocation("swift", None, None, "h", "c", "o"),
        None,
    ),
    "an image without a name": (
        "swift://h/c/",
        DriverLocation("swift", None, None, "h", "c", ""),
        None,
    ),
    "a container without a name": (
        "swift://h/v3//o",
        DriverLocation("swift", None, None, "h/v3", "", "o"),
        None,
    ),
    "a login without a user": (
        "swift://:k@h/c/o",
        DriverLocation("swift", "", "k", "h", "c", "o"),
        None,
    ),
    "a login of nothing": (
        "swift://@h/c/o",
        DriverLocation("swift", None, None, "h", "c", "o"),
        None,
    ),
    "without a host, the first part of the path is one": (
        "swift:///h/c/o",
        DriverLocation("swift", None, None, "h", "c", "o"),
        None,
    ),
    "a port that is none": (
        "swift://h:x/c/o",
        DriverLocation("swift", None, None, "h:x", "c", "o"),
        None,
    ),
    "a login without a host": (
        "swift://u:k@/c/o",
        DriverLocation("swift", "u", "k", "", "c", "o"),
        None,
    ),
    "a path after a reference goes into its address": (
        "swift+config://ref1/dir/c/o",
        DriverLocation("swift+config", "service:glance", "glance", "auth/v3/dir", "c", "o"),
        None,
    ),
}

SEPARATORS = "/@:%?#[ ]&=+ä"


@pytest.fixture(scope="module")
def glance(tmp_path_factory):
    """Start the driver without any cloud: nothing here needs one."""
    with GlanceStore.start(tmp_path_factory.mktemp("glance"), "https://auth/v3") as driver:
        yield driver


@pytest.fixture
def chance():
    """Return the same randomness in every run."""
    return random.Random(0)


def read_by_driver(glance: GlanceStore, uri: str) -> DriverLocation | str:
    """Return the driver's location, or the name of its failure."""
    try:
        return glance.parse_location(uri)
    except GlanceError as failure:
        return failure.kind


def read_by_us(uri: str) -> Location | None:
    try:
        return parse_location(uri)
    except ConfigError:
        return None


def as_ours(read: DriverLocation | str) -> Location | None:
    """Return the driver's location as ours, without looking its reference up."""
    if isinstance(read, str):
        return None
    if read.scheme == "swift+config":
        return Location(read.scheme, "ref1", read.container, read.obj)
    return Location(
        read.scheme,
        read.auth_or_store_url or "",
        read.container,
        read.obj,
        read.user or "",
        read.key or "",
    )


def some_text(chance: random.Random, alphabet: str, least: int = 1) -> str:
    return "".join(chance.choices(alphabet, k=chance.randint(least, 8)))


# ── reading locations ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("uri", [*LOCATIONS, f"swift+config://ref1/glance/{UPSTREAM_ID}"])
def test_a_location_is_read_as_the_driver_reads_it(glance, uri):
    assert read_by_us(uri) == as_ours(glance.parse_location(uri))


@pytest.mark.parametrize("uri", REFUSED)
def test_what_the_driver_refuses_as_a_location_we_refuse(glance, uri):
    assert read_by_driver(glance, uri) == "BadStoreUri"
    assert read_by_us(uri) is None


@pytest.mark.parametrize("reason", MISREAD)
def test_what_the_driver_misreads_is_read_right_or_refused(glance, reason):
    uri, by_driver, by_us = MISREAD[reason]

    assert read_by_driver(glance, uri) == by_driver
    assert read_by_us(uri) == by_us


def test_any_other_location_is_read_or_refused_alike(glance, chance):
    """Random ones, of parts that are in none of the cases of `MISREAD`."""
    schemes = [*SCHEMES, "Swift", "https"]
    logins = ["", "", "u:k@", "t:u:k@", "t%3Au:%40%2F%25@", "u:@", "u@"]
    hosts = ["h", "h:80", "h.example.com", "[::1]:80"]
    read = refused = 0
    for _ in range(400):
        scheme, login, host = map(chance.choice, (schemes, logins, hosts))
        if scheme == "swift+config":
            login, host = "", "ref1"
        most = 2 if scheme == "swift+config" else 5
        parts = [some_text(chance, "abv1.-_~") for _ in range(chance.randint(0, most))]
        slashes = chance.choice(["/", "//"])
        uri = f"{scheme}://{login}{host}{slashes}{'/'.join(parts)}"

        expected = as_ours(read_by_driver(glance, uri))

        assert read_by_us(uri) == expected, uri
        read += expected is not None
        refused += expected is None
    assert min(read, refused) > 100


# ── writing locations ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("uri", [*LOCATIONS[:5], "swift://u%3Av:k%40%25%C3%A4@h/c/o"])
def test_a_location_is_written_as_the_driver_writes_it(glance, uri):
    written = format_location(parse_location(uri), with_credentials=True)

    assert written == glance.reformat_location(uri)


def test_what_the_driver_writes_is_read(glance, chance):
    for _ in range(200):
        user, key = (some_text(chance, f"ab{SEPARATORS}") for _ in range(2))
        written = glance.format_location(
            DriverLocation("swift+https", user, key, "https://auth/v3/", "glance", UPSTREAM_ID)
        )
        expected = Location("swift+https", "auth/v3", "glance", UPSTREAM_ID, user, key)

        if "/" in user + key:  # it does not quote it
            assert read_by_us(written) is None, written
        else:
            assert parse_location(written) == expected
            assert format_location(expected, with_credentials=True) == written


def test_the_driver_reads_what_is_written(glance, chance):
    for _ in range(200):
        user, key = (
            some_text(chance, f"ab{SEPARATORS}"),
            some_text(chance, f"ab{SEPARATORS}", 0),
        )
        location = Location("swift+http", "auth/v3", "glance", UPSTREAM_ID, user, key)
        written = format_location(location, with_credentials=True)

        by_driver = as_ours(glance.parse_location(written))

        if ":" in key:  # it unquotes too early, and takes it for the colon before the key
            user, _, key = f"{user}:{key}".rpartition(":")
        assert by_driver == Location("swift+http", "auth/v3", "glance", UPSTREAM_ID, user, key)


@pytest.mark.parametrize("endpoint", [STORAGE_URL, "http://swift/v1/AUTH_a"])
def test_a_location_in_an_owners_account_is_as_the_driver_writes_it(glance, endpoint):
    location = glance.multi_tenant_location(UPSTREAM_ID, "glance", endpoint)

    container = Naming(is_multi_tenant=True).container_of(UPSTREAM_ID)
    assert location.uri == format_storage_location(endpoint, container, UPSTREAM_ID)
    assert parse_location(location.uri).url == endpoint


# ── containers ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(MAX_SEED + 1))
def test_a_container_is_named_as_the_driver_names_it(glance, chance, seed):
    ids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(4)]
    others = [UPSTREAM_ID.upper(), "-" * 36, "0", "", "ÄB-c", some_text(chance, "aB-", 0) * 5]
    for image_id, container in itertools.product([*ids, *others], ["glance", "My_images"]):
        named = Naming(container, seed).container_of(image_id)

        assert named == glance.container_name(image_id, container, seed)


@pytest.mark.parametrize("seed", [None, -1, MAX_SEED + 1])
def test_a_seed_that_the_driver_refuses_is_refused(glance, seed):
    with pytest.raises(GlanceError):
        glance.container_name(UPSTREAM_ID, "glance", seed)
    with pytest.raises(ConfigError):
        Naming("glance", seed)


@pytest.mark.parametrize("image_id", [UPSTREAM_ID, UPSTREAM_ID.upper(), "x"])
@pytest.mark.parametrize("container", ["glance", "My_images"])
def test_an_owners_container_is_named_as_the_driver_names_it(glance, image_id, container):
    named = Naming(container, is_multi_tenant=True).container_of(image_id)

    assert named == glance.multi_tenant_location(image_id, container).container


@pytest.mark.parametrize("container", [None, ""])
def test_many_owners_containers_need_a_name_to_begin_with(glance, container):
    with pytest.raises(GlanceError, match="swift_store_container must be set"):
        glance.multi_tenant_location(UPSTREAM_ID, container)
    with pytest.raises(ConfigError, match="swift_store_container"):
        Naming(container, is_multi_tenant=True)


def test_the_driver_of_one_project_would_take_a_container_without_a_name(glance):
    """And fail at the first image, with an account's URL: so that we refuse it at once."""
    assert glance.container_name(UPSTREAM_ID, "", 0) == ""
    with pytest.raises(ConfigError, match="swift_store_container"):
        Naming("")


# ── ACLs ───────────────────────────────────────────────────────────────────────────────


def test_acls_are_those_that_the_driver_sets(glance, chance):
    # In the driver, the admins stay in the caller's list of writers: nothing that a header
    # shows, and tests/unit/test_acls.py has it that they do not stay in ours.
    def some_tenants() -> list[str]:
        return [some_text(chance, "ab1 ä:*.,-") for _ in range(chance.randint(0, 3))]

    for _ in range(200):
        asked = {
            "public": chance.random() < 0.3,
            "read_tenants": some_tenants(),
            "write_tenants": some_tenants(),
            "admin_tenants": some_tenants(),
        }

        acls = set_acls(**asked)

        assert glance.set_acls(**asked) == {
            "X-Container-Read": acls.read,
            "X-Container-Write": acls.write,
        }
