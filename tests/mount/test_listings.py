"""Directories through the kernel: how few requests they take, and that they are right.

The Swift here has pages of ten names, so that a directory of some dozens is a long one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.store.records import SEGMENT_CONTAINER_MARK
from tests.support.embedded_swift import FaultySwift, faulty_swift
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted, run
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mount

PAGE = 10


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySwift]:
    options = {"constraints": {"container_listing_limit": PAGE}}
    with faulty_swift(tmp_path_factory.mktemp("paged"), **options) as running:
        yield running


@pytest.fixture(scope="module")
def cached(paged: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount with the timeouts that everybody has."""
    with mounted(tmp_path_factory.mktemp("cached"), paged.swift.environ()) as running:
        yield running


@pytest.fixture
def box(paged: FaultySwift) -> Iterator[str]:
    name = f"c{uuid.uuid4().hex[:12]}"
    with contextlib.closing(paged.connect()) as client:
        client.put_container(name)
    yield name
    paged.control.clear()


def put(
    swift: FaultySwift, container: str, *names: str, body: bytes = b"x", **headers: str
) -> None:
    with contextlib.closing(swift.connect()) as client:
        for name in names:
            client.put_object(
                container,
                name,
                body,
                headers={k.replace("_", "-"): v for k, v in headers.items()},
            )


def put_dlo(swift: FaultySwift, container: str, image: str, *bodies: bytes) -> None:
    for number, body in enumerate(bodies, 1):
        put(swift, container, f"{image}-{number:05d}", body=body)
    put(swift, container, image, body=b"", X_Object_Manifest=f"{container}/{image}-")


def requests_of(swift: FaultySwift, container: str, method: str) -> int:
    return sum(
        one.method == method and f"/{container}" in one.path for one in swift.control.journal()
    )


def held(swift: FaultySwift, target: str) -> list[bool]:
    """Return of each request for a target whether it is kept waiting."""
    return [one.held for one in swift.control.journal() if target in one.target]


def sizes_in(listing: str) -> dict[str, int]:
    rows = [line.split() for line in listing.splitlines()[1:]]
    return {row[-1]: int(row[4]) for row in rows}


