"""Which Swift store a `glance-api.conf` describes, as Glance reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.config.glance import GlanceStore, read_glance
from swiftimgfs.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEY = "s3cr3t"
SEVERAL = """\
[DEFAULT]
enabled_backends = fast:swift, disk:file, slow:swift
[glance_store]
{}
[fast]
swift_store_region = fast-region
[disk]
filesystem_store_datadir = /var/lib/glance
[slow]
swift_store_region = slow-region
"""


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
    """Only the files count, not this host's environment."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)


def store_of(directory: Path, text: str, backend: str | None = None) -> GlanceStore:
    """Return the store that a file with that text describes."""
    (directory / "glance-api.conf").write_text(text, encoding="utf-8")
    return read_glance(directory / "glance-api.conf", backend)


def refusal(directory: Path, text: str, backend: str | None = None) -> str:
    """Return why there is no store; the file's path is left out."""
    with pytest.raises(ConfigError) as caught:
        store_of(directory, text, backend)
    assert KEY not in str(caught.value)
    return str(caught.value).replace(str(directory / "glance-api.conf"), "FILE")


# ── one store ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "stores", ["swift", "file, http, swift", "swift+https", "swift+config"]
)
def test_without_backends_the_store_is_in_glance_store(tmp_path, stores):
    text = f"[glance_store]\nstores = {stores}\nswift_store_region = R\n"

    store = store_of(tmp_path, text)

    assert (store.group, store.given) == ("glance_store", {"swift_store_region": "R"})


def test_a_store_needs_no_options(tmp_path):
    store = store_of(tmp_path, "[glance_store]\nstores = swift\n")

    assert store == GlanceStore("glance_store", {}, None)


def test_options_of_swift_alone_tell_that_there_is_a_store(tmp_path):
    store = store_of(tmp_path, "[glance_store]\nswift_store_container = pics\n")

    assert store.given == {"swift_store_container": "pics"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[glance_store]\n",
        "[glance_store]\nstores = file, http\n",
        "[glance_store]\nstores = file\nswift_store_container = pics\n",
        "[DEFAULT]\nswift_store_container = pics\n",
        "[swift]\nswift_store_container = pics\n",
    ],
)
def test_a_file_without_a_swift_store_is_refused(tmp_path, text):
    assert refusal(tmp_path, text) == "FILE: no Swift store in [glance_store]"


def test_the_group_of_the_only_store_may_be_named(tmp_path):
    text = "[glance_store]\nstores = swift\n"

    assert store_of(tmp_path, text, "glance_store").group == "glance_store"
    assert refusal(tmp_path, text, "fast") == "FILE: no enabled_backends, so no backend 'fast'"


@pytest.mark.parametrize("scheme", ["swift", "swift+config", "file"])
def test_the_store_of_new_images_is_told(tmp_path, scheme):
    text = f"[glance_store]\nstores = file, swift\ndefault_store = {scheme}\n"

    assert store_of(tmp_path, text).default_store == scheme


def test_what_else_is_in_the_file_does_not_matter(tmp_path):
    text = (
        f"[DEFAULT]\ndebug = perhaps\ntransport_url = rabbit://u:{KEY}@h\nbind_port = $nowhere\n"
        "[database]\nmax_pool_size = x\n"
        "[glance_store]\nstores = swift\nfilesystem_store_datadir = /x\nswift_store_new = 1\n"
    )

    assert store_of(tmp_path, text).given == {}


# ── several backends ───────────────────────────────────────────────────────────────────


def test_the_only_swift_backend_needs_no_name(tmp_path):
    text = "[DEFAULT]\nenabled_backends = disk:file, s:swift\n[s]\nswift_store_region = R\n"

    for backend in (None, "s"):
        store = store_of(tmp_path, text, backend)
        assert (store.group, store.given) == ("s", {"swift_store_region": "R"})


@pytest.mark.parametrize("backend", ["fast", "slow"])
def test_of_several_backends_one_is_named(tmp_path, backend):
    store = store_of(tmp_path, SEVERAL.format("default_backend = disk"), backend)

    assert store.group == backend
    assert store.given == {"swift_store_region": f"{backend}-region"}


