"""What manifests name, and what nobody may take for unnamed."""

from __future__ import annotations

import pytest

from swiftimgfs import errors
from swiftimgfs.writing.claims import Claims, Named, read_claims
from swiftimgfs.writing.sight import Sight, image_now
from tests.support.fault_control import Fault
from tests.support.leftovers import names_in, put_segments, put_slo


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

    async def test_what_is_renamed_while_it_is_read_names_the_same(
        self, client, store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = put_segments(client, "a/", b"one")
        put_slo(client, rows, "z")
        renaming = iter([("z", "a"), ("a", "b")])
        read = store.slo_rows

        async def slo_rows(container: str, name: str):
            for old, new in renaming:
                put_slo(client, rows, new)
                client.delete_object("c", old)
                break
            return await read(container, name)

        monkeypatch.setattr(store, "slo_rows", slo_rows)

        claims = await read_claims(store)

        assert claims.unnamed({("s", "a/00000000")}) == set()

    async def test_nothing_is_known_while_images_are_renamed_all_the_time(
        self, client, store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = put_segments(client, "a/", b"one")
        put_slo(client, rows, "0")
        read = store.slo_rows

        async def slo_rows(container: str, name: str):
            put_slo(client, rows, str(int(name) + 1))
            client.delete_object(container, name)
            return await read(container, name)

        monkeypatch.setattr(store, "slo_rows", slo_rows)

        with pytest.raises(errors.StoreUnavailableError, match="all the time"):
            await read_claims(store)

    async def test_a_row_without_an_object_names_nothing(
        self, client, store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_slo(client, put_segments(client, "a/", b"one"))

        async def slo_rows(container: str, name: str):
            raise errors.NotFoundError(f"{container}/{name}")

        monkeypatch.setattr(store, "slo_rows", slo_rows)

        claims = await read_claims(store)

        assert claims.unnamed({("s", "a/00000000")}) == {("s", "a/00000000")}

    def test_a_nested_manifest_that_nobody_names_keeps_nothing(self) -> None:
        inner, segment, other = ("s", "inner"), ("s", "1"), ("s", "2")
        claims = Claims({inner: Named(frozenset({segment})), ("c", "x"): Named(prefix=other)})

        assert claims.unnamed({inner, segment, other}) == {inner, segment}

    def test_a_prefix_names_what_begins_with_it_alone(self) -> None:
        claims = Claims({("c", "m"): Named(prefix=("c", "x-"))})
        names = {("c", "x-1"), ("c", "x-2/3"), ("c", "x"), ("c", "w"), ("d", "x-1"), ("c", "y")}

        assert claims.unnamed(names) == names - {("c", "x-1"), ("c", "x-2/3")}


async def test_an_image_that_lost_a_nested_manifest_may_name_anything(client, store) -> None:
    rows = put_segments(client, "a/", b"one", b"two")
    inner = put_slo(client, rows[1:], "inner", "s")
    put_slo(client, [rows[0], {"path": "/s/inner", "etag": inner, "size_bytes": 3}])
    client.delete_object("s", "inner")

    image = await image_now(store.newest(), "c", "image")

    assert image is not None
    assert image.lost == (("s", "inner"),)
    assert Sight(image, frozenset()).not_named([("s", "a/00000001")]) == set()


async def test_a_nested_manifest_that_is_gone_makes_nothing_of_others_unnamed(
    client, store
) -> None:
    rows = put_segments(client, "a/", b"one", b"two")
    inner = put_slo(client, rows[1:], "inner", "s")
    put_slo(client, [rows[0], {"path": "/s/inner", "etag": inner, "size_bytes": 3}])
    put_slo(client, rows[1:], "other")
    put_segments(client, "e/", b"z")
    client.delete_object("s", "inner")

    claims = await read_claims(store)

    assert claims.unnamed({("s", name) for name in names_in(client)}) == {("s", "e/00000000")}
