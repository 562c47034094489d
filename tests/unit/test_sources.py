"""SOURCE in all its forms: the way in, the root, and never a credential to be seen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.config import settings as settings_module
from swiftimgfs.config.load import Config, load_config
from swiftimgfs.config.settings import parse_options
from swiftimgfs.config.source import FORMS, Source, read_source
from swiftimgfs.errors import ConfigError
from swiftimgfs.model.paths import StorePath, is_representable
from swiftimgfs.store.login import CallerLogin, CloudLogin, EnvironmentLogin, ReferenceLogin

if TYPE_CHECKING:
    from pathlib import Path

    from swiftimgfs.store.references import AccountReference

KEY = "s3cr3t"
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


@pytest.fixture(autouse=True)
def nothing_is_set(tmp_path, monkeypatch):
    """Neither this host's files nor its environment count; relative paths are in tmp_path."""
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "etc" / "swiftimgfs.conf")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def references(tmp_path) -> Path:
    """A file of two references."""
    return written(tmp_path / "swift.conf", REFERENCES)


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


# ── Glance's configuration ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("root", "container", "name"), ROOTS)
def test_a_glance_takes_a_container_and_a_prefix(tmp_path, root, container, name):
    text = glance(tmp_path, LOGIN)

    source = source_of(text + root)

    assert (source.name, source.root) == (text, StorePath(container, name))
    assert str(source) == text + (f":{container}/{name}".rstrip("/") if container else "")


@pytest.mark.parametrize(("root", "container", "name"), ROOTS)
def test_a_backend_is_named_before_the_container(tmp_path, root, container, name):
    lines = f"[DEFAULT]\nenabled_backends = a:swift,b:swift\n[a]\n[b]\n{LOGIN}"
    text = f"{glance(tmp_path, lines)}#b"

    source = source_of(text + root)

    assert (source.name, source.root) == (text, StorePath(container, name))
    assert reference_of(source).user == "service:glance"


def test_a_glance_may_be_named_relatively_or_in_a_home_directory(tmp_path, monkeypatch):
    absolute = glance(tmp_path, LOGIN)
    monkeypatch.setenv("HOME", str(tmp_path))

    for path in ("glance-api.conf", "./glance-api.conf", "~/glance-api.conf"):
        assert source_of(f"glance:{path}").name == absolute


@pytest.mark.parametrize("text", ["glance:", "glance::c", "glance:#b", "glance:#b:c"])
def test_a_glance_needs_a_file(text):
    assert refusal(text) == "source glance: needs a file: glance:/etc/glance/glance-api.conf"


def test_a_glance_that_is_not_there_is_refused():
    assert "No such file" in refusal("glance:none.conf")
    assert "no such home directory" in refusal("glance:~nobody-at-all/glance-api.conf")
    assert source_of("glance").login == CloudLogin("glance")  # without a colon


@pytest.mark.parametrize("lines", [LOGIN, APPLICATION])
def test_the_options_of_a_glance_may_log_in(tmp_path, lines):
    source = source_of(glance(tmp_path, lines))

    reference = reference_of(source)
    assert reference.auth_url == "http://keystone/v3"
    assert reference.has_application_credential is (lines == APPLICATION)
    assert (reference.user_domain_id, reference.project_domain_id) == ("default", "default")
    assert source.reference == ""


@pytest.mark.parametrize(
    ("lines", "name", "address"),
    [
        ("", "ref1", "https://keystone/v3"),
        ("default_swift_reference = ref2\n", "ref2", "https://other/v3"),
        (LOGIN, "ref1", "https://keystone/v3"),
    ],
)
def test_a_reference_file_is_stronger_than_options_that_log_in(
    tmp_path, references, lines, name, address
):
    source = source_of(glance(tmp_path, f"swift_store_config_file = {references}\n{lines}"))

    assert source.reference == name
    assert reference_of(source).auth_address == address


def test_a_relative_reference_file_is_beside_glances_own(tmp_path, monkeypatch):
    text = glance(tmp_path / "etc", "swift_store_config_file = swift.conf\n")
    written(tmp_path / "etc" / "swift.conf", REFERENCES)

    assert reference_of(source_of(text)).key == KEY


def test_another_reference_may_be_chosen_with_an_option(tmp_path, references):
    text = glance(tmp_path, f"swift_store_config_file = {references}\n")

    assert source_of(text, "default_swift_reference=ref2").reference == "ref2"
    assert "no reference 'ref3'" in refusal(text, "default_swift_reference=ref3")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("", "the login has no auth_address"),
        ("swift_store_auth_address = h\n", "the login has no user and no key"),
        (
            f"swift_store_auth_address = h\nswift_store_key = {KEY}\n",
            "the login has no user",
        ),
        (
            f"swift_store_auth_address = h\nswift_store_user = u\nswift_store_key = {KEY}\n",
            "the login: its user is not of the form project:user",
        ),
        (
            f"swift_store_auth_address = h\nswift_store_application_credential_secret = {KEY}\n",
            "the login has an application_credential_secret and no application_credential_id",
        ),
    ],
)  # fmt: skip
def test_a_glance_that_cannot_log_in_is_refused_with_what_is_missing(tmp_path, lines, reason):
    text = glance(tmp_path, lines)

    message = refusal(text)

    assert message.startswith(
        f"{text[7:]} [glance_store]: no way to log in ({reason}): neither"
    )


def test_a_password_may_be_in_our_own_file_beside_glances(tmp_path):
    text = glance(
        tmp_path, "swift_store_auth_address = http://keystone/v3\nswift_store_user = p:u\n"
    )

    assert reference_of(source_of(text, swift_store_key=KEY)).key == KEY


