"""Mounts that are killed or made to leave: what the next one finds, and does."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.commands.uploads import state_of
from swiftimgfs.writing.state_directory import StateDirectory
from tests.support.fault_control import Fault
from tests.support.hosts import (
    NEW,
    OLD,
    OPTIONS,
    PATIENT,
    Copying,
    Host,
    body_of,
    held,
    names_in,
    put_manifest,
)
from tests.support.mounts import kill
from tests.support.stored import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


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