@pytest.mark.parametrize("backend", ["fast", "slow"])
def test_of_several_backends_the_default_one_is_meant(tmp_path, backend):
    store = store_of(tmp_path, SEVERAL.format(f"default_backend = {backend}"))

    assert (store.group, store.default_store) == (backend, "swift")


def test_a_name_is_stronger_than_the_default(tmp_path):
    store = store_of(tmp_path, SEVERAL.format("default_backend = slow"), "fast")

    assert store.group == "fast"


@pytest.mark.parametrize("line", ["", "default_backend = disk", "default_backend = gone"])
def test_of_several_backends_none_is_guessed(tmp_path, line):
    message = refusal(tmp_path, SEVERAL.format(line))

    assert message == ("FILE: several Swift backends; name one: glance:FILE#fast (fast, slow)")


def test_a_backend_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    message = refusal(tmp_path, SEVERAL.format(""), "quick")

    assert message == "FILE: no backend 'quick' in enabled_backends (fast, disk, slow)"


def test_a_backend_of_another_driver_is_refused(tmp_path):
    assert refusal(tmp_path, SEVERAL.format(""), "disk") == (
        "FILE: backend 'disk' is file, not swift"
    )
    assert refusal(tmp_path, "[DEFAULT]\nenabled_backends = a:file, b:rbd\n") == (
        "FILE: none of the enabled_backends is swift"
    )


@pytest.mark.parametrize("value", ["swift", "fast:swift:1, x", "a:swift, a:file", "$nowhere"])
def test_backends_that_cannot_be_understood_are_refused(tmp_path, value):
    message = refusal(tmp_path, f"[DEFAULT]\nenabled_backends = {value}\n")

    assert message == "FILE: enabled_backends: not of the form NAME:DRIVER,NAME:DRIVER"


def test_with_backends_the_options_in_glance_store_do_not_count(tmp_path):
    text = SEVERAL.format("swift_store_container = pics\nswift_store_region = R")

    store = store_of(tmp_path, text, "fast")

    assert store.given == {"swift_store_region": "fast-region"}


def test_a_backend_falls_back_to_the_defaults_of_backends(tmp_path):
    text = SEVERAL.format("") + (
        "[backend_defaults]\nswift_store_region = R\nswift_store_container = pics\n"
    )

    store = store_of(tmp_path, text, "fast")

    assert store.given == {
        "swift_store_region": "fast-region",
        "swift_store_container": "pics",
    }


def test_a_backend_may_have_no_group(tmp_path):
    store = store_of(tmp_path, "[DEFAULT]\nenabled_backends = s:swift\n")

    assert (store.group, store.given) == ("s", {})


# ── files ──────────────────────────────────────────────────────────────────────────────


def test_the_directory_beside_the_file_is_read_after_it_in_order(tmp_path):
    directory = tmp_path / "glance-api.conf.d"
    directory.mkdir()
    for name in ("15", "20", "11", "13", "19", "10", "12"):  # not sorted by themselves
        (directory / f"{name}.conf").write_text(
            f"[glance_store]\nswift_store_region = {name}\n"
        )
    (directory / "30.bak").write_text("[glance_store]\nswift_store_region = 30\n")
    (directory / ".#40-d.conf").symlink_to("nowhere")  # an editor's lock

    text = "[glance_store]\nswift_store_region = R\nswift_store_container = pics\n"
    store = store_of(tmp_path, text)

    assert store.given == {"swift_store_region": "20", "swift_store_container": "pics"}


def test_backends_may_be_in_the_directory_only(tmp_path):
    directory = tmp_path / "glance-api.conf.d"
    directory.mkdir()
    (directory / "swift.conf").write_text("[DEFAULT]\nenabled_backends = s:swift\n")

    assert store_of(tmp_path, "").group == "s"


