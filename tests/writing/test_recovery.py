"""Whatever a mount died of, recovery leaves the old image or the new one, and no orphan."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import trio

from swiftimgfs import errors
from swiftimgfs.writing.budget import DirtyBudget
from swiftimgfs.writing.claims import Claims, Named, read_claims
from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.garbage import Garbage
from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.parts import WriteParts
from swiftimgfs.writing.recovery import Recovery
from swiftimgfs.writing.resumption import Resumption
from swiftimgfs.writing.state_directory import StateDirectory
from swiftimgfs.writing.upload_record import State
from tests.support.embedded_swift import faulty_swift
from tests.support.fault_control import Fault
from tests.support.journals import compute, die, session_in, uploads_in
from tests.support.pools import owner_of, pool_of

if TYPE_CHECKING:
    from swiftimgfs.reading.fetcher import Fetcher
    from swiftimgfs.store.image_store import ImageStore

SETTLE = 0.6


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    constraints = {"container_listing_limit": 20}
    with faulty_swift(tmp_path_factory.mktemp("swift"), constraints=constraints) as faulty:
        yield faulty


@pytest.fixture
def client(faulty):
    with faulty.client("c", "s") as connection:
        yield connection


@pytest.fixture
async def pool(faulty):
    async with contextlib.aclosing(pool_of(owner_of(faulty.swift), tries=1)) as made:
        yield made


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def dead(state, pool, store):
    """A session that dies when the test recovers."""
    return session_in(state, pool.storage_url)


@pytest.fixture
async def entry(dead):
    """An upload of c/image over what is there."""
    entry = await Journal(dead, compute).begin("c", "image", "base")
    await entry.place("s", "image/slo/new/")
    return entry


@pytest.fixture
def recover(store, state, pool, dead):
    async def recover(*, send_again=None, settle=SETTLE):
        async def refuse(found, entry):
            raise AssertionError(found)

        with contextlib.suppress(OSError):
            die(dead)
        await Recovery(
            store,
            StateDirectory(state),
            pool.storage_url,
            compute,
            settle_seconds=settle,
            send_again=send_again or refuse,
        ).run()

    return recover


def put_segments(client, prefix, *bodies, container="s"):
    """Store segments; return the rows of a manifest of them."""
    rows = []
    for number, body in enumerate(bodies):
        name = f"{prefix}{number:08d}"
        etag = client.put_object(container, name, body)
        rows.append({"path": f"/{container}/{name}", "etag": etag, "size_bytes": len(body)})
    return rows


def put_slo(client, rows, name="image", container="c"):
    client.put_object(container, name, json.dumps(rows), query_string="multipart-manifest=put")
    return etag_of(rows)


def etag_of(rows):
    return hashlib.md5("".join(row["etag"] for row in rows).encode()).hexdigest()


def names_in(client, container="s"):
    return [row["name"] for row in client.get_container(container, full_listing=True)[1]]


def body_of(client, name="image", container="c"):
    return client.get_object(container, name)[1]


class TestUploading:
    """Killed before the commit: nothing names what was stored."""

    async def test_everything_goes_and_the_old_image_stays(
        self, client, entry, recover, state
    ) -> None:
        old = put_segments(client, "image/slo/old/", b"old0", b"old1")
        put_slo(client, old)
        put_segments(client, "image/slo/new/", b"new0", b"new1")

        await recover()

        assert names_in(client) == ["image/slo/old/00000000", "image/slo/old/00000001"]
        assert body_of(client) == b"old0old1"
        assert uploads_in(state) == []

    async def test_a_segment_that_lands_after_the_kill_goes_too(
        self, client, entry, recover
    ) -> None:
        async def land():
            await trio.sleep(SETTLE / 2)
            put_segments(client, "image/slo/new/", b"late")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(land)
            await recover()

        assert names_in(client) == []

    async def test_it_is_found_beyond_a_page_of_the_listing(
        self, client, entry, recover
    ) -> None:
        put_segments(client, "image/slo/new/", *[b"x"] * 45)

        await recover(settle=0)

        assert names_in(client) == []

    async def test_what_is_known_by_name_goes(self, client, entry, recover) -> None:
        await entry.uploading("c", "elsewhere")
        client.put_object("c", "elsewhere", b"x")
        client.put_object("c", "bystander", b"x")

        await recover(settle=0)

        assert names_in(client, "c") == ["bystander"]

    async def test_what_somebody_else_stores_under_the_same_name_stays(
        self, client, entry, recover, dead
    ) -> None:
        await entry.uploading("c", "id-00001")
        journal = dead.path / entry.token / "journal"
        os.utime(journal, (time.time() - 1000, time.time() - 1000))
        client.put_object("c", "id-00001", b"of another host, an hour later")

        await recover(settle=0)

        assert names_in(client, "c") == ["id-00001"]

    async def test_what_the_image_names_stays_whatever_the_journal_says(
        self, client, entry, recover
    ) -> None:
        rows = put_segments(client, "image/slo/new/", b"new0", b"new1")
        put_slo(client, rows[:1])

        await recover(settle=0)

        assert names_in(client) == ["image/slo/new/00000000"]

    async def test_what_is_below_the_prefix_of_a_dlo_stays(self, client, dead, recover) -> None:
        entry = await Journal(dead, compute).begin("c", "id", None)
        await entry.uploading("c", "id-00001")
        client.put_object("c", "id-00001", b"x")
        client.put_object("c", "id", b"", headers={"X-Object-Manifest": "c/id-"})

        await recover(settle=0)

        assert names_in(client, "c") == ["id", "id-00001"]

    async def test_an_upload_that_stored_nothing_leaves_nothing(
        self, entry, recover, state, caplog
    ) -> None:
        await recover(settle=0)

        assert uploads_in(state) == []
        assert list((state / "mounts").iterdir()) == []


class TestCommitting:
    """Killed around the PUT of the manifest."""

    async def test_a_manifest_that_was_stored_counts_though_nobody_heard(
        self, client, entry, recover, state
    ) -> None:
        old = put_segments(client, "image/slo/old/", b"old0")
        new = put_segments(client, "image/slo/new/", b"new0", b"new1")
        await entry.committing(etag_of(new), [], [("s", "image/slo/old/00000000")])
        put_slo(client, old)
        put_slo(client, new)

        started = time.monotonic()
        await recover(settle=60)

        assert time.monotonic() - started < 30  # what is certain needs no wait
        assert names_in(client) == ["image/slo/new/00000000", "image/slo/new/00000001"]
        assert body_of(client) == b"new0new1"
        assert uploads_in(state) == []

    async def test_a_manifest_that_was_never_stored_leaves_the_old_image(
        self, client, entry, recover, state
    ) -> None:
        old = put_segments(client, "image/slo/old/", b"old0")
        put_slo(client, old)
        new = put_segments(client, "image/slo/new/", b"new0")
        await entry.committing(etag_of(new), [], [("s", "image/slo/old/00000000")])

        await recover()

        assert names_in(client) == ["image/slo/old/00000000"]
        assert body_of(client) == b"old0"
        assert uploads_in(state) == []

    async def test_a_manifest_that_lands_after_the_kill_is_waited_for(
        self, client, entry, recover
    ) -> None:
        new = put_segments(client, "image/slo/new/", b"new0")
        await entry.committing(etag_of(new), [], [])

        async def land():
            await trio.sleep(SETTLE / 2)
            put_slo(client, new)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(land)
            await recover()

        assert body_of(client) == b"new0"

    async def test_the_same_bytes_again_do_not_cost_the_image(
        self, client, entry, recover
    ) -> None:
        old = put_segments(client, "image/slo/old/", b"same")
        new = put_segments(client, "image/slo/new/", b"same")
        put_slo(client, old)
        await entry.committing(etag_of(new), [], [("s", "image/slo/old/00000000")])

        await recover()

        assert names_in(client) == ["image/slo/old/00000000"]
        assert body_of(client) == b"same"

    async def test_an_image_that_was_renamed_since_keeps_its_segments(
        self, client, entry, recover
    ) -> None:
        new = put_segments(client, "image/slo/new/", b"new0", b"new1")
        await entry.committing(etag_of(new), [], [])
        put_slo(client, new[:1], "renamed")

        await recover()

        assert names_in(client) == ["image/slo/new/00000000"]
        assert body_of(client, "renamed") == b"new0"

    async def test_an_image_that_somebody_else_made_since_is_left_alone(
        self, client, entry, recover
    ) -> None:
        new = put_segments(client, "image/slo/new/", b"new0")
        theirs = put_segments(client, "image/slo/theirs/", b"their")
        await entry.committing(etag_of(new), [], [])
        put_slo(client, theirs)

        await recover()

        assert names_in(client) == ["image/slo/theirs/00000000"]
        assert body_of(client) == b"their"

    async def test_the_first_of_two_tries_may_have_been_stored(
        self, client, entry, recover
    ) -> None:
        first = put_segments(client, "image/slo/new/", b"new0", b"new1")
        await entry.committing(etag_of(first), [], [("s", "gone-with-the-first")])
        await entry.committing(etag_of(first[:1]), [], [("s", "gone-with-the-second")])
        put_slo(client, first)
        for name in ("gone-with-the-first", "gone-with-the-second"):
            client.put_object("s", name, b"x")

        await recover()

        assert body_of(client) == b"new0new1"
        assert "gone-with-the-first" not in names_in(client)
        assert "gone-with-the-second" in names_in(client)

    async def test_a_plain_image_over_a_large_one(self, client, dead, recover) -> None:
        old = put_segments(client, "image/slo/old/", b"old0")
        put_slo(client, old)
        entry = await Journal(dead, compute).begin("c", "image", etag_of(old))
        etag = client.put_object("c", "image", b"plain")
        await entry.committing(etag, [], [("s", "image/slo/old/00000000")])

        await recover(settle=60)

        assert names_in(client) == []
        assert body_of(client) == b"plain"

    async def test_what_cannot_be_asked_is_left_for_the_next_mount(
        self, client, entry, recover, state, faulty, caplog
    ) -> None:
        new = put_segments(client, "image/slo/new/", b"new0")
        await entry.committing(etag_of(new), [], [])
        faulty.control.inject(
            Fault(method="HEAD", target="/c/image[?]", status=503, count=None)
        )

        await recover(settle=0)

        assert "not recovered" in caplog.text
        assert len(uploads_in(state)) == 1
        assert not uploads_in(state)[0].is_owned
        faulty.control.clear()
        await recover(settle=0)
        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_a_manifest_that_may_not_be_read_has_nothing_deleted(
        self, client, entry, recover, state, faulty
    ) -> None:
        new = put_segments(client, "image/slo/new/", b"new0")
        await entry.committing(etag_of(new), [], [])
        put_slo(client, new)
        faulty.control.inject(Fault(method="GET", target="/c/image", status=403, count=None))

        await recover(settle=0)

        assert len(names_in(client)) == 1
        assert len(uploads_in(state)) == 1


class TestCommitted:
    """Killed after the commit, before what was replaced was gone."""

    async def test_what_was_replaced_goes(self, client, entry, recover, state) -> None:
        put_segments(client, "image/slo/old/", b"old0", b"old1")
        new = put_segments(client, "image/slo/new/", b"new0")
        put_slo(client, new)
        replaced = [("s", f"image/slo/old/0000000{n}") for n in (0, 1)]
        await entry.committing(etag_of(new), [], replaced)
        await entry.committed()

        await recover(settle=60)

        assert names_in(client) == ["image/slo/new/00000000"]
        assert uploads_in(state) == []

    async def test_it_stays_as_long_as_it_was_to_be_kept(self, client, entry, recover) -> None:
        put_segments(client, "image/slo/old/", b"old0")
        new = put_segments(client, "image/slo/new/", b"new0")
        put_slo(client, new)
        await entry.committing(etag_of(new), [], [("s", "image/slo/old/00000000")])
        await entry.committed()
        await entry.delete_after(time.time() + 2)

        with trio.move_on_after(1):
            await recover()
        assert "image/slo/old/00000000" in names_in(client)
        await recover()
        assert "image/slo/old/00000000" not in names_in(client)

    async def test_an_image_that_was_renamed_since_is_whole(
        self, client, entry, recover
    ) -> None:
        put_segments(client, "image/slo/old/", b"old0")
        new = put_segments(client, "image/slo/new/", b"new0")
        put_slo(client, new, "renamed")
        await entry.committing(etag_of(new), [], [("s", "image/slo/old/00000000")])
        await entry.committed()

        await recover(settle=0)

        assert names_in(client) == ["image/slo/new/00000000"]
        assert body_of(client, "renamed") == b"new0"

    async def test_a_removed_image_takes_its_segments_along(
        self, client, dead, recover, state
    ) -> None:
        put_segments(client, "image/slo/old/", b"old0")
        await Journal(dead, compute).removing("c", "image", [("s", "image/slo/old/00000000")])

        await recover(settle=60)

        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_an_image_that_was_not_removed_after_all_is_whole(
        self, client, dead, recover, state
    ) -> None:
        old = put_segments(client, "image/slo/old/", b"old0")
        put_slo(client, old)
        await Journal(dead, compute).removing("c", "image", [("s", "image/slo/old/00000000")])

        await recover(settle=0)

        assert body_of(client) == b"old0"
        assert uploads_in(state) == []


class TestMoving:
    """Killed between the copy of a manifest and the end of its old name."""

    @pytest.fixture
    def rows(self, client):
        return put_segments(client, "image/slo/old/", b"old0", b"old1")

    @pytest.fixture
    async def moving(self, dead, rows):
        return await Journal(dead, compute).moving(("c", "image"), ("c", "new"), etag_of(rows))

    async def test_the_old_name_goes(self, client, rows, moving, recover, state) -> None:
        put_slo(client, rows)
        put_slo(client, rows, "new")

        await recover(settle=60)

        assert names_in(client, "c") == ["new"]
        assert body_of(client, "new") == b"old0old1"
        assert uploads_in(state) == []

    async def test_what_was_not_copied_stays(
        self, client, rows, moving, recover, state
    ) -> None:
        put_slo(client, rows)

        await recover(settle=0)

        assert names_in(client, "c") == ["image"]
        assert body_of(client) == b"old0old1"
        assert uploads_in(state) == []

    async def test_what_somebody_else_stored_there_meanwhile_stays(
        self, client, rows, moving, recover, state
    ) -> None:
        put_slo(client, rows, "new")
        client.put_object("c", "image", b"theirs")

        await recover(settle=0)

        assert body_of(client) == b"theirs"
        assert body_of(client, "new") == b"old0old1"
        assert uploads_in(state) == []


class TestKept:
    """Uploads whose bytes are here."""

    @pytest.fixture
    def resumption(self, store, nursery, tmp_path, monkeypatch):
        """Sends with a mount's parts, but can read nothing."""
        reader = SimpleNamespace(close=lambda: None)
        monkeypatch.setattr("swiftimgfs.writing.resumption.ImageReader", lambda _: reader)
        parts = WriteParts(store, nursery, DirtyBudget(1 << 20, 1 << 20), tmp_path)
        return Resumption(parts, cast("Fetcher", None))

    async def test_a_failed_one_waits_for_retry(self, dead, entry, recover, state) -> None:
        (dead.spool_directory / "spool").write_bytes(b"bytes")
        # Killed between the record and the move: what `keep` does last.
        dead_keep, dead.keep = dead.keep, lambda path: path
        await entry.keep({"size": 5}, dead.spool_directory / "spool", "why", "EIO")
        dead.keep = dead_keep

        await recover()

        (found,) = uploads_in(state)
        assert found.path.parent == state / "kept"
        assert found.spool is not None
        assert found.spool.read_bytes() == b"bytes"

    async def test_one_that_nobody_was_told_of_is_sent(self, entry, recover, state) -> None:
        await entry.keep({"size": 5}, None, "unmounted", is_told=False)
        sent = []

        async def send_again(found, entry):
            sent.append(found.record.image)
            await entry.finished()

        await recover(send_again=send_again)

        assert sent == ["c/image"]
        assert uploads_in(state) == []

    async def test_what_cannot_be_sent_has_failed(self, entry, recover, state) -> None:
        await entry.keep({"size": 5}, None, "unmounted", is_told=False)

        async def send_again(found, entry):
            raise errors.ImageChangedError("changed by somebody else")

        await recover(send_again=send_again)

        (found,) = uploads_in(state)
        assert found.record.state is State.FAILED
        assert found.record.errno == "ESTALE"
        assert found.path.parent == state / "kept"

    async def test_a_retry_that_was_killed_keeps_the_bytes(
        self, dead, entry, recover, state, client
    ) -> None:
        spool = dead.spool_directory / "spool"
        spool.write_bytes(b"bytes")
        await entry.keep({"size": 5}, spool, "why", is_told=False)
        put_segments(client, "image/slo/new/", b"kept")
        await entry.committing("etag", [], [])

        await recover(settle=0)

        (found,) = uploads_in(state)
        assert found.record.state is State.FAILED
        assert found.spool is not None
        assert found.spool.read_bytes() == b"bytes"
        assert names_in(client) == ["image/slo/new/00000000"]

    @pytest.mark.parametrize(
        "recipe",
        [
            {},
            {"container": "c", "name": "image", "size": 1},
            {
                "container": "c",
                "name": "image",
                "base_etag": None,
                "headers": {},
                "extents": [[5, "spool"]],
            },
            {
                "container": "c",
                "name": "image",
                "base_etag": None,
                "headers": {},
                "extents": [["x"]],
            },
        ],
        ids=["empty", "half", "without its spool", "nonsense"],
    )
    async def test_a_recipe_that_makes_no_sense_fails_alone(
        self, entry, recover, state, resumption, recipe
    ) -> None:
        await entry.keep(recipe, None, "unmounted", is_told=False)

        await recover(send_again=resumption.send_again)

        (found,) = uploads_in(state)
        assert found.record.state is State.FAILED
        assert found.path.parent == state / "kept"


