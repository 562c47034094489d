"""Killed before the commit: nothing names what was stored."""

from __future__ import annotations

import os
import time

import trio

from swiftimgfs.writing.journal import Journal
from tests.support.journals import compute, uploads_in
from tests.support.leftovers import SETTLE, body_of, names_in, put_segments, put_slo


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
