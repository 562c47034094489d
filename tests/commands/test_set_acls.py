"""`swiftimgfs set-acls`: on a directory of a mount and on a SOURCE, with the same result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.store.acls import set_acls
from tests.support.commands import said_by

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift
    from tests.support.mounts import Mounted

pytestmark = pytest.mark.mount


@pytest.fixture(params=["mount", "source"])
def target(request, mount: Mounted, container: str) -> Path | str:
    return mount.path / container if request.param == "mount" else f"env:{container}"


@pytest.fixture
def command(swift: FaultySwift):
    def run(*arguments: object, status: int = 0) -> str:
        environ = swift.swift.environ()
        return said_by("set-acls", *arguments, environ=environ, status=status)

    return run


def test_all_that_the_driver_sets(command, target, swift, container) -> None:
    def stored() -> tuple[str, str]:
        headers = swift.connect().head_container(container)
        return headers.get("x-container-read", ""), headers.get("x-container-write", "")

    assert json.loads(command(target, "--json")) == {"read": "", "write": ""}

    command(target, "--read-tenants", "a,b", "--write-tenants", "c")
    assert stored() == ("a:*,b:*", "c:*")
    shown = command(target)  # only shown
    assert "a:*,b:*" in shown
    assert stored() == ("a:*,b:*", "c:*")
    command(target, "--public")
    assert stored() == (set_acls(public=True).read, "")
    told = json.loads(command(target, "--private", "--json"))
    assert told == {"read": "", "write": ""}
    assert stored() == ("", "")


@pytest.mark.parametrize("option", ["--read-tenants", "--write-tenants"])
@pytest.mark.parametrize("nobody", ["", " , "])
def test_a_list_of_nobody_neither_opens_nor_closes_a_container(
    command, target, swift, container, option, nobody
) -> None:
    command(target, "--read-tenants", "a", "--write-tenants", "b")

    assert f"{option} names no project" in command(target, option, nobody, status=2)

    assert json.loads(command(target, "--json")) == {"read": "a:*", "write": "b:*"}


def test_what_makes_no_sense(command, target, mount, tmp_path) -> None:
    assert "not a tenant's" in command(target, "--read-tenants", "a:b", status=2)
    command(target, "--public", "--private", status=2)
    assert "name a container" in command("env:", "--public", status=2)
    assert "no container" in command("env:no-such-container", status=1)
    assert f"{tmp_path} is not in a mount of swiftimgfs" in command(tmp_path, status=2)
