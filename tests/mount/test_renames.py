"""Renames through the kernel, by the tools that people use, with Swift failing in between."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.embedded_swift import faulty_swift
from tests.support.fault_control import Fault
from tests.support.kinds import PIECE, make_image
from tests.support.mounts import Mounted, mounted, run, run_all
from tests.support.stored import content, names_in, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
AT_FDCWD = -100


def renameat2(old: Path, new: Path, flags: int) -> int:
    """Call renameat2(2); return 0 or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) == 0:
        return 0
    return ctypes.get_errno()


def errno_of_rename(old: Path, new: Path) -> int:
    with pytest.raises(OSError) as caught:
        old.rename(new)
    return caught.value.errno or 0


@pytest.mark.parametrize("kind", ["plain", "slo", "ranges", "nested", "data", "dlo"])
def test_an_image_of_any_kind_is_moved_to_another_container_with_all_it_carries(
    swift: FaultySwift, client: Any, other: str, directory: Path, kind: str
) -> None:
    container, target = directory.name, directory.with_name(other) / "new"
    expected = make_image(client, container, kind)
    delete_at = str(int(time.time()) + 86_400)
    before = client.head_object(container, "old")
    headers = {
        "X-Object-Meta-Colour": "blue",
        "X-Delete-At": delete_at,
        "Content-Disposition": "attachment",
    }
    if kind == "dlo":
        headers["X-Object-Manifest"] = before["x-object-manifest"]
    client.post_object(container, "old", headers)
    mtime = (directory / "old").stat().st_mtime_ns
    swift.control.clear()

    run("mv", directory / "old", target)

    journal = swift.control.journal()
    assert max(r.bytes_received + r.bytes_sent for r in journal) < 4096
    assert (target).read_bytes() == expected
    assert not (directory / "old").exists()
    assert (target).stat().st_mtime_ns == mtime
    after = client.head_object(other, "new")
    assert after["etag"] == before["etag"]
    assert after["content-type"] == "image/x"
    assert after["x-object-meta-colour"] == "blue"
    assert after["x-delete-at"] == delete_at
    assert after["content-disposition"] == "attachment"
    assert after.get("x-object-manifest") == before.get("x-object-manifest")
    assert content(swift, other, "new") == expected
    run("rm", target)
    assert not kind.startswith("dlo") or names_in(swift, f"{container}_elsewhere") == []


def test_a_dlo_whose_own_name_fits_its_prefix_is_renamed_and_replaced(
    swift: FaultySwift, client: Any, container: str, directory: Path
) -> None:
    for name in ("x", "kept"):
        client.put_object(container, f"{name}-1", PIECE)
        manifest = {"X-Object-Manifest": f"{container}/{name}"}
        client.put_object(container, name, b"", headers=manifest)
    (directory / "small").write_bytes(b"small")

    run("mv", directory / "kept", directory / "y")
    run("mv", directory / "small", directory / "x")

    assert (directory / "y").read_bytes() == PIECE
    assert (directory / "x").read_bytes() == b"small"
    wait_for(lambda: names_in(swift, container) == ["kept-1", "x", "y"])
    assert errno_of_rename(directory / "y", directory / "kept2") == errno.EPERM


@pytest.mark.parametrize("kind", ["plain", "slo"])
def test_a_rename_that_fails_half_way_leaves_both_names_and_is_finished_by_another(
    swift: FaultySwift,
    client: Any,
    container: str,
    directory: Path,
    mount: Mounted,
    kind: str,
) -> None:
    expected = make_image(client, container, kind)
    # mv itself tries once more, so two fail.
    swift.control.inject(
        Fault(method="DELETE", target=f"/{container}/old$", status=403, count=2)
    )

    run("mv", directory / "old", directory / "new", status=1)
    swift.control.clear()

    assert names_in(swift, container) == ["new", "old"]
    assert "renamed half: both names exist" in mount.log.read_text()
    assert (directory / "old").read_bytes() == (directory / "new").read_bytes() == expected
    (directory / "new").unlink()  # of an image with two names, one name
    assert content(swift, container, "old") == expected
    run("mv", directory / "old", directory / "new")
    assert names_in(swift, container) == ["new"]
    assert content(swift, container, "new") == expected