def test_glance_s_large_images_have_their_sizes_without_a_request_each(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    images = [str(uuid.uuid4()) for _ in range(20)]
    for image in images:
        put_dlo(paged, box, image, b"12345", b"12345", b"123")
    paged.control.clear()

    shown = sizes_in(run("ls", "-l", cached.path / box))

    assert shown == dict.fromkeys(images, 13)
    assert requests_of(paged, box, "HEAD") < 2 * len(images)


def test_what_looks_like_an_image_of_glance_s_and_is_none_is_asked(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    image = str(uuid.uuid4())
    put(paged, box, f"{image}-00001")
    put(paged, box, image, body=b"")

    shown = sizes_in(run("ls", "-l", cached.path / box))

    assert shown == {image: 0, f"{image}-00001": 1}


def test_many_empty_objects_show_without_a_request_each_and_dlos_among_them_are_right(
    swift: FaultySwift, container: str, other: str, tmp_path: Path
) -> None:
    image, empty = str(uuid.uuid4()), [f"e{number:03d}" for number in range(150)]
    put(swift, container, *empty, body=b"")
    put_dlo(swift, container, image, b"12345", b"12345", b"123")
    put_dlo(swift, container, "near", b"1234")
    put(swift, other, "far/1", "far/2", body=b"123")
    put(swift, container, "e200", body=b"", X_Object_Manifest=f"{other}/far/")
    with mounted(tmp_path, swift.swift.environ()) as fresh:
        swift.control.clear()

        names = {path.name for path in (fresh.path / container).iterdir()}

        assert names == {image, "near", "e200", *empty}
        assert requests_of(swift, f"{container}/", "HEAD") < 10
        shown = sizes_in(run("ls", "-l", fresh.path / container))
        assert shown == {image: 13, "near": 4, "e200": 6} | dict.fromkeys(empty, 0)
        asked = requests_of(swift, f"{container}/", "HEAD")
        run("ls", "-l", fresh.path / container)
        assert requests_of(swift, f"{container}/", "HEAD") == asked


def test_a_segment_that_no_name_tells_goes_when_its_manifest_is_looked_at(
    swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    empty = [f"e{number:03d}" for number in range(100)]
    put(swift, container, *empty, body=b"")
    put(swift, container, "part-1", "part-2", body=b"123")
    put(swift, container, "e200", body=b"", X_Object_Manifest=f"{container}/part-")
    with mounted(tmp_path, swift.swift.environ()) as fresh:
        first = set(os.listdir(fresh.path / container))

        run("ls", "-l", fresh.path / container)

        assert first == {*empty, "e200", "part-1", "part-2"}
        assert set(os.listdir(fresh.path / container)) == {*empty, "e200"}


def test_names_alone_take_no_request_for_each(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    put(paged, box, *(f"n{number:03d}" for number in range(3 * PAGE)))
    paged.control.clear()

    found = run("find", cached.path / box, "-type", "f").splitlines()

    assert len(found) == 3 * PAGE
    assert requests_of(paged, f"{box}/", "HEAD") == 0


def test_the_first_names_show_while_the_rest_is_loaded(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    names = [f"n{number:03d}" for number in range(3 * PAGE)]
    put(paged, box, *names)
    paged.control.inject(Fault(method="GET", target=f"{box}.*marker=n019", hold="before"))

    with os.scandir(cached.path / box) as entries:
        first = next(entries).name
        wait_for(lambda: held(paged, "marker=n019") == [True])  # nor asked again
        paged.control.clear()
        rest = [entry.name for entry in entries]

    assert [first, *rest] == names


def test_own_modification_times_are_exact(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    names = [f"n{number:03d}" for number in range(2 * PAGE)]
    put(paged, box, *names, X_Object_Meta_Mtime="1000000000.250000000")

    shown = run("find", cached.path / box, "-type", "f", "-printf", "%T@\n").split()

    assert {float(one) for one in shown} == {1000000000.25}
    assert len(shown) == len(names)


def test_who_looks_at_one_image_alone_gets_its_own_time(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    names = [f"n{number:03d}" for number in range(4 * PAGE)]
    put(paged, box, *names)
    put(paged, box, "n007x", X_Object_Meta_Mtime="1000000000")

    assert (cached.path / box / "n007x").stat().st_mtime == 1000000000


def test_rsync_transfers_nothing_the_second_time(
    paged: FaultySwift, cached: Mounted, box: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4 * PAGE):
        (source / f"n{number:03d}").write_bytes(b"x" * number)
    command = ["rsync", "-a", "--delete", f"{source}/", f"{cached.path / box}/"]
    run(*command)
    with mounted(tmp_path, paged.swift.environ()) as other:
        paged.control.clear()
        command[-1] = f"{other.path / box}/"
        run(*command)

    assert requests_of(paged, box, "PUT") == requests_of(paged, box, "POST") == 0
    assert requests_of(paged, f"{box}/", "HEAD") < 2 * len(list(source.iterdir()))


def test_an_image_that_is_listed_and_gone_falls_out(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    put(paged, box, "kept", "gone")
    before = set(os.listdir(cached.path / box))
    with contextlib.closing(paged.connect()) as client:
        client.delete_object(box, "gone")

    with pytest.raises(FileNotFoundError):
        (cached.path / box / "gone").read_bytes()

    assert before == {"kept", "gone"}
    assert os.listdir(cached.path / box) == ["kept"]


def test_who_reads_a_directory_misses_and_repeats_nothing(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    names = [f"n{number:03d}" for number in range(4 * PAGE)]
    put(paged, box, *names)
    seen: list[str] = []
    with os.scandir(cached.path / box) as entries:
        for entry in entries:
            seen.append(entry.name)
            if entry.name == "n003":
                (cached.path / box / "n001").unlink()
                (cached.path / box / "a-new-one").write_bytes(b"x")

    assert [name for name in seen if name in names] == names
    assert "a-new-one" in os.listdir(cached.path / box)
    assert "n001" not in os.listdir(cached.path / box)


SEEK = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_ulong), ("off", ctypes.c_long), ("reclen", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]
stream = ctypes.c_void_p(libc.opendir(sys.argv[1].encode()))
def read():
    found = libc.readdir(stream)
    return Dirent.from_address(found).name.decode() if found else None
for _ in range(6): read()
place = ctypes.c_long(libc.telldir(stream))
first = [read() for _ in range(20)]
libc.seekdir(stream, place)
again = [read() for _ in range(20)]
open(os.path.join(sys.argv[1], "zz"), "w").close()
libc.rewinddir(stream)
rest = []
while (name := read()): rest.append(name)
print(first == again, "zz" in rest, len(rest))
"""


def test_seekdir_goes_back_to_where_telldir_was_and_rewinddir_sees_what_is_new(
    paged: FaultySwift, cached: Mounted, box: str
) -> None:
    put(paged, box, *(f"n{number:03d}" for number in range(4 * PAGE)))

    command = ["python3", "-c", SEEK, str(cached.path / box)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert said == ["True", "True", str(4 * PAGE + 3)]


def test_somebody_s_own_container_shows_whatever_it_is_called(
    paged: FaultySwift, box: str, tmp_path: Path
) -> None:
    neighbour = f"{box}_segments"
    with contextlib.closing(paged.connect()) as client:
        client.put_container(neighbour)
    put_dlo(paged, neighbour, "theirs", b"1", b"2")
    put(paged, box, "plain")
    with mounted(tmp_path, paged.swift.environ()) as fresh:
        assert {box, neighbour} <= set(os.listdir(fresh.path))


def test_an_empty_container_is_hidden_when_we_made_it_for_segments_and_else_it_shows(
    paged: FaultySwift, box: str, tmp_path: Path
) -> None:
    made = f"{box}-theirs", f"{box}-theirs_segments"
    with contextlib.closing(paged.connect()) as client:
        for name in made:
            client.put_container(name)
        client.put_container(f"{box}_segments", {SEGMENT_CONTAINER_MARK: "segments"})
    with mounted(tmp_path, paged.swift.environ()) as fresh:
        shown = set(os.listdir(fresh.path))

    assert {box, *made} <= shown
    assert f"{box}_segments" not in shown


def test_containers_that_are_walked_through_are_listed_once_each(
    paged: FaultySwift, tmp_path: Path
) -> None:
    boxes = [f"walk-{uuid.uuid4().hex[:8]}" for _ in range(8)]
    for name in boxes:
        with contextlib.closing(paged.connect()) as client:
            client.put_container(name)
        put(paged, name, "one", "two")
    with mounted(tmp_path, paged.swift.environ()) as fresh:
        paged.control.clear()
        run("find", fresh.path, "-type", "f")

    assert [requests_of(paged, name, "GET") for name in boxes] == [1] * len(boxes)
    paged.control.clear()
