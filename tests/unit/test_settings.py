"""What is set where, and what counts: files, the environment and `-o`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import hypothesis
import pytest
import trustme
from hypothesis import strategies as st

from swiftimgfs.config import settings as settings_module
from swiftimgfs.config.glance_options import GLANCE_OPTIONS
from swiftimgfs.config.load import load_config, load_store_config
from swiftimgfs.config.mount_words import REFUSED
from swiftimgfs.config.options import OPTIONS
from swiftimgfs.config.settings import Settings, parse_options, read_own_files, user_file
from swiftimgfs.errors import ConfigError
from swiftimgfs.model.details import ExactTimes
from tests.support.open_files import let_everybody_in

KEY = "s3cr3t-k3y"


@pytest.fixture(autouse=True)
def nothing_is_set(tmp_path, monkeypatch):
    """Neither this host's files nor its environment count."""
    monkeypatch.setattr(settings_module, "SYSTEM_FILE", tmp_path / "etc" / "swiftimgfs.conf")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)


def written(path: Path, text: str) -> Path:
    """Return a file with that text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    """Return why a configuration file is refused."""
    with pytest.raises(ConfigError) as caught:
        read_own_files(path)
    assert caught.value.__cause__ is None
    return str(caught.value)


def refusal_of_option(text: str) -> str:
    """Return why an argument of `-o` is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_options([text])
    return str(caught.value)


# ── precedence ─────────────────────────────────────────────────────────────────────────

SYSTEM, USER, ENVIRONMENT, GLANCE, COMMAND_LINE = range(1, 6)


@pytest.mark.parametrize("name", ["region", "swift_store_region"])
@pytest.mark.parametrize("strongest", range(6))
def test_what_is_nearer_to_the_command_line_wins(tmp_path, monkeypatch, name, strongest):
    """Whichever of its names an option has there: the weaker ones say the other here."""
    other = {"region": "swift_store_region", "swift_store_region": "region"}[name]

    def line(layer: int) -> str:
        if layer > strongest:
            return ""
        return f"{name if layer == strongest else other}={layer}\n"

    written(settings_module.SYSTEM_FILE, f"[swiftimgfs]\n{line(SYSTEM)}")
    written(user_file(), f"[swiftimgfs]\n{line(USER)}")
    if strongest >= ENVIRONMENT:
        variable = line(ENVIRONMENT).partition("=")[0].upper()
        monkeypatch.setenv(f"OS_SWIFTIMGFS__{variable}", str(ENVIRONMENT))
    glance = written(
        tmp_path / "glance-api.conf",
        "[glance_store]\nstores = swift\nswift_store_multi_tenant = true\n"
        + (f"swift_store_region = {GLANCE}\n" if strongest >= GLANCE else ""),
    )
    options = [line(COMMAND_LINE)] if strongest >= COMMAND_LINE else []

    config, settings = load_store_config(f"glance:{glance}", options)

    assert settings["swift_store_region"] == (str(strongest) if strongest else None)
    assert config.endpoint.region == settings["swift_store_region"]


def test_without_a_glance_file_the_environment_is_only_below_the_command_line(monkeypatch):
    written(user_file(), "[swiftimgfs]\nretries = 2\ntimeout = 2\n")
    monkeypatch.setenv("OS_SWIFTIMGFS__RETRIES", "3")
    monkeypatch.setenv("OS_SWIFTIMGFS__TIMEOUT", "3")

    settings = load_store_config("env:", ["timeout=4"])[1]

    assert (settings["retries"], settings["timeout"]) == (3, 4.0)


def test_layers_are_merged_option_by_option():
    written(settings_module.SYSTEM_FILE, "[swiftimgfs]\nretries = 2\nconnections = 2\n")
    written(user_file(), "[swiftimgfs]\nretries = 3\n")

    assert read_own_files() == {"retries": 3, "connections": 2}


