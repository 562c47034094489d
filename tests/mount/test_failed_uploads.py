"""Uploads that failed: shown, sent again, forgotten or got out."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.support.edited import objects
from tests.support.fault_control import Fault
from tests.support.hosts import (
    NEW,
    OLD,
    OPTIONS,
    SEGMENT,
    Copying,
    Host,
    body_of,
    held,
    names_in,
    put_manifest,
)
from tests.support.mounts import Mounted, mounted
from tests.support.stored import wait_for

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.embedded_swift import FaultySwift

pytestmark = pytest.mark.mount


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


def begun_edit(path: Path) -> io.FileIO:
    """Store a large image, and change its first bytes with no close yet."""
    path.write_bytes(OLD)
    image = path.open("r+b", buffering=0)
    image.write(b"ed.")
    return image


class TestEdits:
    """Edits in place that failed because somebody else had replaced the image."""

    @pytest.fixture(params=[b"old" * 1000, OLD], ids=["plain", "slo"])
    def old(self, request: pytest.FixtureRequest) -> bytes:
        content: bytes = request.param
        return content

    @pytest.fixture
    def failed(
        self, swift: FaultySwift, host: Host, container: str, old: bytes, there: Mounted
    ) -> dict[str, object]:
        """An image in which somebody has changed 3 bytes, while another replaced all of it."""
        with host.mounted() as running:
            path = running.path / container / "x"
            path.write_bytes(old)
            before = objects(swift, f"{container}_segments")
            image = path.open("r+b", buffering=0)
            image.seek(100)
            image.write(b"ed.")
            (there.path / container / "x").write_bytes(NEW[: len(old)])
            with pytest.raises(OSError, match="Stale"):
                image.close()
            host.wait_until_one_is_kept()
            wait_for(lambda: not {*before} & {*objects(swift, f"{container}_segments")})
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
            image = begun_edit(running.path / container / "x")
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

    def test_leave_the_old_version_alone_that_has_another_name_by_now(
        self, host: Host, container: str, client
    ) -> None:
        with host.mounted() as running:
            image = begun_edit(running.path / container / "x")
            raw = "multipart-manifest=get&format=raw"
            rows = client.get_object(container, "x", query_string=raw)[1]
            client.put_object(container, "y", rows, query_string="multipart-manifest=put")
            client.delete_object(container, "x")
            with pytest.raises(OSError, match="Stale"):
                image.close()
            host.wait_until_one_is_kept()

        for options in ((), ("-o", "last_writer_wins")):
            assert "--save-to" in host.command("retry", *options, status=1)

        assert body_of(client, container, "y") == OLD
        assert len(host.status()) == 1

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
