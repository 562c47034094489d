"""Several hosts on one store: two mounts, of which each sees what the other did."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from swiftimgfs import cli
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, mounted, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

SEGMENTS = "segment_size=64K,large_object_size=256K,timeout=10"
SMALL = b"small"
LARGE = os.urandom(300_000)
FSTAT_AND_READ = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
sys.stdin.readline()
for name, call in (("fstat", lambda: os.fstat(file)), ("read", lambda: os.pread(file, 10, 0))):
    try:
        call()
    except OSError as exc:
        print(name, exc.errno)
    else:
        print(name, 0)
"""


@pytest.fixture(scope="module")
def other(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount the account once more, as another host does: nothing is believed for long."""
    options = f"{SEGMENTS},attr_timeout=0,list_timeout=0"
    with mounted(tmp_path_factory.mktemp("other"), swift.swift.environ(), options) as running:
        yield running


@pytest.fixture(scope="module")
def trusting(swift: FaultySwift, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """Mount the account with timeouts that end after every test."""
    options = f"{SEGMENTS},attr_timeout=600,list_timeout=600"
    with mounted(tmp_path_factory.mktemp("long"), swift.swift.environ(), options) as running:
        yield running


@pytest.fixture
def here(mount: Mounted, container: str) -> Path:
    return mount.path / container


@pytest.fixture
def there(other: Mounted, container: str) -> Path:
    return other.path / container


@pytest.fixture
def believing(trusting: Mounted, container: str) -> Path:
    return trusting.path / container


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Callable[[], dict[str, int]]]:
    """Have another process open an image; yield what it is told by fstat and read later."""
    command = [sys.executable, "-c", FSTAT_AND_READ, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"

        def told() -> dict[str, int]:
            lines = reader.communicate("\n")[0].split()
            return dict(zip(lines[::2], map(int, lines[1::2]), strict=True))

        yield told


# ── what was closed on one host is seen on the other ─────────────────────────────────────


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_what_one_host_makes_changes_and_removes_the_other_sees(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "image").write_bytes(content)
    made = (there / "image").read_bytes()
    (here / "image").write_bytes(content + b"+")
    changed = (there / "image").read_bytes(), (there / "image").stat().st_size
    listed = os.listdir(there)
    (here / "image").unlink()

    assert made == content
    assert changed == (content + b"+", len(content) + 1)
    assert listed == ["image"]
    assert not (there / "image").exists()
    assert os.listdir(there) == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_a_rename_on_one_host_is_one_on_the_other(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "old").write_bytes(content)
    assert (there / "old").read_bytes() == content

    (here / "old").rename(here / "new")

    assert os.listdir(there) == ["new"]
    assert not (there / "old").exists()
    assert (there / "new").read_bytes() == content


def test_directories_and_attributes_are_seen_by_the_other(here: Path, there: Path) -> None:
    (here / "d").mkdir()
    (here / "d" / "image").write_bytes(SMALL)
    os.utime(here / "d" / "image", (1_000_000_000, 1_000_000_000))
    (here / "d" / "image").chmod(0o640)

    deadline = time.monotonic() + 10  # what is changed goes to Swift a moment later
    status = (there / "d" / "image").stat()
    while status.st_mode & 0o777 != 0o640 and time.monotonic() < deadline:
        threading.Event().wait(0.05)
        status = (there / "d" / "image").stat()
    (there / "d" / "image").unlink()
    (there / "d").rmdir()

    assert (status.st_mtime, status.st_mode & 0o777) == (1_000_000_000, 0o640)
    assert not (here / "d" / "image").exists()


def test_within_the_attribute_timeout_the_other_sees_a_change(
    here: Path, swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    """With the defaults: 1 s."""
    (here / "image").write_bytes(SMALL)
    with mounted(tmp_path, swift.swift.environ(), SEGMENTS) as default:
        image = default.path / container / "image"
        assert image.read_bytes() == SMALL
        (here / "image").write_bytes(LARGE)
        deadline = time.monotonic() + 10  # a loaded machine
        while image.stat().st_size != len(LARGE) and time.monotonic() < deadline:
            threading.Event().wait(0.05)

        assert image.read_bytes() == LARGE


def test_a_mapping_of_pages_is_of_one_version(here: Path, there: Path) -> None:
    """The kernel's pages of the old version go when the new one is opened."""
    (here / "image").write_bytes(b"a" * 100_000)
    assert (there / "image").read_bytes() == b"a" * 100_000

    (here / "image").write_bytes(b"b" * 100_000)

    assert (there / "image").read_bytes() == b"b" * 100_000


def test_what_this_mount_stored_and_another_removed_is_listed_no_more(
    here: Path, there: Path
) -> None:
    (here / "image").write_bytes(SMALL)
    (here / "kept").write_bytes(SMALL)
    assert sorted(os.listdir(there)) == ["image", "kept"]

    (there / "image").unlink()

    assert os.listdir(here) == ["kept"]


def test_what_was_looked_at_and_found_gone_is_listed_no_more(
    swift: FaultySwift, container: str, there: Path, tmp_path: Path
) -> None:
    """With the defaults: a listing is good for a minute."""
    with mounted(tmp_path, swift.swift.environ(), SEGMENTS) as default:
        own = default.path / container
        (own / "image").write_bytes(SMALL)
        assert os.listdir(own) == ["image"]
        (there / "image").unlink()
        assert cli.main(["refresh", str(own / "image")]) == 1

        assert os.listdir(own) == []


def test_what_a_listing_lacks_that_lags_shows_all_the_same(
    swift: FaultySwift, here: Path, container: str
) -> None:
    (here / "image").write_bytes(SMALL)
    lagging = Fault(method="GET", target=f"/{container}\\?", status=200, body="[]", count=None)
    swift.control.inject(lagging)

    assert os.listdir(here) == ["image"]


def test_a_directory_that_this_mount_removed_and_another_made_again_is_seen(
    here: Path, there: Path
) -> None:
    (here / "d").mkdir()
    assert cli.main(["refresh", str(there)]) == 0
    (there / "d").rmdir()
    assert cli.main(["refresh", str(here)]) == 0
    (here / "d").mkdir()
    (here / "d" / "image").write_bytes(SMALL)
    assert cli.main(["refresh", str(there)]) == 0

    assert os.listdir(there) == ["d"]
    assert (there / "d" / "image").read_bytes() == SMALL


def test_a_tree_without_markers_is_removed_as_a_whole(
    swift: FaultySwift, container: str, here: Path
) -> None:
    with contextlib.closing(swift.connect()) as client:
        for name in ("a/b/c", "a/b/d", "a/e/f/g"):
            client.put_object(container, name, b"image")
        assert cli.main(["refresh", str(here)]) == 0
        subprocess.run(["rm", "-r", here / "a"], check=True)

        assert os.listdir(here) == []
        assert client.get_container(container)[1] == []


# ── who has it open ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_who_has_an_image_open_that_another_host_deleted_is_told_estale(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "image").write_bytes(content)
    with opened(there / "image") as told:
        (here / "image").unlink()

        with pytest.raises(FileNotFoundError):  # who asks by the name
            (there / "image").stat()
        assert told() == {"fstat": errno.ESTALE, "read": errno.ESTALE}


def test_a_reader_is_told_when_its_version_was_replaced(here: Path, there: Path) -> None:
    (here / "image").write_bytes(LARGE)
    with (there / "image").open("rb", buffering=0) as image:
        start = image.read(1000)
        (here / "image").write_bytes(os.urandom(300_000))

        assert start == LARGE[:1000]
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            image.read(1000)


@pytest.mark.parametrize("look", ["stat", "open", "list"])
def test_a_reader_is_not_cut_off_when_its_image_is_replaced_by_a_smaller_one(
    here: Path, there: Path, look: str
) -> None:
    """The kernel ends a file at the size that it was told last, without asking."""
    (here / "image").write_bytes(LARGE)
    with opened(there / "image") as told, (there / "image").open("rb", buffering=0) as image:
        image.seek(len(LARGE) - 1000)
        (here / "image").write_bytes(SMALL)
        if look == "stat":
            assert (there / "image").stat().st_size == len(SMALL)
        elif look == "open":
            assert (there / "image").read_bytes() == SMALL
        elif look == "list":
            assert [entry.stat().st_size for entry in os.scandir(there)] == [len(SMALL)]

        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            image.read(1000)
        assert told() == {"fstat": errno.ESTALE, "read": errno.ESTALE}


def test_who_looks_at_an_image_while_this_mount_removes_it_is_never_told_estale(
    here: Path, container: str
) -> None:
    """It is there, or it is not; and who has it open can read on."""
    answers: set[int] = set()
    is_done = threading.Event()

    def look() -> None:
        while not is_done.is_set():
            try:
                (here / "image").stat()
            except OSError as exc:
                answers.add(exc.errno or 0)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(4):
            (here / "image").write_bytes(LARGE)
            with (here / "image").open("rb", buffering=0) as image:
                (here / "image").unlink()
                assert os.fstat(image.fileno()).st_size == len(LARGE)
                assert image.read(1000) == LARGE[:1000]
    finally:
        is_done.set()
        looking.join()

    assert answers <= {errno.ENOENT}


# ── two writers ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["plain", "large"])
def test_who_edits_what_another_host_changed_meanwhile_is_told_estale(
    here: Path, there: Path, content: bytes
) -> None:
    (here / "image").write_bytes(content)
    image = (there / "image").open("r+b", buffering=0)
    image.write(b"theirs")
    (here / "image").write_bytes(b"ours" + content)

    with pytest.raises(OSError) as caught:
        image.close()

    assert caught.value.errno == errno.ESTALE
    assert (there / "image").read_bytes() == b"ours" + content
    assert (here / "image").read_bytes() == b"ours" + content


def test_with_last_writer_wins_the_last_close_wins_as_a_whole(
    here: Path, swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    (here / "image").write_bytes(LARGE)
    options = f"{SEGMENTS},last_writer_wins"
    with (
        mounted(tmp_path, swift.swift.environ(), options) as winner,
        (winner.path / container / "image").open("wb", buffering=0) as image,
    ):
        image.write(b"the last")
        (here / "image").write_bytes(LARGE[::-1])

    assert (here / "image").read_bytes() == b"the last"


# ── seeing it now ────────────────────────────────────────────────────────────────────────


def changed_elsewhere(here: Path, believing: Path) -> None:
    """Have one host know what is in a directory, and another change all of it."""
    (here / "d").mkdir()
    for name in ("gone", "changed", "d/deep"):
        (here / name).write_bytes(SMALL)
    for name in ("gone", "changed", "d/deep"):
        assert (believing / name).read_bytes() == SMALL
    assert sorted(os.listdir(believing)) == ["changed", "d", "gone"]
    (here / "gone").unlink()
    (here / "changed").write_bytes(LARGE)
    (here / "d" / "deep").write_bytes(LARGE)
    (here / "new").write_bytes(LARGE)


def looks_like_before(believing: Path) -> bool:
    return (
        sorted(os.listdir(believing)) == ["changed", "d", "gone"]
        and (believing / "changed").stat().st_size == len(SMALL)
        and (believing / "d" / "deep").stat().st_size == len(SMALL)
    )


def is_seen(believing: Path) -> bool:
    return (
        sorted(os.listdir(believing)) == ["changed", "d", "new"]
        and not (believing / "gone").exists()
        and (believing / "changed").stat().st_size == len(LARGE)
        and (believing / "changed").read_bytes() == LARGE
        and (believing / "d" / "deep").stat().st_size == len(LARGE)
        and (believing / "new").read_bytes() == LARGE
    )


def test_a_directory_is_refreshed_by_its_attribute(here: Path, believing: Path) -> None:
    changed_elsewhere(here, believing)
    assert looks_like_before(believing)

    run("setfattr", "-n", "user.swift.refresh", "-v", "1", believing)

    assert is_seen(believing)


def test_a_directory_is_refreshed_by_the_command(here: Path, believing: Path) -> None:
    changed_elsewhere(here, believing)
    assert looks_like_before(believing)

    assert cli.main(["refresh", str(believing)]) == 0

    assert is_seen(believing)


def test_an_image_is_refreshed_alone(here: Path, believing: Path) -> None:
    changed_elsewhere(here, believing)

    assert cli.main(["refresh", str(believing / "changed")]) == 0

    assert (believing / "changed").stat().st_size == len(LARGE)
    assert (believing / "d" / "deep").stat().st_size == len(SMALL)


def test_what_is_gone_or_new_is_refreshed_by_its_name(
    here: Path, believing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed_elsewhere(here, believing)

    statuses = [cli.main(["refresh", str(believing / name)]) for name in ("gone", "new")]

    assert statuses == [1, 0]
    assert f"{believing}/gone: No such file or directory" in capsys.readouterr().err
    assert not (believing / "gone").exists()
    assert (believing / "new").stat().st_size == len(LARGE)


def test_what_this_host_made_and_another_removed_is_gone_after_a_refresh(
    here: Path, believing: Path
) -> None:
    (believing / "mine").write_bytes(SMALL)
    (believing / "dir").mkdir()
    (here / "mine").unlink()
    (here / "dir").rmdir()
    assert os.listdir(believing) == ["dir"]

    assert cli.main(["refresh", str(believing)]) == 0

    assert os.listdir(believing) == []
    assert not (believing / "dir").exists()


def test_where_somebody_stands_stays_where_it_is(here: Path, believing: Path) -> None:
    """Dropping a directory's entry would leave a shell in it without a working directory."""
    (here / "d").mkdir()
    (here / "d" / "image").write_bytes(SMALL)
    script = 'cd "$1/d" && setfattr -n user.swift.refresh -v 1 "$1" && pwd -P && ls'

    printed = run("sh", "-c", script, "sh", believing).split()

    assert printed == [str(believing / "d"), "image"]


def test_a_read_only_mount_is_refreshed_too(
    here: Path, swift: FaultySwift, container: str, tmp_path: Path
) -> None:
    (here / "image").write_bytes(SMALL)
    options = "ro,attr_timeout=600,list_timeout=600"
    with mounted(tmp_path, swift.swift.environ(), options) as read_only:
        image = read_only.path / container / "image"
        assert image.read_bytes() == SMALL
        (here / "image").write_bytes(LARGE)

        assert cli.main(["refresh", str(image)]) == 0

        assert image.read_bytes() == LARGE


def test_a_path_elsewhere_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["refresh", str(tmp_path)]) == 2

    assert (
        capsys.readouterr().err == f"swiftimgfs: {tmp_path} is not in a mount of swiftimgfs\n"
    )
    assert os.listxattr(tmp_path) == []