class TestDamage:
    """Journals that cannot be read stop nothing else."""

    async def test_the_others_are_recovered(
        self, client, dead, entry, recover, state, caplog
    ) -> None:
        other = await Journal(dead, compute).begin("c", "other", None)
        (dead.path / other.token / "journal").write_bytes(b"\0" * 50)
        put_segments(client, "image/slo/new/", b"new0")

        await recover(settle=0)

        assert names_in(client) == []
        assert "damaged journal" in caplog.text
        assert (dead.path / other.token / "journal").exists()


class TestGarbage:
    """What is deleted now or later has an entry until it is gone."""

    async def test_now(self, client, store, entry, state, nursery) -> None:
        put_segments(client, "image/slo/old/", b"old0")

        garbage = Garbage(store, nursery)
        await garbage.discard([("s", "image/slo/old/00000000")], entry)

        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_later(self, client, store, entry, state) -> None:
        put_segments(client, "image/slo/old/", b"old0")
        async with trio.open_nursery() as nursery:
            garbage = Garbage(store, nursery, keep_seconds=0.5)
            await garbage.discard([("s", "image/slo/old/00000000")], entry)
            assert names_in(client) != []
            assert uploads_in(state)[0].record.delete_after > time.time()

        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_what_may_go_later_stays_in_the_journal_and_is_tried_again(
        self, client, store, entry, state, faulty
    ) -> None:
        put_segments(client, "image/slo/old/", b"old0", b"old1")
        faulty.control.inject(Fault(method="DELETE", target="0000$", status=503, count=2))
        objects = [("s", f"image/slo/old/0000000{number}") for number in (0, 1)]

        async with trio.open_nursery() as nursery:
            garbage = Garbage(store, nursery, first_wait=0.2)
            await garbage.discard(objects, entry)
            assert len(uploads_in(state)) == 1
            assert names_in(client) == ["image/slo/old/00000000"]

        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_what_is_refused_is_for_gc(
        self, client, store, entry, state, faulty, nursery
    ) -> None:
        faulty.control.inject(Fault(method="DELETE", status=403, count=None))

        await Garbage(store, nursery).discard([("s", "x")], entry)

        assert uploads_in(state) == []