def test_a_broken_file_in_the_directory_is_told_by_its_name(tmp_path):
    directory = tmp_path / "glance-api.conf.d"
    directory.mkdir()
    (directory / "10.conf").write_text(f"[glance_store]\nswift_store_key {KEY}\n")

    message = refusal(tmp_path, "[glance_store]\nstores = swift\n")

    assert message == "configuration file: FILE.d/10.conf, line 2: No ':' or '=' found"


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"file .*none\.conf: No such file or directory"):
        read_glance(tmp_path / "none.conf", None)
    with pytest.raises(ConfigError, match="Is a directory"):
        read_glance(tmp_path, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"swift_store_key = {KEY}\n", "line 1: Section must be started before assignment"),
        (f"[glance_store]\nswift_store_key {KEY}\n", "line 2: No ':' or '=' found"),
        (f"[glance_store\n{KEY}\n", "line 1: Invalid section (must end with ])"),
    ],
)
def test_a_slip_is_told_by_its_line_number_and_never_by_the_line(tmp_path, text, reason):
    assert refusal(tmp_path, text) == f"configuration file: FILE, {reason}"


# ── values ─────────────────────────────────────────────────────────────────────────────


def test_values_have_the_drivers_types_and_sizes_its_unit(tmp_path):
    text = (
        "[glance_store]\nstores = swift\n"
        "swift_store_large_object_size = 300\nswift_store_large_object_chunk_size = 7\n"
        "swift_store_create_container_on_put = True\nswift_store_use_trusts = off\n"
        "swift_store_admin_tenants = a, b\nswift_store_multiple_containers_seed = 32\n"
        f"swift_store_key = {KEY}$$\n"
    )

    assert store_of(tmp_path, text).given == {
        "swift_store_large_object_size": 300,
        "swift_store_large_object_chunk_size": 7,
        "swift_store_create_container_on_put": True,
        "swift_store_use_trusts": False,
        "swift_store_admin_tenants": ["a", "b"],
        "swift_store_multiple_containers_seed": 32,
        "swift_store_key": f"{KEY}$",
    }


def test_a_value_may_refer_to_another(tmp_path):
    text = (
        "[DEFAULT]\nenabled_backends = s:swift\n[s]\nswift_store_region = R\n"
        "swift_store_container = pics-${s.swift_store_region}\n"
    )

    assert store_of(tmp_path, text).given["swift_store_container"] == "pics-R"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("swift_store_large_object_size = 300M", "swift_store_large_object_size: invalid"),
        ("swift_store_large_object_size = 0", "swift_store_large_object_size: Should be"),
        ("swift_store_multi_tenant = perhaps", "swift_store_multi_tenant: Unexpected boolean"),
        ("swift_store_endpoint_type = public", "swift_store_endpoint_type: Valid values are"),
        ("swift_store_auth_version = 2", "swift_store_auth_version: Valid values are [3]"),
        ("swift_store_region = $nowhere", "swift_store_region: no such option nowhere"),
        (f"swift_store_key = {KEY}$x", "swift_store_key: a $ is written as $$"),
        (f"swift_store_user = $x:{KEY}", "swift_store_user: a $ is written as $$"),
        ("default_store = $nowhere", "default_store: no such option nowhere"),
    ],
)
def test_a_value_that_cannot_be_names_its_option(tmp_path, line, reason):
    message = refusal(tmp_path, f"[glance_store]\nstores = swift\n{line}\n")

    assert message.startswith(f"FILE: [glance_store] {reason}")


def test_the_environment_counts_as_it_does_for_glance(tmp_path, monkeypatch):
    monkeypatch.setenv("OS_GLANCE_STORE__SWIFT_STORE_KEY", KEY)

    assert store_of(tmp_path, "[glance_store]\nstores = swift\n").given == {
        "swift_store_key": KEY
    }


def test_a_store_does_not_show_its_password(tmp_path):
    store = store_of(tmp_path, f"[glance_store]\nswift_store_key = {KEY}\n")

    assert store.given["swift_store_key"] == KEY
    assert KEY not in repr(store)
