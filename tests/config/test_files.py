"""What our own files may say, and what is refused without being repeated."""

from __future__ import annotations

import pytest

from swiftimgfs.config.load import load_config
from swiftimgfs.config.settings import read_own_files
from swiftimgfs.errors import ConfigError
from tests.support.open_files import let_everybody_in, opens
from tests.support.sources import KEY, refusal_of_file, written


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

    assert (
        refusal_of_file(path) == f"{path}: [{group}] is not [swiftimgfs], where our options are"
    )


@pytest.mark.parametrize("group", ["swiftimgfs", "SwiftImgFS"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("regoin", "did you mean region?"),
        ("Timeout", "did you mean timeout?"),
        ("cache-dir", "did you mean cache_dir?"),
        ("swift-store-region", "did you mean swift_store_region?"),
        ("xyzzy", "see swiftimgfs mount --help"),
    ],
)
def test_a_name_that_no_option_has_is_refused_by_name(tmp_path, group, name, hint):
    path = written(tmp_path / "a.conf", f"[{group}]\nretries = 2\n{name} = {KEY}\n")

    assert refusal_of_file(path) == f"{path}: [swiftimgfs] unknown option {name!r} ({hint})"


def test_all_names_that_no_option_has_are_told_at_once(tmp_path):
    path = written(tmp_path / "a.conf", "[swiftimgfs]\nregoin = a\nconections = 2\n")

    assert refusal_of_file(path) == (
        f"{path}: [swiftimgfs] unknown option 'conections' (did you mean connections?),"
        " unknown option 'regoin' (did you mean region?)"
    )


def test_both_names_of_an_option_in_one_file_are_refused(tmp_path):
    path = written(tmp_path / "a.conf", "[swiftimgfs]\nregion = a\nswift_store_region = b\n")

    assert refusal_of_file(path).endswith("region and swift_store_region are one option")


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

    message = refusal_of_file(path)

    assert message == f"configuration file: {path}, {reason}"
    assert KEY not in message


def test_what_is_not_text_is_refused(tmp_path):
    path = tmp_path / "a.conf"
    path.write_bytes(b"[swiftimgfs]\nkey = \xff\n")

    assert refusal_of_file(path).endswith("a.conf: not UTF-8 text")
    assert refusal_of_file(tmp_path).endswith("Is a directory")


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

    message = refusal_of_file(path)

    assert message.startswith(f"{path}: [swiftimgfs] ")
    assert message.endswith(reason)


def test_a_dollar_in_a_password_is_told_without_the_password(tmp_path):
    path = written(tmp_path / "a.conf", f"[swiftimgfs]\nkey = $x{KEY}\n")

    assert refusal_of_file(path) == f"{path}: [swiftimgfs] key: a $ is written as $$"

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


def test_a_mount_reads_a_file_of_ours_no_more_often_than_who_wants_only_its_values(tmp_path):
    path = written(tmp_path / "own.conf", f"[swiftimgfs]\nswift_store_key = {KEY}\n")
    with opens() as of_values:
        read_own_files(path)

    with opens() as of_mount:
        load_config("env:", "/mnt", [], path)

    assert of_mount.count(str(path)) == of_values.count(str(path)) > 0


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