def test_who_has_an_image_open_notices_nothing_of_a_rename_that_failed(
    swift: FaultySwift, container: str, directory: Path
) -> None:
    (directory / "old").write_bytes(PIECE * 30)
    with (directory / "old").open("r+b", buffering=0) as file:
        file.write(b"new bytes")
        swift.control.inject(Fault(method="DELETE", target=f"/{container}/old$", status=403))
        with pytest.raises(PermissionError):
            (directory / "old").rename(directory / "new")
        assert os.pread(file.fileno(), 19, 0) == b"new bytes" + PIECE[9:19]

    assert (directory / "old").read_bytes()[:9] == b"new bytes"
    assert (directory / "new").read_bytes()[:9] == PIECE[:9]


def test_what_another_host_stores_meanwhile_is_what_is_renamed(
    swift: FaultySwift, client: Any, container: str, directory: Path
) -> None:
    (directory / "old").write_bytes(b"first")
    swift.control.inject(Fault(method="COPY", target=f"/{container}/old", delay=1))
    renaming = threading.Thread(target=run, args=("mv", directory / "old", directory / "new"))
    renaming.start()
    while not any(r.method == "COPY" for r in swift.control.journal()):
        renaming.join(0.02)
    client.put_object(container, "old", b"second")
    renaming.join()

    assert names_in(swift, container) == ["new"]
    assert content(swift, container, "new") == b"second"


def test_an_old_name_that_somebody_else_takes_away_first_is_no_failure(
    swift: FaultySwift, container: str, directory: Path, mount: Mounted
) -> None:
    (directory / "old").write_bytes(b"image")
    swift.control.inject(Fault(method="DELETE", target=f"/{container}/old$", status=404))

    run("mv", directory / "old", directory / "new")

    assert content(swift, container, "new") == b"image"
    assert f"the old name was gone already image={container}/old\n" in mount.log.read_text()


def test_flags_of_rename(directory: Path) -> None:
    (directory / "a").write_bytes(b"a")
    (directory / "b").write_bytes(b"b")

    assert renameat2(directory / "a", directory / "b", NOREPLACE) == errno.EEXIST
    assert renameat2(directory / "a", directory / "b", EXCHANGE) == errno.EINVAL
    assert renameat2(directory / "a", directory / "c", WHITEOUT) == errno.EINVAL
    assert renameat2(directory / "a", directory / "c", NOREPLACE) == 0
    run("mv", "-n", directory / "b", directory / "c")
    assert (directory / "b").read_bytes() == b"b"
    assert (directory / "c").read_bytes() == b"a"


def test_renames_that_make_no_sense(directory: Path, mount: Mounted) -> None:
    run("mkdir", "-p", directory / "d" / "sub", directory / "full" / "sub", directory / "empty")
    (directory / "file").write_bytes(b"file")
    deep = directory / ("n" * 255) / ("n" * 255) / ("n" * 255)
    run("mkdir", "-p", deep)
    (deep / ("x" * 255)).write_bytes(b"x")

    assert errno_of_rename(directory / "d", directory / "d" / "sub" / "d") == errno.EINVAL
    assert errno_of_rename(directory / "d", directory / "full") == errno.ENOTEMPTY
    assert errno_of_rename(directory / "file", directory / "empty") == errno.EISDIR
    assert errno_of_rename(directory / "d", directory / "file") == errno.ENOTDIR
    assert errno_of_rename(directory / "file", directory / ("n" * 256)) == errno.ENAMETOOLONG
    longer = directory / "d" / ("n" * 255)
    assert errno_of_rename(directory / ("n" * 255), longer) == errno.ENAMETOOLONG
    assert errno_of_rename(directory, directory.with_name("renamed")) == errno.EXDEV
    assert errno_of_rename(directory / "d", mount.path / "d") == errno.EXDEV
    assert errno_of_rename(directory / "file", mount.path / "file") == errno.EPERM
    (directory / "d").rename(directory / "d")
    run("mv", "-T", directory / "d", directory / "empty")
    assert sorted(os.listdir(directory / "empty")) == ["sub"]
    assert (directory / "file").read_bytes() == b"file"


