"""SOURCE as a cloud, the environment, a location or a file that holds one of these."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.config.source import FORMS, Source, read_source
from swiftimgfs.model.paths import StorePath, is_representable
from swiftimgfs.store.login import CallerLogin, CloudLogin, EnvironmentLogin
from tests.support.sources import (
    KEY,
    ROOTS,
    caller_of,
    reference_of,
    refusal,
    source_of,
    written,
)

# ── clouds and the environment ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(("root", "container", "name"), ROOTS)
def test_a_cloud_and_the_environment_take_a_container_and_a_prefix(root, container, name):
    cloud = source_of(f"mycloud{root}")
    environment = source_of(f"env{root or ':'}")

    assert cloud == Source("mycloud", CloudLogin("mycloud"), StorePath(container, name))
    assert environment == Source("env:", EnvironmentLogin(), StorePath(container, name))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mycloud", "mycloud"),
        ("mycloud:", "mycloud"),
        ("mycloud:/c/p/", "mycloud:c/p"),
        ("env:", "env:"),
        ("env:c", "env:c"),
        ("env:c/p", "env:c/p"),
        ("swift+config://ref1", "swift+config://ref1"),
        ("swift+config://ref1/c/p", "swift+config://ref1/c/p"),
        ("swift://p%3Au:@h/v3/c", "swift://h/v3/c"),
    ],
)
def test_a_source_is_shown_as_it_was_asked_for(references, text, shown):
    source = source_of(text, f"config_file={references}")

    assert str(source) == shown


@hypothesis.given(
    st.from_regex(r"[a-z]{1,5}", fullmatch=True).filter(lambda n: n not in {"env", "glance"}),
    st.text("ab.- ", min_size=1, max_size=5).filter(is_representable),
    st.lists(st.text("ab.-: ", min_size=1, max_size=5).filter(is_representable), max_size=3),
)
def test_what_is_shown_of_a_cloud_is_a_source_of_the_same(cloud, container, parts):
    source, _ = read_source(":".join([cloud, "/".join([container, *parts])]), {}, {})

    assert source.root == StorePath(container, "/".join(parts))
    assert read_source(str(source), {}, {})[0] == source


@pytest.mark.parametrize(
    "text",
    ["", ":", ":c", "/etc/glance/glance-api.conf", "//h/v3", "swift:/h/c", "swift+https:c"],
)
def test_what_is_no_source_is_refused_with_the_forms_that_are(text):
    assert refusal(text) == f"source {text!r}: give {FORMS}"


@pytest.mark.parametrize(
    "text", [f"//u:{KEY}@h/v3/c", f"swift+https:/u:{KEY}@h/v3", f":{KEY}@h"]
)
def test_what_may_have_a_password_in_it_is_not_repeated(text):
    assert refusal(text) == f"source: give {FORMS}"


# ── locations ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scheme", "url"),
    [
        ("swift", "https://h:5000/v3"),
        ("swift+https", "https://h:5000/v3"),
        ("swift+http", "http://h:5000/v3"),
    ],
)
def test_a_location_with_a_user_logs_in_and_has_its_password_asked_for(scheme, url):
    source = source_of(f"{scheme}://project%3Auser:@h:5000/v3/c/p")

    reference = reference_of(source)
    assert (source.name, source.reference) == (f"{scheme}://h:5000/v3", "")
    assert source.root == StorePath("c", "p")
    assert (reference.auth_url, reference.user, reference.key) == (url, "project:user", "")
    assert (reference.user_domain_id, reference.project_domain_id) == ("default", "default")


@pytest.mark.parametrize(
    ("scheme", "url"),
    [
        ("swift", "https://h/v1/AUTH_x"),
        ("swift+https", "https://h/v1/AUTH_x"),
        ("swift+http", "http://h/v1/AUTH_x"),
    ],
)
def test_a_location_without_a_user_takes_its_callers_login(scheme, url):
    source = source_of(f"{scheme}://h/v1/AUTH_x/c")

    assert caller_of(source) == CallerLogin(url, None)
    assert (str(source), source.root) == (f"{scheme}://h/v1/AUTH_x/c", StorePath("c"))


def test_a_location_of_a_reference_is_looked_up(references):
    source = source_of("swift+config://ref2/c/p", f"config_file={references}")

    assert reference_of(source).auth_url == "https://other/v3"
    assert (source.name, source.reference) == ("swift+config://ref2", "ref2")
    assert source.root == StorePath("c", "p")


def test_the_file_of_references_may_be_named_in_our_own_file_or_relatively(references):
    for path in (str(references), "swift.conf"):
        assert reference_of(
            source_of("swift+config://ref1", swift_store_config_file=path)
        ).key == KEY  # fmt: skip


def test_a_location_of_a_reference_needs_the_file(references):
    assert "needs -o config_file=FILE" in refusal("swift+config://ref1")
    assert "no reference 'ref9'" in refusal("swift+config://ref9", f"config_file={references}")
    assert "No such file" in refusal("swift+config://ref1", "config_file=none")


@pytest.mark.parametrize("scheme", ["swift", "swift+https", "swift+http"])
def test_a_key_on_the_command_line_is_refused(scheme):
    message = refusal(f"{scheme}://p:u:{KEY}@h/v3/c")

    assert message.startswith("everybody on this host can read the key in a command line")


@pytest.mark.parametrize(
    "text", [f"swift://u:{KEY}@h/v3//c", f"swift+ftp://u:{KEY}@h/c", f"swift://p:u:{KEY}@h?x"]
)
def test_what_is_no_location_is_refused(text):
    assert refusal(text).startswith("not a Swift location: ")


# ── @FILE ──────────────────────────────────────────────────────────────────────────────


def test_a_file_may_hold_a_location_with_its_key(tmp_path):
    written(tmp_path / "source", f"swift+https://p%3Au:{KEY}@h/v3/c\n")

    source = source_of("@source")

    assert reference_of(source).key == KEY
    assert (str(source), source.root) == ("swift+https://h/v3/c", StorePath("c"))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o777])
def test_a_file_with_a_key_that_others_can_read_is_refused(tmp_path, mode):
    path = written(tmp_path / "source", f"swift+https://p%3Au:{KEY}@h/v3\n", mode)

    assert refusal(f"@{path}") == f"source @{path}: others can use it: chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mycloud:c", "mycloud:c"),
        ("env:", "env:"),
        ("  swift://h/v1/A/c \n\n", "swift://h/v1/A/c"),
    ],
)
def test_a_file_may_hold_any_source_and_be_for_all_without_a_key(tmp_path, text, shown):
    written(tmp_path / "source", text, 0o644)

    assert str(source_of("@source")) == shown


@pytest.mark.parametrize("text", ["", "\n", "mycloud\nother\n", f"swift://u:{KEY}@h\nx\n"])
def test_a_file_holds_one_line(tmp_path, text):
    written(tmp_path / "source", text)

    assert refusal("@source") == "source @source: must hold one line"


@pytest.mark.parametrize("root", ["..", "c/..", "c/./x", "c/a//b", "c/" + "x" * 256])
@pytest.mark.parametrize("way", ["mycloud:", "env:", "swift+config://ref1/"])
def test_a_root_that_no_path_leads_to_is_refused(references, way, root):
    message = refusal(way + root, f"config_file={references}")

    assert message.startswith(("no directory can be called", "bad location", "not a"))


def test_a_file_does_not_name_another_file(tmp_path):
    written(tmp_path / "source", "@source")

    assert refusal("@source") == "source @source: must hold one line"


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert refusal("@none") == "source @none: No such file or directory"
    assert refusal("@") == "source @.: not a file"
    (tmp_path / "latin").write_bytes(b"swift://p:\xff@h")
    assert refusal("@latin") == "source @latin: not UTF-8 text"


@pytest.mark.parametrize("text", [f"//p:u:{KEY}@h/v3", f"swift:/p:u:{KEY}@h/v3"])
def test_what_is_no_source_in_a_file_is_not_repeated(tmp_path, text):
    written(tmp_path / "source", text)

    assert refusal("@source") == f"source: give {FORMS}"