# ── stores for many tenants ────────────────────────────────────────────────────────────


def test_a_multi_tenant_store_takes_its_callers_login(tmp_path):
    source = source_of(glance(tmp_path, "swift_store_multi_tenant = true\n") + ":c")

    assert caller_of(source) == CallerLogin(None, None)
    assert source.root == StorePath("c")


@pytest.mark.parametrize("lines", [LOGIN, APPLICATION])
def test_keystone_is_to_trust_the_service_when_its_login_is_complete(tmp_path, lines):
    source = source_of(glance(tmp_path, f"swift_store_multi_tenant = true\n{lines}"))

    service = caller_of(source).service
    assert service is not None
    assert service.auth_url == "http://keystone/v3"


@pytest.mark.parametrize(
    "lines",
    [
        f"{LOGIN}swift_store_use_trusts = false\n",
        "swift_store_auth_address = http://keystone/v3\n",
    ],
)
def test_nobody_is_trusted_without_a_login_or_where_trusts_are_off(tmp_path, lines):
    source = source_of(glance(tmp_path, f"swift_store_multi_tenant = true\n{lines}"))

    assert caller_of(source).service is None
    assert caller_of(source).auth_url == "http://keystone/v3"


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (f"swift_store_user = service:glance\nswift_store_key = {KEY}\n", "auth_address"),
        ("swift_store_auth_address = h\nswift_store_user = service:glance\n", "key"),
        (
            f"swift_store_auth_address = h\nswift_store_user = u\nswift_store_key = {KEY}\n",
            "user",
        ),
        (
            "swift_store_auth_address = h\nswift_store_application_credential_id = i\n",
            "application_credential_secret",
        ),
    ],
)
def test_half_a_login_of_the_service_is_refused(tmp_path, lines, missing):
    message = refusal(glance(tmp_path, f"swift_store_multi_tenant = true\n{lines}"))

    assert missing in message
    assert KEY not in message


def test_a_location_of_an_account_may_have_a_service_too():
    login = {
        "swift_store_auth_address": "http://keystone/v3",
        "swift_store_user": "service:glance",
        "swift_store_key": KEY,
    }

    source = source_of("swift+https://h/v1/A", **login)

    service = caller_of(source).service
    assert service is not None
    assert service.user == "service:glance"
    assert (
        caller_of(source_of("swift+https://h/v1/A", "use_trusts=off", **login)).service is None
    )


@pytest.mark.parametrize(
    "lines",
    [
        "swift_store_config_file = /etc/glance/swift.conf\n",
        "default_store = swift+config\n",
        (
            "[DEFAULT]\nenabled_backends = s:swift+config\n[glance_store]\ndefault_backend = s\n"
            "[s]\nswift_store_multi_tenant = true\n"
        ),
    ],
)
def test_a_multi_tenant_store_has_no_references(tmp_path, lines):
    message = refusal(glance(tmp_path, f"swift_store_multi_tenant = true\n{lines}"))

    assert message.startswith("swift_store_multi_tenant and swift_store_config_file")


def test_an_option_may_be_what_does_not_fit(tmp_path, references):
    text = glance(tmp_path, "swift_store_multi_tenant = true\n")

    assert "exclude each other" in refusal(text, f"config_file={references}")
    assert "exclude each other" in refusal(
        glance(tmp_path, f"swift_store_config_file = {references}\n"), "multi_tenant"
    )


# ── the whole mount ────────────────────────────────────────────────────────────────────


def configured(text: str, *options: str) -> Config:
    """Return everything that a mount is told; nothing that is shown of it may be a key."""
    config = load_config(text, "/mnt", options)
    assert KEY not in repr(config)
    return config


def test_a_mount_is_told_what_its_glance_says(tmp_path):
    lines = (
        f"{LOGIN}swift_store_container = pics\nswift_store_multiple_containers_seed = 3\n"
        "swift_store_region = R\nswift_store_endpoint_type = internalURL\n"
        "swift_store_auth_insecure = true\nswift_store_retry_get_count = 4\n"
        "swift_store_large_object_size = 1\nswift_store_large_object_chunk_size = 1\n"
    )

    config = configured(glance(tmp_path, lines), "layout=images,region=S")

    assert (config.store.naming.container, config.store.naming.seed) == ("pics", 3)
    assert (config.store.endpoint.region, config.store.endpoint.interface) == (
        "S",
        "internalURL",
    )
    assert config.store.transport.insecure
    assert config.read_retry.tries == 5
    assert config.writing.segment_size == 64 << 20  # ours: Glance's sizes are for Glance


@pytest.mark.parametrize("root", [":c", ":c/p"])
def test_the_layout_of_images_has_no_container_as_its_root(root):
    with pytest.raises(ConfigError, match="give a source without a container"):
        configured(f"mycloud{root}", "layout=images")

    assert configured("mycloud:", "layout=images").store.source.root.is_root
    assert configured(f"mycloud{root}").store.source.root.container == "c"


def test_nothing_that_is_shown_of_a_mount_is_a_key(tmp_path, references):
    written(tmp_path / "source", f"swift://p%3Au:{KEY}@h/v3\n")

    for text in (
        "@source",
        glance(tmp_path, LOGIN, "login.conf"),
        glance(tmp_path, APPLICATION, "application.conf"),
        glance(tmp_path, f"swift_store_multi_tenant = on\n{LOGIN}", "tenants.conf"),
        glance(tmp_path, f"swift_store_config_file = {references}\n", "references.conf"),
    ):
        configured(text)
