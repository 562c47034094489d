"""`swiftimgfs check`: what it says, and that it changes nothing."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from typing import TYPE_CHECKING

import pytest
import swiftclient

from swiftimgfs.commands.check import PATIENCE
from swiftimgfs.config.load import load_store_config
from swiftimgfs.store.request import RetryPolicy
from tests.support.cloud import Cloud, cloud
from tests.support.commands import done_by
from tests.support.open_files import let_everybody_in

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

ROWS = ("may list containers", "may read", "may write", "may make containers", "may set ACLs")


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud")) as running:
        with owner_of(running) as owner:
            owner.put_container("images")
            owner.put_object("images", "disk", b"x")
            owner.put_object("images", "file", b"shadowed by a directory")
            owner.put_object("images", "file/in", b"x")
            owner.put_object("images", "a//b", b"x")
            owner.put_object("images", "red\x1b[31m//x", b"x")
        yield running


@contextlib.contextmanager
def owner_of(running: Cloud) -> Iterator[swiftclient.Connection]:
    with contextlib.closing(swiftclient.Connection(session=running.session())) as client:
        yield client


def check(
    environ: dict[str, str], *arguments: object, status: int = 0
) -> subprocess.CompletedProcess[str]:
    return done_by("check", *arguments, environ=environ, status=status)


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    lines = (line.split("  ", 1) for line in done.stdout.splitlines() if line[:1].strip())
    return {parts[0]: parts[-1].strip() for parts in lines}


def everything_in(running: Cloud) -> str:
    """Return the containers, their headers, and their objects, as Swift tells them."""
    with owner_of(running) as client:
        found = []
        for row in client.get_account()[1]:
            headers, objects = client.get_container(row["name"])
            acls = {k: v for k, v in headers.items() if k.startswith("x-container")}
            found.append([row["name"], acls, objects])
    return json.dumps(found, sort_keys=True)


def test_the_owner_sees_what_it_leads_to_and_may_do_everything(openstack: Cloud) -> None:
    before = everything_in(openstack)

    rows = rows_of(check(openstack.environ(), "env:"))

    assert rows["source"] == "env:"
    assert rows["account"] == openstack.storage_url("demo")
    assert "1000 segments in a manifest" in rows["Swift"]
    assert "segments from 1 byte" in rows["Swift"]
    assert rows["policies"] == "Policy-0"
    assert all(rows[name].startswith("yes") for name in ROWS)
    assert everything_in(openstack) == before


def test_names_that_a_mount_cannot_show_are_listed_harmlessly(openstack: Cloud) -> None:
    done = check(openstack.environ(), "env:images")

    assert "3 names that a mount cannot show" in rows_of(done)["hidden"]
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert {"images/a//b", "images/file", r"images/red\x1b[31m//x"} <= set(lines)
    assert "\x1b" not in done.stdout


def test_a_reader_is_told_that_it_may_only_read(openstack: Cloud) -> None:
    before = everything_in(openstack)

    rows = rows_of(check(openstack.environ("reader", "demo"), "env:images"))

    assert [rows[name].split()[0] for name in ROWS] == ["yes", "yes", "no", "no", "no"]
    assert everything_in(openstack) == before


def test_who_has_a_write_acl_may_write_and_not_own(openstack: Cloud) -> None:
    other = openstack.keystone.project_id("other")
    with owner_of(openstack) as owner:
        owner.put_container("dropbox", {"X-Container-Write": f"{other}:*"})
        owner.post_container("dropbox", {"X-Container-Read": f"{other}:*"})

    source = f"swift+{openstack.storage_url('demo')}/dropbox"
    rows = rows_of(check(openstack.environ("other", "other"), source))

    assert [rows[name].split()[0] for name in ROWS] == ["no", "yes", "yes", "no", "no"]


def test_an_empty_account_has_nothing_to_try(openstack: Cloud) -> None:
    rows = rows_of(check(openstack.environ("other", "other"), "env:"))

    assert rows["may read"].startswith("not known")
    assert rows["may make containers"] == "yes"


def test_a_reference_is_named(openstack: Cloud, tmp_path: Path) -> None:
    let_everybody_in(tmp_path)
    file = tmp_path / "glance-swift.conf"
    file.write_text(
        f"[ref1]\nauth_address = {openstack.keystone.auth_url}\nuser = demo:demo\nkey = demo\n"
    )
    file.chmod(0o644)

    done = check({}, "swift+config://ref1", "-o", f"config_file={file}")

    assert rows_of(done)["reference"] == "ref1"
    assert f"everybody on this host can read {file}" in done.stdout


@pytest.mark.parametrize(
    ("variables", "source", "status", "word"),
    [
        ({"OS_PASSWORD": "wrong"}, "env:", 1, "refused the credentials"),
        ({"OS_AUTH_URL": "http://127.0.0.1:9/v3"}, "env:", 1, "refused"),
        ({}, "env:nothere", 1, "no container 'nothere'"),
        ({}, "env:images/nothere", 1, "no directory 'nothere'"),
        ({}, "nowhere", 2, "no cloud 'nowhere'"),
        ({}, "glance:/nowhere/glance-api.conf", 2, "No such file"),
        ({}, "swift://u:key@host/v3", 2, "command line"),
        ({}, "SWIFT://host/v1/AUTH_a", 2, "swift+https"),
        ({}, "swift+https://user@host/v3/c", 2, "swift"),
        ({}, "swift+https://host/container", 2, "https://host/v1/AUTH_"),
    ],
)
def test_what_is_wrong_is_one_line(
    openstack: Cloud, variables: dict[str, str], source: str, status: int, word: str
) -> None:
    options = ["-o", "retries=1"]

    done = check(openstack.environ() | variables, source, *options, status=status)

    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert word in done.stderr
    assert "key" not in done.stderr or "the key" in done.stderr


@pytest.mark.parametrize(
    ("setting", "option", "said"),
    [
        ("", "timeout=0.5", "timeout=0.5, retries=2"),
        ("retries = 1", "timeout=0.5", "timeout=0.5, retries=1"),
        ("timeout = 0.5", "retries=3", "timeout=0.5, retries=3"),
    ],
)
def test_a_server_that_says_nothing_is_given_up_soon_and_it_is_told_how_long_that_took(
    tmp_path: Path, setting: str, option: str, said: str
) -> None:
    file = tmp_path / "own.conf"
    file.write_text(f"[swiftimgfs]\n{setting}\n")
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel takes connections
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1/AUTH_a"
        environ = {"OS_STORAGE_URL": url, "OS_AUTH_TOKEN": "token"}

        done = check(environ, "env:", "--config-file", file, "-o", option, status=1)

    assert re.search(rf"timed out; given up after \d+ s \({said}\)$", done.stderr.strip())


def test_a_check_has_less_patience_than_a_mount_where_nobody_says_anything(
    tmp_path: Path,
) -> None:
    file = tmp_path / "own.conf"
    file.write_text("[swiftimgfs]\n")

    of_mount, _ = load_store_config("env:", [], file)
    of_check, _ = load_store_config("env:", [], file, PATIENCE)

    assert of_mount.retry == RetryPolicy(tries=5, timeout=60.0)
    assert of_check.retry == RetryPolicy(tries=2, timeout=10.0)
    assert of_check.transport.timeout == 10.0
