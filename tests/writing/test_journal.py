"""What is noted is on disk when it was noted, has one owner, and is damaged by nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.writing import state_directory
from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.state_directory import Damaged, Found, StateDirectory
from swiftimgfs.writing.upload_record import Owner, State
from tests.support.journals import ACCOUNT, compute, die, session_in, uploads_in


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def session(state: Path):
    return session_in(state)


@pytest.fixture
def journal(session):
    return Journal(session, compute)


class TestEntries:
    """What one upload notes."""

    async def test_an_upload_is_on_disk_before_it_begins(self, journal, state) -> None:
        entry = await journal.begin("c", "dir/image", "etag0")

        (found,) = uploads_in(state)
        assert found.is_owned
        record = found.record
        assert (record.image, record.base_etag) == ("c/dir/image", "etag0")
        assert record.state is State.UPLOADING
        assert record.token == entry.token
        assert record.owner.account == ACCOUNT

    async def test_each_state_is_on_disk_when_it_was_noted(self, journal, state) -> None:
        entry = await journal.begin("c", "image", None)

        await entry.place("s", "image/slo/1/")
        await entry.uploading("c", "elsewhere")
        await entry.committing("e1", [("s", "image/slo/1/0")], [("s", "old")])
        assert uploads_in(state)[0].record.state is State.COMMITTING
        await entry.committing("e2", [], [("s", "older")])
        await entry.committed()

        record = uploads_in(state)[0].record
        assert record.state is State.COMMITTED
        assert record.places == (("s", "image/slo/1/"),)
        assert record.objects == (("c", "elsewhere"),)
        assert [a.etag for a in record.attempts] == ["e1", "e2"]
        assert record.replaced == (("s", "older"),)
        await entry.finished()
        assert uploads_in(state) == []

    async def test_objects_below_a_place_cost_no_write(self, journal, monkeypatch) -> None:
        entry = await journal.begin("c", "image", None)
        await entry.place("s", "p/")
        writes: list[object] = []
        monkeypatch.setattr(
            "swiftimgfs.writing.journal.write_record", lambda *args: writes.append(args)
        )

        await entry.place("s", "p/")
        await entry.uploading("s", "p/1")
        await entry.uploading("s", "p/2")
        assert writes == []
        await entry.uploading("s", "q/3")
        assert len(writes) == 1

    async def test_progress_can_be_seen(self, journal, state) -> None:
        entry = await journal.begin("c", "image", None)

        entry.sent(10)
        entry.sent(25)

        assert uploads_in(state)[0].sent == 25

    async def test_what_was_dropped_is_forgotten(self, journal, state) -> None:
        entry = await journal.begin("c", "image", None)
        await entry.uploading("c", "a")
        await entry.uploading("c", "b")

        await entry.dropped([("c", "a")])

        assert uploads_in(state)[0].record.objects == (("c", "b"),)

    async def test_a_new_name_is_written_with_the_next_note(self, journal, state) -> None:
        entry = await journal.begin("c", "image", None)

        entry.renamed("d", "new")
        await entry.committing("e", [], [])

        assert uploads_in(state)[0].record.image == "d/new"

    async def test_notes_at_the_same_time_are_all_there_when_each_returns(
        self, session, state
    ) -> None:
        async def slowly(blocking):
            await trio.sleep(0.01)
            blocking()

        entry = await Journal(session, slowly).begin("c", "image", None)

        async def note(name):
            await entry.uploading("c", name)
            assert ("c", name) in uploads_in(state)[0].record.objects

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(note, f"{number}")
        assert len(uploads_in(state)[0].record.objects) == 20

    async def test_a_full_disk_is_told(self, journal, monkeypatch) -> None:
        entry = await journal.begin("c", "image", None)

        def full(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("swiftimgfs.writing.journal.write_record", full)
        with pytest.raises(errors.HostFullError, match="No space left"):
            await entry.uploading("c", "x")

    async def test_a_failed_upload_is_kept_with_its_bytes_and_without_an_owner(
        self, journal, session, state
    ) -> None:
        entry = await journal.begin("c", "image", "e0")
        spool = session.spool_directory / "spool1"
        spool.write_bytes(b"bytes")

        assert await entry.keep({"size": 5}, spool, "no route", "EHOSTUNREACH")

        (found,) = uploads_in(state)
        assert found.path.parent == state / "kept"
        assert not found.is_owned
        assert found.spool is not None
        assert found.spool.read_bytes() == b"bytes"
        assert not spool.exists()
        record = found.record
        assert (record.state, record.errno, record.size) == (State.FAILED, "EHOSTUNREACH", 5)

    async def test_one_that_nobody_was_told_of_stays_for_the_next_mount(
        self, journal, state
    ) -> None:
        entry = await journal.begin("c", "image", None)

        assert await entry.keep({"size": 0}, None, "unmounted", is_told=False)

        assert uploads_in(state)[0].record.state is State.INTERRUPTED
        assert uploads_in(state)[0].path.parent.parent == state / "mounts"

    async def test_not_more_is_kept_than_there_is_room_for(self, session, state) -> None:
        journal = Journal(session, compute, most_kept=10_000)
        kept = []
        for number in range(3):
            entry = await journal.begin("c", f"image{number}", None)
            spool = session.spool_directory / f"spool{number}"
            spool.write_bytes(b"x" * 4096)
            kept.append(await entry.keep({"size": 4096}, spool, "reason"))

        assert kept == [True, True, False]
        assert spool.exists()  # its owner's, as before

    async def test_what_cannot_be_kept_is_given_back(self, journal, state, tmp_path) -> None:
        entry = await journal.begin("c", "image", None)

        assert not await entry.keep({}, tmp_path / "no-such-file", "reason")


class TestOwnership:
    """One upload has one owner, who is alive."""

    def test_what_lives_is_not_taken_over(self, session, state) -> None:
        assert list(StateDirectory(state).take_over(ACCOUNT)) == []
        assert session.path.is_dir()

    async def test_the_uploads_of_the_dead_are_taken_over_once(
        self, session, journal, state
    ) -> None:
        await journal.begin("c", "image", None)
        die(session)
        assert not uploads_in(state)[0].is_owned

        (taken,) = StateDirectory(state).take_over(ACCOUNT)

        (found,) = taken.uploads()
        assert isinstance(found, Found)
        assert found.record.image == "c/image"
        assert list(StateDirectory(state).take_over(ACCOUNT)) == []
        assert uploads_in(state)[0].is_owned

    async def test_another_accounts_are_left(self, session, journal, state) -> None:
        await journal.begin("c", "image", None)
        die(session)

        assert list(StateDirectory(state).take_over("http://other/v1/AUTH_x")) == []
        assert len(uploads_in(state)) == 1

    def test_a_killed_process_lets_go(self, state) -> None:
        program = (
            "import os, sys, time; from pathlib import Path;"
            "from swiftimgfs.writing.state_directory import StateDirectory;"
            "from swiftimgfs.writing.upload_record import Owner;"
            f"s = StateDirectory(Path(sys.argv[1])).open_session(Owner({ACCOUNT!r}, os.getpid()));"
            "print(s.path, flush=True); time.sleep(60)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(state)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            path = Path(process.stdout.readline().strip())
            assert list(StateDirectory(state).take_over(ACCOUNT)) == []
            process.kill()
        assert [s.path for s in StateDirectory(state).take_over(ACCOUNT)] == [path]

    async def test_a_closed_session_leaves_nothing(self, session, journal, state) -> None:
        entry = await journal.begin("c", "image", None)
        (session.spool_directory / "spool1").write_bytes(b"x")
        await entry.finished()

        session.close()

        assert list((state / "mounts").iterdir()) == []

    async def test_a_closed_session_leaves_what_is_not_done(
        self, session, journal, state
    ) -> None:
        await journal.begin("c", "image", None)

        session.close()

        assert not uploads_in(state)[0].is_owned

    async def test_a_failed_upload_is_taken_by_one_alone(self, session, journal, state) -> None:
        entry = await journal.begin("c", "image", None)
        await entry.keep({"size": 0}, None, "reason")
        first, second = session_in(state), session_in(state)

        assert isinstance(first.take_kept(entry.token), Found)
        assert second.take_kept(entry.token) is None

    def test_one_that_died_before_it_said_who_it_is_leaves_nothing(self, state) -> None:
        StateDirectory(state).prepare()
        for name, content in (("a", None), ("b", b"")):
            (state / "mounts" / name).mkdir()
            if content is not None:
                (state / "mounts" / name / "lock").write_bytes(content)

        assert list(StateDirectory(state).take_over(ACCOUNT)) == []
        assert list((state / "mounts").iterdir()) == []


class TestDamage:
    """What others or the disk did to the files."""

    async def test_a_damaged_record_is_reported_and_the_others_are_there(
        self, session, journal, state
    ) -> None:
        bad = await journal.begin("c", "bad", None)
        await journal.begin("c", "good", None)
        (session.path / bad.token / "journal").write_bytes(b"{")

        found = list(StateDirectory(state).all_uploads())

        assert [f.path.name for f in found if isinstance(f, Damaged)] == [bad.token]
        assert [f.record.name for f in found if isinstance(f, Found)] == ["good"]

    async def test_a_damaged_lock_hides_no_other_session(
        self, session, journal, state, caplog
    ) -> None:
        await journal.begin("c", "image", None)
        other = session_in(state)
        await Journal(other, compute).begin("c", "other", None)
        (session.path / "lock").write_bytes(b"?")
        die(session)
        die(other)

        taken = list(StateDirectory(state).take_over(ACCOUNT))

        assert [s.path for s in taken] == [other.path]
        assert "cannot be recovered" in caplog.text

    async def test_a_write_that_was_cut_off_leaves_the_record_before(
        self, session, journal, state, monkeypatch
    ) -> None:
        entry = await journal.begin("c", "image", None)

        def power_failure(_descriptor):
            raise OSError(5, "gone")

        monkeypatch.setattr(os, "fsync", power_failure)
        with pytest.raises(errors.HostDiskError):
            await entry.committing("e", [], [])

        assert uploads_in(state)[0].record.state is State.UPLOADING


class TestPermissions:
    """Nobody else reads or writes what is being uploaded."""

    def test_the_directory_is_made_private(self, session, state) -> None:
        for path in (state, session.path, state / "kept"):
            assert path.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
    def test_a_directory_that_others_can_write_is_refused(self, state, mode) -> None:
        state.mkdir()
        state.chmod(mode)

        with pytest.raises(errors.ConfigError, match="others can write"):
            session_in(state)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_somebody_elses_directory_is_refused(self, state) -> None:
        state.mkdir(mode=0o700)
        os.chown(state, 12345, 12345)

        with pytest.raises(errors.ConfigError, match="somebody else"):
            session_in(state)

    def test_what_is_no_directory_is_refused(self, state) -> None:
        state.write_text("")

        with pytest.raises(errors.ConfigError, match=str(state)):
            session_in(state)

    def test_where_it_is(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        assert state_directory.default_directory() == tmp_path / "swiftimgfs"
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert state_directory.default_directory() == Path("/var/lib/swiftimgfs")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setenv("HOME", "/home/me")
        expected = Path("/home/me/.local/state/swiftimgfs")
        assert state_directory.default_directory() == expected


def test_an_owner_is_told(state) -> None:
    owner = Owner(ACCOUNT, 17, "/mnt/x", ("glance:/etc/glance.conf", "-o", "ro"))
    session = StateDirectory(state).open_session(owner)
    die(session)

    (taken,) = StateDirectory(state).take_over(ACCOUNT)

    assert taken.owner == owner
