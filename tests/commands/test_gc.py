"""`swiftimgfs gc`: segments that no manifest names go, and nothing else."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.commands.gc import Spared, parse_age
from swiftimgfs.writing.upload_record import Attempt, Owner, UploadRecord
from tests.support.commands import said_by
from tests.support.embedded_swift import faulty_swift
from tests.support.fault_control import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.embedded_swift import FaultySwift

UUID = "fdae39a1-ba56-4c7e-9d1b-0123456789ab"
OTHER = "0dae39a1-ba56-4c7e-9d1b-0123456789ab"
TOKEN = "1700000000.123456-89abcdef"
ORPHANS = {
    ("c_segments", f"lost/slo/{TOKEN}/4096/00000000"),
    ("c_segments", f"lost/slo/{TOKEN}/4096/zeros"),
    ("c_segments", "lost/slo/1700000000.123456/8/4/00000000"),
    ("c_segments", "lost/1700000000.123456/8/4/00000000"),
    ("c_segments", "lost/1700000000.123456789/8/00000000"),
    ("c", f".segments-lost-{TOKEN}-00000000"),
    ("c", ".file-segments/lost/1700000000.5/8/00000000"),
    ("glance", f"{UUID}-00001"),
    ("glance", f"{UUID}-00002"),
}
# What looks like a segment and is named, or looks like one to nobody.
KEPT = {
    ("c_segments", f"slo/slo/{TOKEN}/4096/00000000"),
    ("c_segments", "dlo/1700000000.123456/8/4/00000000"),
    ("glance", f"{OTHER}-00001"),
    ("c", f".segments-inner-{TOKEN}-rows-00000000"),
    ("c", f".segments-inner-{TOKEN}-00000000"),
    ("c_segments", "holiday.jpg"),
    ("c", "notes-00001"),
    ("glance", "ubuntu-00001"),
}
MANIFESTS = {("c", "slo"), ("c", "dlo"), ("glance", OTHER), ("c", "nested")}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[FaultySwift]:
    with faulty_swift(tmp_path_factory.mktemp("swift")) as faulty:
        yield faulty


@pytest.fixture
def client(faulty):
    with faulty.client("c", "c_segments", "glance") as connection:
        yield connection


@pytest.fixture
def stored(client):
    """An account with all that gc must tell apart."""
    for container, name in ORPHANS | KEPT:
        if not name.endswith("rows-00000000"):
            client.put_object(container, name, b"data")
    put_slo(
        client,
        "c",
        f".segments-inner-{TOKEN}-rows-00000000",
        "c",
        f".segments-inner-{TOKEN}-00000000",
    )
    put_slo(client, "c", "nested", "c", f".segments-inner-{TOKEN}-rows-00000000")
    put_slo(client, "c", "slo", "c_segments", f"slo/slo/{TOKEN}/4096/00000000")
    prefix = "dlo/1700000000.123456/8/4/"
    client.put_object("c", "dlo", b"", headers={"X-Object-Manifest": f"c_segments/{prefix}"})
    client.put_object("glance", OTHER, b"", headers={"X-Object-Manifest": f"glance/{OTHER}-"})


def put_slo(client, container, name, where, segment):
    row = json.dumps([{"path": f"/{where}/{segment}"}])
    client.put_object(container, name, row, query_string="multipart-manifest=put")


def everything(client) -> set[tuple[str, str]]:
    return {
        (container, row["name"])
        for container in ("c", "c_segments", "glance")
        for row in client.get_container(container, full_listing=True)[1]
    }


@pytest.fixture
def gc(faulty, tmp_path):
    def run(*arguments: str, status: int = 0) -> str:
        environ = faulty.swift.environ() | {"XDG_STATE_HOME": str(tmp_path)}
        command = ("gc", "env:", "-o", "retries=1", *arguments)
        return said_by(*command, environ=environ, status=status)

    return run


def test_exactly_the_orphans_go(client, stored, gc) -> None:
    said = gc("--older-than", "0s")

    assert everything(client) == KEPT | MANIFESTS
    assert f"{len(ORPHANS)} segments deleted" in said
    assert "0 segments deleted" in gc("--older-than", "0s")


def test_a_dry_run_tells_and_deletes_nothing(client, stored, gc) -> None:
    rows = json.loads(gc("--older-than", "0s", "--dry-run", "--json"))

    assert {(row["container"], row["name"]) for row in rows} == ORPHANS
    assert all(row["size"] == 4 and not row["deleted"] for row in rows)
    assert everything(client) == ORPHANS | KEPT | MANIFESTS
    said = gc("--older-than", "0s", "--dry-run")
    assert f"{len(ORPHANS)} segments would be deleted, {4 * len(ORPHANS)} bytes" in said
    assert f"glance/{UUID}-" in said


def test_what_may_be_running_is_left_alone(client, stored, gc) -> None:
    gc()

    assert everything(client) == ORPHANS | KEPT | MANIFESTS


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="GET", target=r"/c_segments\?", status=403, count=None),
        Fault(method="GET", target=r"/c/slo\?", status=503, count=None),
        Fault(method="HEAD", target="/c/dlo[?]", status=403, count=None),
        # ... also when only the second look fails.
        Fault(method="GET", target=r"/c/slo\?", status=503, count=None, skip=1),
    ],
    ids=["listing", "SLO", "DLO", "second look"],
)
def test_what_cannot_be_read_stops_all(client, stored, gc, faulty, fault) -> None:
    faulty.control.inject(fault)

    gc("--older-than", "0s", status=1)

    faulty.control.clear()
    assert everything(client) == ORPHANS | KEPT | MANIFESTS


def test_a_container_that_keeps_versions_stops_all(client, stored, gc) -> None:
    client.post_container("c", {"X-Versions-Enabled": "true"})
    try:
        assert "keeps old versions" in gc("--older-than", "0s", status=1)
    finally:
        client.post_container("c", {"X-Versions-Enabled": "false"})
    assert everything(client) == ORPHANS | KEPT | MANIFESTS


def test_one_that_cannot_be_deleted_is_named_and_the_rest_goes(
    client, stored, gc, faulty
) -> None:
    faulty.control.inject(Fault(method="DELETE", target=f"/{UUID}-00001$", status=403))

    said = gc("--older-than", "0s", status=1)

    assert f"not deleted: glance/{UUID}-00001: DELETE: 403 " in said
    assert everything(client) == KEPT | MANIFESTS | {("glance", f"{UUID}-00001")}


@pytest.mark.parametrize("age", ["", "1", "1w", "-1h", "1.5h", "h", "\u0661h"])
def test_an_age_that_makes_no_sense_is_refused(age) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_age(age)


def test_a_usage_error_is_one(gc) -> None:
    gc("--older-than", "soon", status=2)


def test_ages() -> None:
    assert [parse_age(text) for text in ("0s", "30m", "24h", "7d")] == [0, 1800, 86400, 604800]


def test_what_this_host_may_still_need_is_spared() -> None:
    record = UploadRecord(
        "t",
        Owner("a", 1),
        "c",
        "image",
        None,
        0,
        0,
        places=(("s", "image/slo/1/"),),
        objects=(("c", "by-name"),),
        attempts=(Attempt("e", (("s", "kept-for-a-while"),)),),
    )
    spared = Spared([record])

    for name in ("image/slo/1/00000000", "kept-for-a-while"):
        assert spared.has("s", name)
    assert spared.has("c", "by-name")
    assert not spared.has("s", "image/slo/2/00000000")
    assert not spared.has("c", "image/slo/1/00000000")