def test_an_explicit_file_replaces_both_others_but_not_the_environment(tmp_path, monkeypatch):
    written(settings_module.SYSTEM_FILE, "[swiftimgfs]\nretries = 2\n")
    written(user_file(), "[swiftimgfs]\nconnections = 2\n")
    explicit = written(tmp_path / "mine.conf", "[swiftimgfs]\ntimeout = 9\ngid = 9\n")
    monkeypatch.setenv("OS_SWIFTIMGFS__GID", "10")

    assert read_own_files(explicit) == {"timeout": 9.0, "gid": 10}


def test_an_explicit_file_keeps_broken_ones_from_mattering(tmp_path):
    written(user_file(), "nonsense")
    explicit = written(tmp_path / "mine.conf", "")

    assert read_own_files(explicit) == {}


def test_nothing_has_to_be_there():
    assert read_own_files() == {}
    assert not Settings.of().given


def test_an_explicit_file_has_to_be_there(tmp_path):
    assert refusal(tmp_path / "none.conf").endswith("none.conf: No such file or directory")


def test_the_users_file_is_in_the_home_directory_unless_xdg_says_otherwise(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", "/home/someone")

    assert user_file() == Path("/home/someone/.config/swiftimgfs/swiftimgfs.conf")


def test_who_has_no_home_directory_has_no_file(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    monkeypatch.chdir(tmp_path)
    written(user_file(), "[swiftimgfs]\nretries = 2\n")

    assert read_own_files() == {}


@pytest.mark.parametrize("base", [".", "conf"])
def test_a_relative_directory_of_xdg_does_not_count(tmp_path, monkeypatch, base):
    """Its specification says so: whose directory we happen to be in is nobody's setting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", base)
    written(user_file(), "[swiftimgfs]\nretries = 2\n")

    assert read_own_files() == {}


def test_a_file_that_cannot_be_looked_for_is_refused_and_not_overlooked(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/" + 300 * "x")

    with pytest.raises(ConfigError, match="File name too long"):
        read_own_files()


def test_settings_know_what_somebody_set_apart_from_defaults():
    settings = Settings.of({"swift_store_service_type": "object-store", "retries": 5})

    assert settings.if_given("swift_store_service_type") == "object-store"
    assert settings.if_given("retries") == 5
    assert settings["timeout"] == 60.0
    assert settings.if_given("timeout") is None
    assert settings.given == {"swift_store_service_type", "retries"}


def test_an_empty_value_is_as_good_as_none(tmp_path):
    written(user_file(), "[swiftimgfs]\nregion =\nendpoint =\ncacert =\nservice_type =\n")

    config, _ = load_store_config("env:", [])

    assert (config.endpoint.region, config.endpoint.service_type) == (None, None)
    assert (config.endpoint.storage_url, config.transport.cacert) == (None, None)


def test_settings_do_not_show_what_may_be_a_password():
    assert KEY not in repr(Settings.of({"swift_store_key": KEY}))


# ── files ──────────────────────────────────────────────────────────────────────────────


def test_a_file_may_have_long_and_short_names_and_all_types(tmp_path):
    path = written(
        tmp_path / "a.conf",
        "[swiftimgfs]\nswift_store_key = k\nuser = p:u\nadmin_tenants = a, b\n"
        "ro = yes\nsegment_size = 1M\numask = 027\nregion = 'quoted'\n",
    )

    assert read_own_files(path) == {
        "swift_store_key": "k",
        "swift_store_user": "p:u",
        "swift_store_admin_tenants": ["a", "b"],
        "ro": True,
        "segment_size": 1 << 20,
        "umask": 0o027,
        "swift_store_region": "quoted",
    }


@pytest.mark.parametrize("group", ["glance_store", "swiftimgs", "DEFAULT"])
def test_options_in_another_group_are_refused(tmp_path, group):
    path = written(tmp_path / "a.conf", f"[{group}]\nretries = 1\n[swiftimgfs]\nretries = 2\n")

    assert refusal(path) == f"{path}: [{group}] is not [swiftimgfs], where our options are"


@pytest.mark.parametrize("group", ["swiftimgfs", "SwiftImgFS"])
@pytest.mark.parametrize("name", ["regoin", "Timeout", "swift-store-region", "swift_store_ro"])
def test_a_name_that_no_option_has_is_refused_by_name(tmp_path, group, name):
    path = written(tmp_path / "a.conf", f"[{group}]\nretries = 2\n{name} = {KEY}\n")

    assert refusal(path) == f"{path}: unknown option in [swiftimgfs]: {name}"


def test_both_names_of_an_option_in_one_file_are_refused(tmp_path):
    path = written(tmp_path / "a.conf", "[swiftimgfs]\nregion = a\nswift_store_region = b\n")

    assert refusal(path).endswith("region and swift_store_region are one option")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"[swiftimgfs]\nkey {KEY}\n", "line 2: No ':' or '=' found"),
        (f"key = {KEY}\n", "line 1: Section must be started before assignment"),
        (f"[swiftimgfs]\n  {KEY}\n", "line 2: Unexpected continuation line"),
        (f"[swiftimgfs\nkey = {KEY}\n", "line 1: Invalid section (must end with ])"),
        (f"[{KEY}\n", "line 1: Invalid section (must end with ])"),
        (f"[]\nkey = {KEY}\n", "line 1: Empty section name"),
        (f"[swiftimgfs]\n= {KEY}\n", "line 2: Key cannot be empty"),
        (f"[swiftimgfs]\n: {KEY}, at x:1, {KEY}\n", "line 2: Key cannot be empty"),
    ],
)
def test_a_slip_is_told_by_its_line_number_and_never_by_the_line(tmp_path, text, reason):
    path = written(tmp_path / "a.conf", text)

    message = refusal(path)

    assert message == f"configuration file: {path}, {reason}"
    assert KEY not in message


def test_what_is_not_text_is_refused(tmp_path):
    path = tmp_path / "a.conf"
    path.write_bytes(b"[swiftimgfs]\nkey = \xff\n")

    assert refusal(path).endswith("a.conf: not UTF-8 text")
    assert refusal(tmp_path).endswith("Is a directory")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("timeout = soon", "timeout: not a number of seconds"),
        ("timeout = 0", "timeout: more than 0 seconds"),
        ("retries =", "retries: not a whole number from 1 on"),
        ("connections = 0", "connections: not a whole number from 1 on"),
        ("uid = 4294967295", "uid: not a whole number from 0 to 4294967294"),
        ("umask = 1000", "umask: not three octal digits"),
        ("memory_limit = 1M", "memory_limit: at least 8M"),
        ("segment_size = big", "segment_size: not a size like 64M, 1G or 4096"),
        ("ro = maybe", "ro: Unexpected boolean value 'maybe'"),
        ("layout = flat", "layout: Valid values are [raw, images], but found 'flat'"),
        ("multiple_containers_seed = 33", "seed: Should be less than or equal to 32"),
        ("swift_store_retry_get_count = -1", "count: Should be greater than or equal to 0"),
        ("region = $nowhere", "region: no such option nowhere in group [DEFAULT]"),
    ],
)
def test_a_value_that_cannot_be_names_file_and_option(tmp_path, line, reason):
    path = written(tmp_path / "a.conf", f"[swiftimgfs]\n{line}\n")

    message = refusal(path)

    assert message.startswith(f"{path}: [swiftimgfs] ")
    assert message.endswith(reason)


def test_a_dollar_in_a_password_is_told_without_the_password(tmp_path):
    path = written(tmp_path / "a.conf", f"[swiftimgfs]\nkey = $x{KEY}\n")

    assert refusal(path) == f"{path}: [swiftimgfs] key: a $ is written as $$"

    written(path, f"[swiftimgfs]\nkey = $$x{KEY}\n")
    assert read_own_files(path) == {"swift_store_key": f"$x{KEY}"}


def test_a_bad_value_in_the_environment_is_told_as_such(monkeypatch):
    monkeypatch.setenv("OS_SWIFTIMGFS__RETRIES", "many")

    with pytest.raises(ConfigError, match=r"^environment: \[swiftimgfs\] retries: not a whole"):
        read_own_files()


@pytest.mark.parametrize("variable", ["KEY", "SWIFT_STORE_KEY"])
def test_a_password_may_come_from_the_environment(monkeypatch, variable):
    monkeypatch.setenv(f"OS_SWIFTIMGFS__{variable}", KEY)

    assert read_own_files() == {"swift_store_key": KEY}


# ── -o ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (",, ,", {}),
        ("ro", {"ro": True}),
        ("ro=false,show_segments=1", {"ro": False, "show_segments": True}),
        (" ro , timeout=5", {"ro": True, "timeout": 5.0}),
        ("timeout=5,timeout=6.5", {"timeout": 6.5}),
        ("segment_size=1m,memory_limit=1GiB", {"segment_size": 1 << 20, "memory_limit": 1 << 30}),
        ("large_object_size=7", {"large_object_size": 7}),
        ("swift_store_large_object_size=7", {"swift_store_large_object_size": 7}),
        ("large_object_chunk_size=7", {"swift_store_large_object_chunk_size": 7}),
        ("region=a,endpoint_type=adminURL",
         {"swift_store_region": "a", "swift_store_endpoint_type": "adminURL"}),
        ("buffer_on_upload", {"swift_buffer_on_upload": True}),
        ("default_swift_reference=r", {"default_swift_reference": "r"}),
        (r"log_file=/a\,b=c,ro", {"log_file": "/a,b=c", "ro": True}),
        (r"container=\,", {"swift_store_container": ","}),
        ("region=$x", {"swift_store_region": "$x"}),
        ("admin_tenants=a:b", {"swift_store_admin_tenants": ["a", "b"]}),
        (r"swift_store_admin_tenants=a\,b", {"swift_store_admin_tenants": ["a", "b"]}),
        ("admin_tenants=", {"swift_store_admin_tenants": []}),
        ("ro,rw", {"ro": False}),
        ("noexec,exec,rw,ro", {"noexec": False, "ro": True}),
        ("umask=022,uid=0,gid=4294967294", {"umask": 0o22, "uid": 0, "gid": 2**32 - 2}),
        ("umask=0077", {"umask": 0o77}),
        ("attr_timeout=0,list_timeout=0.5", {"attr_timeout": 0.0, "list_timeout": 0.5}),
    ],
)  # fmt: skip
def test_options_are_given_by_either_name_and_separated_by_commas(text, expected):
    assert parse_options([text]) == expected


def test_of_several_arguments_the_last_wins():
    assert parse_options(["ro,retries=2", "retries=3"]) == {"ro": True, "retries": 3}


@pytest.mark.parametrize("name", [o.name for o in GLANCE_OPTIONS if o.secret])
@pytest.mark.parametrize("text", ["{}=" + KEY, "{}", "ro,{}=" + KEY + ",ro"])
def test_no_secret_is_taken_from_the_command_line_or_repeated(name, text):
    for given in (name, name.removeprefix("swift_store_")):
        message = refusal_of_option(text.format(given))

        assert message.startswith(f"option {given}: everybody on this host can read")
        assert KEY not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rw=1", "unknown option 'rw' (see swiftimgfs mount --help)"),
        ("ro,sync", f"option sync: {REFUSED['sync']}"),
        ("allow_root", "option allow_root: root is let in by allow_other"),
        ("max_read=4096", "option max_read: requests are as large as the kernel makes them"),
        ("regoin=a", "unknown option 'regoin' (did you mean region?)"),
        ("=", "unknown option '' (see swiftimgfs mount --help)"),
        ("RO", "unknown option 'RO' (see swiftimgfs mount --help)"),
        ("timeout", "option timeout needs a value: timeout=…"),
        ("container", "option container needs a value: container=…"),
        ("timeout=", "option timeout=: not a number of seconds"),
        ("retries=0", "option retries=0: not a whole number from 1 on"),
        ("ro=2", "option ro=2: Unexpected boolean value '2'"),
        ("segment_size=4095", "option segment_size=4095: at least 4K"),
        ("large_object_size=0", "option large_object_size=0: at least 1"),
        ("umask=8", "option umask=8: not three octal digits"),
        ("gid=-1", "option gid=-1: not a whole number from 0 to 4294967294"),
        ("multiple_containers_seed=33",
         "option multiple_containers_seed=33: Should be less than or equal to 32"),
        ("auth_version=2", "option auth_version=2: Valid values are [3], but found '2'"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_by_name(text, message):
    assert refusal_of_option(text) == message


@hypothesis.given(
    st.sampled_from([o.name for o in (*OPTIONS, *GLANCE_OPTIONS)]) | st.text(max_size=5),
    st.text(max_size=20) | st.from_regex(r"\d{1,3}[kK\u212a]?b?"),
)
def test_no_argument_at_all_fails_otherwise_than_with_a_clear_refusal(name, value):
    with contextlib.suppress(ConfigError):
        given = parse_options([f"{name}={value}"])
        assert set(given) <= set(Settings.of().values)


# ── what layers below are told ─────────────────────────────────────────────────────────


def test_a_mount_is_told_everything_that_was_set(monkeypatch):
    options = (
        "ro,allow_other,uid=7,gid=8,umask=077,connections=3,timeout=9,retries=2,insecure,"
        "attr_timeout=3,list_timeout=4,mtime=listing,show_segments,memory_limit=16M,"
        "segment_size=1M,large_object_size=2M,allow_glance_writes,last_writer_wins,log_file=-,"
        "layout=images,container=pics,multiple_containers_seed=2,create_container_on_put,"
        "admin_tenants=a:b,retry_get_count=6,expire_soon_interval=5,region=R,"
        "endpoint=https://h/v1/A,endpoint_type=internalURL,service_type=os"
    )

    config = load_config("env:", "some/where", [options])

    store = config.store
    assert (store.connections, store.retry.tries, store.retry.timeout) == (3, 2, 9.0)
    assert (store.transport.timeout, store.transport.insecure) == (9.0, True)
    endpoint = store.endpoint
    assert (endpoint.storage_url, endpoint.region) == ("https://h/v1/A", "R")
    assert (endpoint.interface, endpoint.service_type) == ("internalURL", "os")
    assert endpoint.expire_soon == 5
    assert (store.naming.container, store.naming.seed) == ("pics", 2)
    assert config.mountpoint == Path.cwd() / "some" / "where"
    assert (config.is_read_only, config.is_for_all, config.log_file) == (True, True, "-")
    assert (config.cache_limit, config.writing.memory_limit) == (14 << 20, 6 << 20)
    assert config.admin_tenants == ("a", "b")
    shown = config.presentation
    assert (shown.uid, shown.gid, shown.umask, shown.attr_timeout) == (7, 8, 0o77, 3.0)
    fresh = config.freshness
    assert (fresh.attr_timeout, fresh.list_timeout) == (3.0, 4.0)
    assert (fresh.exact_times, fresh.show_segments) == (ExactTimes.NOBODY, True)
    assert config.read_retry.tries == 7
    writing = config.writing
    assert (writing.segment_size, writing.large_object_size) == (1 << 20, 2 << 20)
    assert (writing.allow_glance_writes, writing.last_writer_wins) == (True, True)
    assert writing.naming == config.view.naming == store.naming


def test_a_mount_that_is_told_nothing_has_the_callers_ids_and_the_logins_endpoint():
    config = load_config("env:", "/mnt", [])

    umask = os.umask(0)
    os.umask(umask)
    shown = config.presentation
    assert (shown.uid, shown.gid, shown.umask) == (os.getuid(), os.getgid(), umask)
    endpoint = config.store.endpoint
    assert (endpoint.interface, endpoint.service_type, endpoint.region) == (None, None, None)
    assert config.writing.large_object_size == config.writing.segment_size == 64 << 20
    assert config.read_retry == config.store.retry
    assert not config.store.transport.insecure


def test_either_name_of_insecure_is_enough():
    for option in ("insecure", "auth_insecure", "swift_store_auth_insecure"):
        assert load_store_config("env:", [option])[0].transport.insecure


@pytest.mark.parametrize(
    "url",
    [
        "swift.example.org/v1",
        "ftp://h/v1",
        "HTTPS//h",
        "http://[",
        "http://h:bad/v1",
        "http://h/v1?x",
        f"http://u:{KEY}@h/v1",
    ],
)
def test_an_endpoint_is_a_plain_http_url(url):
    with pytest.raises(ConfigError, match="swift_store_endpoint") as caught:
        load_store_config("env:", [f"endpoint={url}"])

    assert KEY not in str(caught.value)


def test_the_file_of_certificates_is_read_at_once_and_found_from_anywhere(
    tmp_path, monkeypatch
):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    written(tmp_path / "hosts", "127.0.0.1 localhost\n")
    monkeypatch.chdir(tmp_path)

    config, _ = load_store_config("env:", ["cacert=ca.pem"])

    assert config.transport.cacert == str(tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"cacert .*/no\.pem: No such file"):
        load_store_config("env:", ["cacert=no.pem"])
    with pytest.raises(ConfigError, match=r"cacert .*/hosts: no certificate \(PEM\) in it"):
        load_store_config("env:", ["cacert=hosts"])


def test_buffering_uploads_needs_a_directory_that_can_be_written(tmp_path):
    def load(*options: str) -> None:
        load_store_config("env:", options)

    with pytest.raises(ConfigError, match="swift_buffer_on_upload needs swift_upload_buffer"):
        load("buffer_on_upload")
    with pytest.raises(ConfigError, match="no directory that can be written"):
        load(f"buffer_on_upload,upload_buffer_dir={tmp_path}/none")
    with pytest.raises(ConfigError, match="no directory that can be written"):
        load(f"buffer_on_upload,upload_buffer_dir={written(tmp_path / 'file', '')}")
    load(f"buffer_on_upload,upload_buffer_dir={tmp_path}")
    load(f"upload_buffer_dir={tmp_path}/none")  # as with the driver: nobody asks for it


def test_a_container_needs_a_name():
    with pytest.raises(ConfigError, match="a container needs a name"):
        load_store_config("env:", ["container="])


@pytest.mark.parametrize(
    ("variable", "hint"),
    [("CONECTIONS", "did you mean connections?"), ("XYZZY", "see swiftimgfs mount --help")],
)
def test_a_variable_that_is_no_option_is_refused(monkeypatch, variable, hint):
    monkeypatch.setenv(f"OS_SWIFTIMGFS__{variable}", "3")

    with pytest.raises(ConfigError) as caught:
        load_store_config("env:", [])

    name = variable.lower()
    assert str(caught.value) == f"OS_SWIFTIMGFS__{variable}: unknown option {name!r} ({hint})"


@pytest.mark.parametrize(
    ("content", "mode", "is_warned_of"),
    [
        (f"swift_store_key = {KEY}", 0o644, True),
        (f"swift_store_key = {KEY}", 0o640, False),
        ("retries = 3", 0o644, False),
    ],
)
def test_a_file_of_ours_with_a_secret_that_everybody_can_read_is_warned_of(
    tmp_path, content, mode, is_warned_of
):
    let_everybody_in(tmp_path)
    path = written(tmp_path / "own.conf", f"[swiftimgfs]\n{content}\n")
    path.chmod(mode)

    warnings = load_config("env:", "/mnt", [], path).warnings

    warning = f"everybody on this host can read {path}: chmod o-r {path}"
    assert (warning in warnings) == is_warned_of


def test_a_file_in_a_directory_that_lets_nobody_in_is_not_warned_of(tmp_path):
    tmp_path.chmod(0o700)
    path = written(tmp_path / "own.conf", f"[swiftimgfs]\nswift_store_key = {KEY}\n")
    path.chmod(0o644)

    assert load_config("env:", "/mnt", [], path).warnings == ()


def test_a_file_of_references_that_everybody_can_read_is_warned_of(tmp_path):
    let_everybody_in(tmp_path)
    path = written(tmp_path / "references.conf", "[ref1]\n")
    path.chmod(0o644)

    warnings = load_config("env:", "/mnt", [f"config_file={path}"]).warnings

    assert f"everybody on this host can read {path}: chmod o-r {path}" in warnings


def test_an_empty_mount_point_is_not_the_current_directory():
    with pytest.raises(ConfigError, match="no mount point"):
        load_config("env:", "", [])
