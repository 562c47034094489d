"""Objects that nobody needs: deleted now or later, and however many."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import trio

from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.doomed import Doomed
from swiftimgfs.writing.garbage import OTHERS_COMMIT, Garbage
from tests.support.fault_control import Fault
from tests.support.journals import uploads_in
from tests.support.leftovers import names_in, put_segments

if TYPE_CHECKING:
    from swiftimgfs.store.image_store import ImageStore


class TestGarbage:
    """What is deleted now or later has an entry until it is gone."""

    async def test_now(self, client, store, entry, state, nursery) -> None:
        put_segments(client, "image/slo/old/", b"old0")

        garbage = Garbage(store, nursery)
        doomed = [("s", "image/slo/old/00000000")]
        await garbage.discard(Doomed(doomed, entry, ("c", "image"), is_removed=True))

        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_later(self, client, store, entry, state) -> None:
        put_segments(client, "image/slo/old/", b"old0")
        async with trio.open_nursery() as nursery:
            garbage = Garbage(store, nursery, keep_seconds=2.5)
            await garbage.discard(Doomed([("s", "image/slo/old/00000000")], entry))
            assert names_in(client) != []
            assert uploads_in(state)[0].record.delete_after > time.time()

        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_what_was_replaced_goes_a_moment_later_or_when_that_is_asked_for(
        self, client, store, entry, state, nursery
    ) -> None:
        put_segments(client, "image/slo/old/", b"old0", b"old1")
        garbage = Garbage(store, nursery)
        begun = trio.current_time()

        await garbage.discard(Doomed([("s", "image/slo/old/00000000")], entry, ("c", "image")))
        await garbage.discard(Doomed([("s", "image/slo/old/00000001")], None, ("o", "image")))
        await garbage.hurry("another")
        assert len(names_in(client)) == 2
        await garbage.hurry("c")
        assert names_in(client) == ["image/slo/old/00000001"]
        assert uploads_in(state) == []
        await garbage.hurry("s")

        assert names_in(client) == []
        assert trio.current_time() - begun < OTHERS_COMMIT

    async def test_what_waits_for_a_moment_goes_at_its_end_though_the_mount_ends(
        self, client, store, entry, state
    ) -> None:
        put_segments(client, "image/slo/old/", b"old0")
        begun = trio.current_time()

        async with trio.open_nursery() as nursery:
            doomed = Doomed([("s", "image/slo/old/00000000")], entry, ("c", "image"))
            await Garbage(store, nursery).discard(doomed)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

        assert trio.current_time() - begun > OTHERS_COMMIT - 0.1
        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_what_is_kept_for_long_is_left_to_the_next_mount(
        self, client, store, entry, state
    ) -> None:
        put_segments(client, "image/slo/old/", b"old0")

        async with trio.open_nursery() as nursery:
            garbage = Garbage(store, nursery, keep_seconds=600)
            await garbage.discard(Doomed([("s", "image/slo/old/00000000")], entry))
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

        assert names_in(client) == ["image/slo/old/00000000"]
        assert uploads_in(state)[0].record.delete_after > time.time() + 500

    async def test_what_may_go_later_stays_in_the_journal_and_is_tried_again(
        self, client, store, entry, state, faulty
    ) -> None:
        put_segments(client, "image/slo/old/", b"old0", b"old1")
        faulty.control.inject(Fault(method="DELETE", target="0000$", status=503, count=2))
        objects = [("s", f"image/slo/old/0000000{number}") for number in (0, 1)]

        async with trio.open_nursery() as nursery:
            garbage = Garbage(store, nursery, first_wait=0.2)
            await garbage.discard(Doomed(objects, entry, is_removed=True))
            assert len(uploads_in(state)) == 1
            assert names_in(client) == ["image/slo/old/00000000"]

        assert names_in(client) == []
        assert uploads_in(state) == []

    async def test_what_is_refused_is_for_gc(
        self, client, store, entry, state, faulty, nursery
    ) -> None:
        faulty.control.inject(Fault(method="DELETE", status=403, count=None))

        await Garbage(store, nursery).discard(Doomed([("s", "x")], entry, is_removed=True))

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
