"""What manifests name, and what nobody may take for unnamed."""

from __future__ import annotations

import pytest

from swiftimgfs import errors
from swiftimgfs.writing.claims import Claims, Named, read_claims
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

    def test_a_nested_manifest_that_nobody_names_keeps_nothing(self) -> None:
        inner, segment, other = ("s", "inner"), ("s", "1"), ("s", "2")
        claims = Claims({inner: Named(frozenset({segment})), ("c", "x"): Named(prefix=other)})

        assert claims.unnamed({inner, segment, other}) == {inner, segment}

    def test_a_prefix_names_what_begins_with_it_alone(self) -> None:
        claims = Claims({("c", "m"): Named(prefix=("c", "x-"))})
        names = {("c", "x-1"), ("c", "x-2/3"), ("c", "x"), ("c", "w"), ("d", "x-1"), ("c", "y")}

        assert claims.unnamed(names) == names - {("c", "x-1"), ("c", "x-2/3")}
