"""Mounts that are killed, fail or are made to leave: what the next one and the commands do."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
import swiftclient

from swiftimgfs.commands.uploads import state_of
from swiftimgfs.writing.state_directory import StateDirectory
from tests.support.commands import PROGRAM, done_by, environ_with, said_by
from tests.support.fault_control import Fault
from tests.support.mounts import Mounted, kill, mounted
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount

SEGMENT = 64 * 1024
OPTIONS = "segment_size=64K,attr_timeout=0,list_timeout=0,timeout=1,retries=1"
PATIENT = OPTIONS.replace("timeout=1,retries", "timeout=60,retries")
OLD = b"old" * 50_000  # three segments
NEW = b"new!" * 50_000  # four


@pytest.fixture
def host(swift: FaultySwift, tmp_path: Path) -> Host:
    return Host(swift, tmp_path)


class Host:
    """One host: its mounts share a state directory."""

    def __init__(self, swift: FaultySwift, directory: Path) -> None:
        self._directory = directory
        self._swift = swift
        self.state = directory / "state"
        self._environ = swift.swift.environ() | {"XDG_STATE_HOME": str(self.state)}
        self._mounts = 0

    def mounted(self, options: str = OPTIONS) -> contextlib.AbstractContextManager[Mounted]:
        self._mounts += 1
        directory = self._directory / f"m{self._mounts}"
        directory.mkdir()
        return mounted(directory, self._environ, options)

    def command(self, *arguments: object, status: int = 0) -> str:
        return said_by(*arguments, environ=self._environ, status=status)

    def started(self, *arguments: object) -> subprocess.Popen[bytes]:
        environ = environ_with(self._environ)
        return subprocess.Popen([*PROGRAM, *map(str, arguments)], env=environ)

    def status(self) -> list[dict[str, object]]:
        done = done_by("status", "--json", environ=self._environ, status=None)
        uploads: list[dict[str, object]] = json.loads(done.stdout)["uploads"]
        is_bad = any(upload["state"] in {"failed", "damaged"} for upload in uploads)
        assert done.returncode == int(is_bad), done
        return uploads

    def wait_until_nothing_waits(self) -> None:
        directory = StateDirectory(self.state / "swiftimgfs")
        wait_for(lambda: not list(directory.all_uploads()), seconds=40)

    def wait_until_one_is_kept(self) -> None:
        directory = StateDirectory(self.state / "swiftimgfs")
        wait_for(lambda: list(directory.kept_uploads()))


def names_in(client: swiftclient.Connection, container: str) -> list[str]:
    try:
        rows = client.get_container(container, full_listing=True)[1]
    except swiftclient.ClientException as failure:
        if failure.http_status != 404:
            raise
        return []
    return [row["name"] for row in rows]


def body_of(client: swiftclient.Connection, container: str, name: str = "x") -> bytes:
    data: bytes = client.get_object(container, name)[1]
    return data


class Copying(threading.Thread):
    """Somebody who stores an image, in the background; `told` is what he was told."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(daemon=True)
        self._path, self._data = path, data
        self.told: int | None = None
        self.start()

    def run(self) -> None:
        try:
            with open(self._path, "wb", buffering=0) as file:
                file.write(self._data)
        except OSError as exc:
            self.told = exc.errno


@contextlib.contextmanager
def held(swift: FaultySwift, fault: Fault) -> Iterator[Callable[[], None]]:
    """Hold requests; yield what waits until one is. Nothing is held afterwards."""
    swift.control.clear()
    swift.control.inject(fault)
    try:
        yield lambda: wait_for(lambda: any(r.held for r in swift.control.journal()))
    finally:
        swift.control.clear()


def put_manifest(when: str) -> Fault:
    return Fault(method="PUT", target="multipart-manifest=put", hold=when, count=None)


