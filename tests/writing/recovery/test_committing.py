"""Killed while the manifest was on its way: it may have been stored or not."""

from __future__ import annotations

import time

import trio

from swiftimgfs.writing.journal import Journal
from tests.support.fault_control import Fault
from tests.support.journals import compute, uploads_in
from tests.support.leftovers import SETTLE, body_of, etag_of, names_in, put_segments, put_slo


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