def test_a_directory_is_moved_object_by_object(
    swift: FaultySwift, client: Any, container: str, directory: Path
) -> None:
    run("mkdir", "-p", directory / "d" / "made")
    (directory / "d" / "large").write_bytes(PIECE * 40)
    for number in range(20):
        client.put_object(container, f"d/sub{number % 3}/{number}", str(number).encode())
    client.put_object(
        container, "d/dlo", b"", headers={"X-Object-Manifest": f"{container}/d/s-"}
    )
    client.put_object(container, "d/s-1", PIECE)
    client.put_object(container, "d//odd", b"odd")
    before = [n for n in names_in(swift, container) if n != "d/s-1"]

    run("mv", directory / "d", directory / "moved")

    after = [n for n in names_in(swift, container) if n != "d/s-1"]
    assert after == [name.replace("d/", "moved/", 1) for name in before]
    assert sorted(os.listdir(directory)) == ["moved"]
    assert sorted(os.listdir(directory / "moved")) == [
        "dlo", "large", "made", "sub0", "sub1", "sub2",
    ]  # fmt: skip
    assert (directory / "moved" / "sub1" / "16").read_bytes() == b"16"
    assert (directory / "moved" / "large").read_bytes() == PIECE * 40
    assert (directory / "moved" / "dlo").read_bytes() == PIECE
    client.delete_object(container, "moved//odd")  # which rmdir must not, unseen
    run("rm", "-r", directory / "moved")
    assert names_in(swift, f"{container}_segments") == []


def test_segments_in_a_directory_of_many_empty_objects_stay_when_it_is_moved(
    swift: FaultySwift, client: Any, container: str, directory: Path
) -> None:
    for number in range(70):
        client.put_object(container, f"d/e{number:03d}", b"")
        client.put_object(container, f"f{number:03d}", b"")
    for name, prefix in (("d/inside", "d/s-"), ("beside", "d/t-")):
        manifest = {"X-Object-Manifest": f"{container}/{prefix}"}
        client.put_object(container, name, b"", headers=manifest)
        client.put_object(container, f"{prefix}1", PIECE)

    run("mv", directory / "d", directory / "moved")

    assert [n for n in names_in(swift, container) if n.startswith("d/")] == ["d/s-1", "d/t-1"]
    assert (directory / "moved" / "inside").read_bytes() == PIECE
    assert (directory / "beside").read_bytes() == PIECE


def test_a_directory_is_moved_into_another_container(
    swift: FaultySwift, container: str, other: str, directory: Path, mount: Mounted
) -> None:
    run("mkdir", "-p", directory / "d" / "e")
    (directory / "d" / "e" / "x").write_bytes(PIECE * 30)

    run("mv", directory / "d", mount.path / other)

    assert names_in(swift, container) == []
    assert (mount.path / other / "d" / "e" / "x").read_bytes() == PIECE * 30


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ({"COPY": ("29", 403), "DELETE": ("28", 403)}, "Permission denied"),
        ({"COPY": ("29", 404)}, "No such file or directory"),
    ],
)
def test_a_directory_that_was_moved_in_part_is_moved_by_the_next_try(
    swift: FaultySwift,
    client: Any,
    directory: Path,
    mount: Mounted,
    faults: dict[str, tuple[str, int]],
    told: str,
) -> None:
    container = directory.name
    for number in range(10, 30):
        client.put_object(container, f"d/{number}", str(number).encode())
    for method, (name, status) in faults.items():
        swift.control.inject(
            Fault(method=method, target=f"/{container}/d/{name}", status=status, count=None)
        )

    complaint = run_failing("mv", "-T", directory / "d", directory / "e")
    swift.control.clear()

    assert told in complaint
    assert "directory moved in part" in mount.log.read_text()
    names = names_in(swift, container)
    assert {name.partition("/")[2] for name in names} == {str(n) for n in range(10, 30)}
    assert "d/29" in names
    run("mv", "-T", directory / "d", directory / "e")
    assert names_in(swift, container) == sorted(f"e/{n}" for n in range(10, 30))
    assert (directory / "e" / "28").read_bytes() == b"28"


def run_failing(*arguments: object) -> str:
    return run_all("sh", "-c", '"$@" 2>&1 && exit 1; exit 0', "sh", *arguments)