class TestKilled:
    """kill -9 at each state of the journal."""

    def kill_at(self, host: Host, swift: FaultySwift, container: str, fault: Fault) -> None:
        """Have an old image; kill the mount that overwrites it, at a request."""
        with host.mounted(PATIENT) as running:
            (running.path / container / "x").write_bytes(OLD)
            with held(swift, fault) as wait:
                Copying(running.path / container / "x", NEW)
                wait()
                kill(running)

    def test_while_segments_are_uploaded(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        fault = Fault(method="PUT", target="_segments/x/", hold="before", skip=2, count=None)
        self.kill_at(host, swift, container, fault)
        assert [u["state"] for u in host.status()] == ["left behind"]
        segments = names_in(client, f"{container}_segments")
        assert len(segments) > 3

        with host.mounted() as running:
            host.wait_until_nothing_waits()
            assert (running.path / container / "x").read_bytes() == OLD
            log = running.log.read_text()

        assert len(names_in(client, f"{container}_segments")) == 3
        assert "recovered image" in log

    def test_who_waits_for_what_swift_may_still_do_says_until_when(
        self, host: Host, swift: FaultySwift, container: str
    ) -> None:
        self.kill_at(host, swift, container, put_manifest("before"))
        with host.mounted(PATIENT):
            wait_for(lambda: [u for u in host.status() if u["reason"]], seconds=20)

            (upload,) = host.status()

            assert upload["state"] == "recovering"
            assert re.fullmatch(
                r"waits until \d\d:\d\d:\d\d for what Swift may still do", str(upload["reason"])
            )

    def test_what_the_next_mount_looks_after_is_shown_as_recovering(
        self, host: Host, swift: FaultySwift, container: str
    ) -> None:
        fault = Fault(method="PUT", target="_segments/x/", hold="before", skip=2, count=None)
        self.kill_at(host, swift, container, fault)
        looks = Fault(method="GET", target=f"/{container}_segments", hold="before", count=None)

        with contextlib.ExitStack() as stack, held(swift, looks) as wait:
            stack.enter_context(host.mounted(PATIENT))
            wait()
            assert [u["state"] for u in host.status()] == ["recovering"]

    def test_before_the_manifest_is_stored(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        self.kill_at(host, swift, container, put_manifest("before"))

        with host.mounted():
            host.wait_until_nothing_waits()

        assert body_of(client, container) == OLD
        assert len(names_in(client, f"{container}_segments")) == 3

    def test_after_the_manifest_is_stored_and_before_anybody_heard(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        self.kill_at(host, swift, container, put_manifest("after"))
        assert len(names_in(client, f"{container}_segments")) == 7

        with host.mounted():
            host.wait_until_nothing_waits()

        assert body_of(client, container) == NEW
        assert len(names_in(client, f"{container}_segments")) == 4

    def test_before_what_was_replaced_is_gone(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        fault = Fault(method="DELETE", hold="before", count=None)
        self.kill_at(host, swift, container, fault)

        with host.mounted():
            host.wait_until_nothing_waits()

        assert body_of(client, container) == NEW
        assert len(names_in(client, f"{container}_segments")) == 4

    def test_between_a_removed_image_and_its_segments(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        with host.mounted(PATIENT) as running:
            (running.path / container / "x").write_bytes(OLD)
            fault = Fault(method="DELETE", target="_segments/", hold="before", count=None)
            with held(swift, fault) as wait:
                path = running.path / container / "x"
                threading.Thread(target=suppressing(path.unlink), daemon=True).start()
                wait()
                kill(running)

        with host.mounted():
            host.wait_until_nothing_waits()

        assert names_in(client, container) == []
        assert names_in(client, f"{container}_segments") == []

    @pytest.mark.parametrize("method", ["COPY", "DELETE"])
    def test_in_the_middle_of_a_rename(
        self, host: Host, swift: FaultySwift, container: str, client, method: str
    ) -> None:
        """Over an image that has segments too."""
        with host.mounted(PATIENT) as running:
            directory = running.path / container
            (directory / "x").write_bytes(OLD)
            (directory / "y").write_bytes(NEW)
            with held(swift, Fault(method=method, hold="before", count=None)) as wait:
                rename = suppressing(lambda: (directory / "y").rename(directory / "x"))
                threading.Thread(target=rename, daemon=True).start()
                wait()
                kill(running)

        with host.mounted():
            host.wait_until_nothing_waits()

        if method == "COPY":  # as before
            assert names_in(client, container) == ["x", "y"]
            assert (body_of(client, container), body_of(client, container, "y")) == (OLD, NEW)
        else:  # both names are there, and what was begun is ended
            assert names_in(client, container) == ["x"]
            assert body_of(client, container) == NEW
            assert len(names_in(client, f"{container}_segments")) == 4

    def test_what_another_mount_is_uploading_is_left_alone(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        with host.mounted(PATIENT) as running:
            with held(swift, put_manifest("before")) as wait:
                copying = Copying(running.path / container / "x", NEW)
                wait()
                with host.mounted():
                    time.sleep(4)  # noqa: TID251  # what it takes for a mount that died
                    assert [u["state"] for u in host.status()] == ["committing"]
                    assert len(names_in(client, f"{container}_segments")) == 4
            copying.join(60)  # its connection was cut: it is told, or tried again
            assert not copying.is_alive()


def test_what_was_replaced_can_be_kept_for_a_while_and_goes_after_a_remount_too(
    host: Host, container: str, client
) -> None:
    with host.mounted(f"{OPTIONS},keep_replaced=4") as running:
        (running.path / container / "x").write_bytes(OLD)
        (running.path / container / "x").write_bytes(NEW)
        assert len(names_in(client, f"{container}_segments")) == 7
        assert [u["state"] for u in host.status()] == ["deleting"]
    assert len(names_in(client, f"{container}_segments")) == 7

    with host.mounted():
        host.wait_until_nothing_waits()

    assert len(names_in(client, f"{container}_segments")) == 4
    assert body_of(client, container) == NEW


def test_what_waits_to_be_deleted_is_not_shown_as_being_uploaded(
    host: Host, swift: FaultySwift, container: str
) -> None:
    refused = Fault(method="DELETE", target="_segments/x/", status=503, count=None)
    directory = StateDirectory(host.state / "swiftimgfs")
    with host.mounted() as running, held(swift, refused):
        path = running.path / container / "x"
        with open(path, "wb", buffering=0) as file:
            file.write(NEW)
            # Looked at from here: a process that is started would close the file, which stores it.
            wait_for(lambda: [state_of(u) for u in directory.all_uploads()] == ["uploading"])
            path.unlink()

        wait_for(lambda: [u["state"] for u in host.status()] == ["cleaning up"])

        assert "being cleaned up by a mount" in host.command("retry")
    assert [u["state"] for u in host.status()] == ["left behind"]


class TestFailed:
    """Uploads that failed while somebody waited for them."""

    @pytest.fixture
    def failed(
        self, host: Host, swift: FaultySwift, container: str
    ) -> Iterator[dict[str, object]]:
        """An old image, and a new one that did not fit."""
        with host.mounted() as running:
            (running.path / container / "x").write_bytes(OLD)
            swift.control.inject(
                Fault(method="PUT", target="=put", status=413, body="Upload exceeds quota.")
            )
            copying = Copying(running.path / container / "x", NEW)
            copying.join(30)
            assert copying.told == errno.EDQUOT
            assert (running.path / container / "x").read_bytes() == OLD
            host.wait_until_one_is_kept()
            (upload,) = host.status()
            assert upload["state"] == "failed"
            yield upload

    def test_are_shown_and_sent_again(
        self, host: Host, failed: dict[str, object], container: str, client
    ) -> None:
        assert failed["image"] == f"{container}/x"
        assert failed["errno"] == "EDQUOT"
        assert failed["size"] == len(NEW)
        shown = host.command("status", status=1)
        assert f"{container}/x" in shown
        assert "EDQUOT" in shown

        path = f"{failed['mountpoint']}/{container}/x"
        assert f"stored: {container}/x" in host.command("retry", path)

        assert body_of(client, container) == NEW
        assert len(names_in(client, f"{container}_segments")) == 4
        assert host.status() == []
        assert "nothing has failed" in host.command("retry")

    def test_have_sent_what_swift_took_and_not_what_it_refused(
        self, host: Host, swift: FaultySwift, container: str
    ) -> None:
        last = f"/{container}_segments/x/.*/00000003$"
        swift.control.inject(Fault(method="PUT", target=last, status=507, count=None))
        with host.mounted() as running:
            copying = Copying(running.path / container / "x", NEW)
            copying.join(30)
            assert copying.told == errno.ENOSPC
            host.wait_until_one_is_kept()

        (upload,) = host.status()

        assert (upload["sent"], upload["size"]) == (3 * SEGMENT, len(NEW))

    def test_fail_again_and_stay(
        self, host: Host, failed: dict[str, object], swift: FaultySwift, container: str, client
    ) -> None:
        fault = Fault(method="PUT", target="=put", status=507, count=None)
        swift.control.inject(fault)

        assert "507" in host.command("retry", failed["id"], status=1)
        assert [u["errno"] for u in host.status()] == ["ENOSPC"]
        swift.control.clear()
        host.command("retry")
        assert body_of(client, container) == NEW

    def test_never_overwrite_what_somebody_else_stored(
        self, host: Host, failed: dict[str, object], container: str, client
    ) -> None:
        client.put_object(container, "x", b"theirs")

        host.command("retry", failed["id"], status=1)

        assert [u["errno"] for u in host.status()] == ["ESTALE"]
        assert body_of(client, container) == b"theirs"
        host.command("retry", "-o", "last_writer_wins", failed["id"])
        assert body_of(client, container) == NEW

    def test_are_sent_by_the_next_retry_when_one_was_killed(
        self, host: Host, failed: dict[str, object], swift: FaultySwift, container: str, client
    ) -> None:
        with held(swift, put_manifest("before")) as wait:
            sending = host.started("retry", failed["id"])
            wait()
            sending.kill()
            sending.wait()

        said = host.command("retry", f"{container}/x")

        assert f"stored: {container}/x" in said
        assert body_of(client, container) == NEW
        assert len(names_in(client, f"{container}_segments")) == 4
        assert host.status() == []

    def test_are_known_to_be_ours_when_only_the_answers_were_lost(
        self, host: Host, failed: dict[str, object], swift: FaultySwift, container: str, client
    ) -> None:
        for fault in (
            Fault(method="PUT", target="=put", lose_answer=True, count=None),
            Fault(method="HEAD", target=f"/{container}/x", skip=2, status=503, count=None),
        ):
            swift.control.inject(fault)
        host.command("retry", failed["id"], status=1)
        assert body_of(client, container) == NEW
        swift.control.clear()

        assert f"stored: {container}/x" in host.command("retry", failed["id"])

        assert body_of(client, container) == NEW
        assert len(names_in(client, f"{container}_segments")) == 4
        assert host.status() == []

    def test_can_be_forgotten(
        self, host: Host, failed: dict[str, object], container: str, client
    ) -> None:
        host.command("retry", "--forget", status=2)
        said = host.command("retry", "nonsense", status=2)
        assert f"no such upload has failed here, in {host.state}/swiftimgfs;" in said
        host.command("retry", "--forget", failed["id"])

        assert host.status() == []
        assert body_of(client, container) == OLD
        assert len(names_in(client, f"{container}_segments")) == 3

    def test_survive_the_next_mount_and_gc(
        self, host: Host, failed: dict[str, object], container: str, client
    ) -> None:
        with host.mounted() as running:
            (running.path / container / "y").write_bytes(b"it serves")
        host.command("gc", "env:", "--older-than", "0s")

        host.command("retry", failed["id"])
        assert body_of(client, container) == NEW


class TestEdits:
    """Edits in place that failed because somebody else had replaced the image."""

    @pytest.fixture(params=[b"old" * 1000, OLD], ids=["plain", "slo"])
    def old(self, request: pytest.FixtureRequest) -> bytes:
        content: bytes = request.param
        return content

    @pytest.fixture
    def failed(
        self, host: Host, container: str, old: bytes, there: Mounted
    ) -> dict[str, object]:
        """An image in which somebody has changed 3 bytes, while another changed others."""
        with host.mounted() as running:
            path = running.path / container / "x"
            path.write_bytes(old)
            image = path.open("r+b", buffering=0)
            image.seek(100)
            image.write(b"ed.")
            (there.path / container / "x").write_bytes(NEW[: len(old)])
            with pytest.raises(OSError, match="Stale"):
                image.close()
            host.wait_until_one_is_kept()
        (upload,) = host.status()
        assert "changed by somebody else" in str(upload["reason"])
        return upload

    @pytest.fixture
    def there(self, swift: FaultySwift, tmp_path: Path) -> Iterator[Mounted]:
        """Another host."""
        other = tmp_path / "other"
        other.mkdir()
        with mounted(other, swift.swift.environ(), OPTIONS) as running:
            yield running

    def test_cannot_win_without_what_is_gone_and_are_got_out(
        self, host: Host, failed: dict[str, object], old: bytes, container: str, tmp_path: Path
    ) -> None:
        for _ in range(2):
            said = host.command("retry", "-o", "last_writer_wins", f"{container}/x", status=1)
            assert "only in the version that was opened, and that is gone" in said
            assert "--save-to" in said
            assert [u["errno"] for u in host.status()] == ["ESTALE"]

        kept = tmp_path / "kept"
        said = host.command("retry", "--save-to", kept, f"{container}/x")

        file = kept / f"{failed['id']}-x"
        assert f"saved: {container}/x as {file}, without" in said
        data = file.read_bytes()
        assert len(data) == len(old)
        rows = (kept / f"{failed['id']}-x.map").read_text().splitlines()
        ranges = [(int(start), int(size), kind) for start, size, kind in map(str.split, rows)]
        assert sum(size for _, size, _ in ranges) == len(old)
        (written,) = [r for r in ranges if r[2] == "written"]
        assert written[:2] == (100, 3) or written[1] == SEGMENT
        assert data[100:103] == b"ed."
        for start, size, kind in ranges:
            if kind == "missing":
                assert data[start : start + size] == bytes(size)
        assert [u["id"] for u in host.status()] == [failed["id"]]
        assert "File exists" in host.command("retry", "--save-to", kept, status=1)

    def test_win_where_the_segments_of_the_old_version_are_there(
        self, host: Host, container: str, client, tmp_path: Path
    ) -> None:
        with host.mounted() as running:
            path = running.path / container / "x"
            path.write_bytes(OLD)
            image = path.open("r+b", buffering=0)
            image.write(b"ed.")
            client.put_object(container, "x", b"theirs")
            with pytest.raises(OSError, match="Stale"):
                image.close()
            host.wait_until_one_is_kept()

        said = host.command("retry", "--save-to", tmp_path / "kept")
        assert "without" not in said
        (file, _) = sorted((tmp_path / "kept").iterdir())
        assert file.read_bytes() == b"ed." + OLD[3:]

        host.command("retry", "-o", "last_writer_wins")

        assert body_of(client, container) == b"ed." + OLD[3:]
        assert host.status() == []

    def test_are_stored_again_over_their_own_when_only_the_answers_were_lost(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        client.put_object(container, "x", b"old" * 1000)
        with host.mounted() as running:
            path = running.path / container / "x"
            image = path.open("r+b", buffering=0)
            image.write(b"ed.")
            own = f"/{container}/x"
            for fault in (
                Fault(method="PUT", target=own, lose_answer=True, count=None),
                Fault(method="HEAD", target=own, skip=1, status=503, count=None),
            ):
                swift.control.inject(fault)
            with pytest.raises(OSError, match="Input/output"):
                image.close()
            host.wait_until_one_is_kept()
            swift.control.clear()
        assert body_of(client, container) == b"ed." + (b"old" * 1000)[3:]

        host.command("retry")

        assert body_of(client, container) == b"ed." + (b"old" * 1000)[3:]
        assert host.status() == []

    def test_are_got_out_without_swift_when_all_is_here(
        self, host: Host, swift: FaultySwift, container: str, tmp_path: Path
    ) -> None:
        with host.mounted() as running:
            fault = Fault(method="PUT", target=f"/{container}/sub/x$", status=507, count=None)
            swift.control.inject(fault)
            (running.path / container / "sub").mkdir()
            copying = Copying(running.path / container / "sub" / "x", b"small")
            copying.join(30)
            host.wait_until_one_is_kept()
        swift.control.inject(Fault(status=503, count=None))

        said = host.command("retry", "--save-to", tmp_path / "kept")

        swift.control.clear()
        assert said.startswith(f"saved: {container}/sub/x as ")
        (file, made) = sorted((tmp_path / "kept").iterdir())
        assert (file.read_bytes(), made.read_text()) == (b"small", "0 5 written\n")


class TestUnmounting:
    """Signals while somebody waits for a commit."""

    def test_the_first_waits_for_what_is_being_committed(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        with host.mounted(PATIENT) as running:
            swift.control.clear()
            swift.control.inject(Fault(method="PUT", target="=put", delay=2))
            Copying(running.path / container / "x", NEW)
            wait_for(
                lambda: any("=put" in request.target for request in swift.control.journal())
            )

            running.process.terminate()
            assert running.process.wait(20) == 0

            assert "waiting for an upload image" in running.log.read_text()
        assert body_of(client, container) == NEW
        assert host.status() == []

    def test_after_the_second_the_next_mount_stores_it(
        self, host: Host, swift: FaultySwift, container: str, client
    ) -> None:
        with host.mounted(PATIENT) as running, held(swift, put_manifest("before")) as wait:
            Copying(running.path / container / "x", NEW)
            wait()
            running.process.terminate()
            wait_for(lambda: "unmounting signal" in running.log.read_text())
            running.process.terminate()
            assert running.process.wait(20) == 0
        assert [u["state"] for u in host.status()] == ["interrupted"]
        assert names_in(client, container) == []

        with host.mounted() as running:
            host.wait_until_nothing_waits()
            assert (running.path / container / "x").read_bytes() == NEW

        assert len(names_in(client, f"{container}_segments")) == 4


def suppressing(action: Callable[[], object]) -> Callable[[], None]:
    """Return an action whose failure, at a mount that is killed, is nobody's."""

    def act() -> None:
        with contextlib.suppress(OSError):
            action()

    return act
