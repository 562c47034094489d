"""Killed after the commit of a change, a removal or a renaming."""

from __future__ import annotations

import time

import pytest
import trio

from swiftimgfs.writing.journal import Journal
from tests.support.journals import compute, uploads_in
from tests.support.leftovers import body_of, etag_of, names_in, put_segments, put_slo


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
