"""SOURCE as Glance's own configuration, of one tenant and of many."""

from __future__ import annotations

import pytest

from swiftimgfs.config.load import Config, load_config
from swiftimgfs.errors import ConfigError
from swiftimgfs.model.paths import StorePath
from swiftimgfs.store.login import CallerLogin, CloudLogin
from tests.support.sources import (
    APPLICATION,
    KEY,
    LOGIN,
    REFERENCES,
    ROOTS,
    caller_of,
    glance,
    reference_of,
    refusal,
    source_of,
    written,
)

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
