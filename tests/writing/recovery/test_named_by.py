"""Which images name a version: noted with a segment of it, and asked for before others go."""

from __future__ import annotations

import pytest

from swiftimgfs import errors
from swiftimgfs.writing.doomed import Doomed, remove_again, unnamed
from swiftimgfs.writing.named_by import anchor_of, named_by, note_named_by
from tests.support.fault_control import Fault
from tests.support.leftovers import names_in, put_segments, put_slo

ANCHOR = "s", "image/slo/old/00000000"
OTHER = "s", "image/slo/old/00000001"
IMAGE, NEW = ("c", "image"), ("c", "new name/of it é")


@pytest.fixture
def rows(client):
    """Store two segments of an image; return their rows."""
    return put_segments(client, "image/slo/old/", b"old0", b"old1")


class TestNotes:
    """What is kept with the first segment."""

    async def test_names_are_known_afterwards(self, client, store, rows) -> None:
        await note_named_by(store, ANCHOR, IMAGE, NEW)
        await note_named_by(store, ANCHOR, IMAGE)

        assert await named_by(store, ANCHOR) == [NEW, IMAGE]
        assert client.get_object(*ANCHOR)[1] == b"old0"

    async def test_what_was_kept_with_the_segment_stays(self, client, store, rows) -> None:
        headers = {"X-Object-Meta-Mtime": "1.5", "X-Delete-After": "3600"}
        client.post_object(*ANCHOR, headers)

        await note_named_by(store, ANCHOR, NEW)

        kept = client.head_object(*ANCHOR)
        assert kept["x-object-meta-mtime"] == "1.5"
        assert "x-delete-at" in kept

    async def test_the_latest_names_count_and_the_longest_fit(self, store, rows) -> None:
        names = [("c", f"{number}é" * 200) for number in range(9)]
        for name in names:
            await note_named_by(store, ANCHOR, name)

        assert (await named_by(store, ANCHOR))[-1] == names[-1]
        for number in range(9):
            await note_named_by(store, ANCHOR, ("c", str(number)))
        assert await named_by(store, ANCHOR) == [("c", str(number)) for number in range(5, 9)]

    async def test_nobody_noted_anything_with_what_is_gone(self, store) -> None:
        await note_named_by(store, ANCHOR, IMAGE)

        assert await named_by(store, ANCHOR) == []

    async def test_who_may_not_change_segments_notes_nothing(
        self, store, rows, faulty, caplog
    ) -> None:
        faulty.control.inject(Fault(method="POST", status=403))

        with caplog.at_level("INFO"):
            await note_named_by(store, ANCHOR, IMAGE)

        assert "new name not noted image=c/image" in caplog.text

    async def test_a_note_that_may_be_made_later_is_a_failure(
        self, store, rows, faulty
    ) -> None:
        faulty.control.inject(Fault(method="POST", status=503, count=None))

        with pytest.raises(errors.StoreUnavailableError):
            await note_named_by(store, ANCHOR, IMAGE)

    def test_an_anchor_is_the_same_in_whatever_order_parts_are_known(self) -> None:
        assert anchor_of([OTHER, ANCHOR]) == anchor_of([ANCHOR, OTHER]) == ANCHOR
        assert anchor_of([]) is None


class TestUnnamed:
    """What may be deleted of a version."""

    async def test_all_of_it_where_nothing_has_the_name(self, store, rows) -> None:
        doomed = Doomed([ANCHOR, OTHER], None, IMAGE, ANCHOR)

        assert set(await unnamed(store.newest(), doomed)) == {ANCHOR, OTHER}

    async def test_not_what_the_image_names_now(self, client, store, rows) -> None:
        put_slo(client, rows[1:])
        doomed = Doomed([ANCHOR, OTHER], None, IMAGE, ANCHOR)

        assert set(await unnamed(store.newest(), doomed)) == {ANCHOR}

    async def test_not_what_it_names_under_a_new_name(self, client, store, rows) -> None:
        put_slo(client, rows[:1], name=NEW[1])
        await note_named_by(store, ANCHOR, IMAGE, NEW)
        doomed = Doomed([ANCHOR, OTHER], None, IMAGE, ANCHOR)

        assert set(await unnamed(store.newest(), doomed)) == {OTHER}

    async def test_images_that_share_segments_know_each_other_from_then_on(
        self, client, store, rows
    ) -> None:
        put_slo(client, rows, name=NEW[1])
        put_slo(client, rows[1:])
        await note_named_by(store, ANCHOR, NEW)

        await unnamed(store.newest(), Doomed([], None, IMAGE, ANCHOR))

        assert await named_by(store, OTHER) == [NEW]
        assert await named_by(store, ANCHOR) == [NEW, IMAGE]

    async def test_nothing_when_it_cannot_be_known(self, store, rows, faulty) -> None:
        faulty.control.inject(Fault(method="HEAD", status=503, count=None))

        with pytest.raises(errors.StoreUnavailableError):
            await unnamed(store.newest(), Doomed([OTHER], None, IMAGE, ANCHOR))


class TestRemovedAgain:
    """A removed image that comes back."""

    async def test_of_segments_that_are_gone_it_goes_again_with_what_is_new(
        self, client, store, rows
    ) -> None:
        new = put_segments(client, "image/slo/new/", b"new0")
        put_slo(client, [*new, *rows])
        client.delete_object(*ANCHOR)
        client.delete_object(*OTHER)

        await remove_again(store.newest(), Doomed([ANCHOR, OTHER], None, IMAGE, ANCHOR))

        assert (names_in(client, "c"), names_in(client)) == ([], [])

    async def test_under_the_names_of_before_it_stays(self, client, store, rows) -> None:
        put_slo(client, rows)

        await remove_again(store.newest(), Doomed([ANCHOR, OTHER], None, IMAGE, ANCHOR))

        assert (names_in(client, "c"), len(names_in(client))) == (["image"], 2)

    async def test_of_other_segments_it_stays(self, client, store) -> None:
        put_slo(client, put_segments(client, "image/slo/new/", b"new0"))

        await remove_again(store.newest(), Doomed([ANCHOR, OTHER], None, IMAGE, ANCHOR))

        assert names_in(client, "c") == ["image"]
