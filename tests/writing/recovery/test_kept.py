"""Uploads whose bytes are here, and entries of a journal that are damaged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from swiftimgfs import errors
from swiftimgfs.writing.budget import DirtyBudget
from swiftimgfs.writing.journal import Journal
from swiftimgfs.writing.parts import WriteParts
from swiftimgfs.writing.resumption import Resumption
from swiftimgfs.writing.upload_record import State
from tests.support.journals import compute, uploads_in
from tests.support.leftovers import names_in, put_segments

if TYPE_CHECKING:
    from swiftimgfs.reading.fetcher import Fetcher


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