class TestDeletion:
    """Many objects, some of them ugly."""

    async def test_one_that_cannot_be_deleted_does_not_stop_the_rest(
        self, client, store, faulty, caplog
    ) -> None:
        put_segments(client, "p/", *[b"x"] * 30)
        faulty.control.inject(Fault(method="DELETE", target="p/00000003$", status=403))
        gone: list[tuple[str, str]] = []

        undeleted = await delete_objects(
            store, [("s", f"p/{n:08d}") for n in range(30)], gone.append
        )

        assert names_in(client) == ["p/00000003"]
        assert [(u.name, u.is_worth_another_try) for u in undeleted] == [("p/00000003", False)]
        assert len(gone) == 29
        assert "segments left behind count=1" in caplog.text

    async def test_what_is_gone_already_is_deleted(self, client, store) -> None:
        assert await delete_objects(store, [("s", "nothing"), ("no-such", "thing")]) == []

    async def test_ten_thousand_are_never_many_at_once(self) -> None:
        class CountingStore:
            running = most = deleted = 0

            async def delete_object(self, container, name):
                self.running += 1
                self.most = max(self.most, self.running)
                await trio.lowlevel.checkpoint()
                self.running -= 1
                self.deleted += 1

        store = CountingStore()
        taken = 0

        def names():
            nonlocal taken
            for number in range(10_000):
                taken += 1
                assert taken - store.deleted < 100  # they are not all asked for at once
                yield "s", str(number)

        assert await delete_objects(cast("ImageStore", store), names()) == []

        assert store.deleted == 10_000
        assert store.most <= 16