def test_what_is_open_in_a_directory_lives_through_its_move(
    swift: FaultySwift, container: str, directory: Path
) -> None:
    (directory / "d").mkdir()
    for name in ("read", "edited"):
        (directory / "d" / name).write_bytes(PIECE * 40)
    with (
        (directory / "d" / "read").open("rb", buffering=0) as reader,
        (directory / "d" / "edited").open("r+b", buffering=0) as editor,
        (directory / "d" / "new").open("wb", buffering=0) as writer,
    ):
        writer.write(b"half")
        editor.write(b"edit")

        run("mv", directory / "d", directory / "e")

        writer.write(b" whole")
        editor.seek(len(PIECE))
        editor.write(b"more")
        assert os.pread(reader.fileno(), 10_000, 300_000) == PIECE

    assert sorted(os.listdir(directory / "e")) == ["edited", "new", "read"]
    assert (directory / "e" / "new").read_bytes() == b"half whole"
    edited = (directory / "e" / "edited").read_bytes()
    assert edited == b"edit" + PIECE[4:] + b"more" + PIECE[4:] + PIECE * 38
    assert names_in(swift, container) == ["e/", "e/edited", "e/new", "e/read"]


def test_readers_go_on_while_an_image_is_renamed_to_and_fro(directory: Path) -> None:
    (directory / "a").write_bytes(PIECE * 20)
    failures: list[OSError] = []
    is_over = threading.Event()

    def read() -> None:
        with (directory / "a").open("rb", buffering=0) as file:
            is_reading.set()
            while not is_over.is_set():
                try:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    assert os.pread(file.fileno(), 10_000, 100_000) == PIECE
                except OSError as failure:
                    failures.append(failure)

    is_reading = threading.Event()
    reader = threading.Thread(target=read)
    reader.start()
    is_reading.wait()
    for _ in range(5):
        (directory / "a").rename(directory / "b")
        (directory / "b").rename(directory / "a")
    is_over.set()
    reader.join()

    assert failures == []


def test_a_container_is_moved_by_copying(
    swift: FaultySwift, container: str, directory: Path, mount: Mounted
) -> None:
    (directory / "x").write_bytes(PIECE * 30)
    renamed = mount.path / f"{container}-renamed"

    moved = run_all("mv", directory, renamed)

    assert moved == ""
    assert not directory.exists()
    assert (renamed / "x").read_bytes() == PIECE * 30
    run("rm", "-r", renamed)


def test_mv_of_an_image_to_beside_the_containers_is_refused_and_copies_nothing(
    swift: FaultySwift, directory: Path, mount: Mounted
) -> None:
    (directory / "x").write_bytes(PIECE * 30)
    swift.control.clear()

    complaint = run_failing("mv", directory / "x", mount.path / "x")

    assert complaint.count("\n") == 1
    assert "Operation not permitted" in complaint
    assert [r for r in swift.control.journal() if r.method in {"PUT", "COPY", "DELETE"}] == []
    assert (directory / "x").read_bytes() == PIECE * 30


def test_an_image_larger_than_swift_copies_is_copied_in_segments(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    store = tmp_path / "swift"
    with faulty_swift(store) as generous, contextlib.closing(generous.connect()) as client:
        client.put_container("c")
        client.put_object("c", "old", data, headers={"X-Object-Meta-Colour": "blue"})
    (tmp_path / "m").mkdir()
    limits = {"max_file_size": 1_000_000}
    with (
        faulty_swift(store, constraints=limits) as strict,
        mounted(tmp_path / "m", strict.swift.environ(), "segment_size=400000") as mount,
        contextlib.closing(strict.connect()) as client,
    ):
        reader = (mount.path / "c" / "old").open("rb", buffering=0)
        strict.control.clear()

        run("mv", mount.path / "c" / "old", mount.path / "c" / "new")

        assert all(r.bytes_received < 4096 for r in strict.control.journal())
        assert os.pread(reader.fileno(), 1000, 2_500_000) == data[2_500_000:2_501_000]
        reader.close()
        assert os.listdir(mount.path / "c") == ["new"]
        headers, body = client.get_object("c", "new")
        assert body == data
        assert headers["x-object-meta-colour"] == "blue"
        assert headers["x-static-large-object"] == "True"
        run("rm", mount.path / "c" / "new")
        assert client.get_container("c_segments")[1] == []