class TestClaims:
    """What manifests name."""

    async def test_slo_dlo_and_nested(self, client, store) -> None:
        rows = put_segments(client, "a/", b"one", b"two")
        inner = put_slo(client, rows[1:], "inner", "s")
        put_slo(client, [rows[0], {"path": "/s/inner", "etag": inner, "size_bytes": 3}])
        put_segments(client, "d/", b"x", b"y")
        client.put_object("c", "dlo", b"", headers={"X-Object-Manifest": "s/d/"})
        client.put_object("c", "empty", b"")
        put_segments(client, "e/", b"z")
        candidates = {("s", name) for name in names_in(client)}

        claims = await read_claims(store)

        assert claims.unnamed(candidates) == {("s", "e/00000000")}

    async def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(
        self, client, store, faulty
    ) -> None:
        put_slo(client, put_segments(client, "a/", b"one"))
        faulty.control.inject(Fault(method="GET", target="/c/image", status=403, count=None))

        with pytest.raises(errors.ForbiddenError):
            await read_claims(store)

    async def test_a_container_that_cannot_be_listed_is_not_taken_for_empty(
        self, client, store, faulty
    ) -> None:
        faulty.control.inject(Fault(method="GET", target=r"/s\?", status=503, count=None))

        with pytest.raises(errors.StoreUnavailableError):
            await read_claims(store)

    def test_a_nested_manifest_that_nobody_names_keeps_nothing(self) -> None:
        inner, segment, other = ("s", "inner"), ("s", "1"), ("s", "2")
        claims = Claims({inner: Named(frozenset({segment})), ("c", "x"): Named(prefix=other)})

        assert claims.unnamed({inner, segment, other}) == {inner, segment}

    def test_a_prefix_names_what_begins_with_it_alone(self) -> None:
        claims = Claims({("c", "m"): Named(prefix=("c", "x-"))})
        names = {("c", "x-1"), ("c", "x-2/3"), ("c", "x"), ("c", "w"), ("d", "x-1"), ("c", "y")}

        assert claims.unnamed(names) == names - {("c", "x-1"), ("c", "x-2/3")}
