"""Glance's large images are told by all that its driver leaves, and by nothing less."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from swiftimgfs.model.glance_rows import first_unfinished, glance_images
from swiftimgfs.store.records import EMPTY_MD5, Manifest, ObjectRow

ID = "0a0b0c0d-1111-4222-8333-444455556666"
OTHER = "0a0b0c0d-1111-4222-8333-444455556667"


def row(name, size=10, at=1, etag="5" * 32):
    return ObjectRow(name, size, etag, at, "application/octet-stream")


def manifest(name=ID, at=5):
    return row(name, 0, at, EMPTY_MD5)


def segments(*sizes, of=ID):
    return [row(f"{of}-{n:05d}", size, n, f"{n:032x}") for n, size in enumerate(sizes, 1)]


def test_size_and_etag_are_what_swift_makes_of_the_segments():
    (found,) = glance_images("glance", [manifest(), *segments(10, 10, 3)], ())

    etags = "".join(f"{n:032x}" for n in (1, 2, 3))
    assert (found.name, found.size, found.manifest) == (ID, 23, Manifest.DLO)
    assert found.dlo == ("glance", f"{ID}-")
    assert found.etag == hashlib.md5(etags.encode()).hexdigest()


def test_each_image_has_its_own_segments():
    rows = [manifest(), *segments(10, 3), manifest(OTHER), *segments(7, of=OTHER)]

    assert [found.size for found in glance_images("glance", rows, ())] == [13, 7]


@pytest.mark.parametrize(
    "rows",
    [
        [manifest()],
        segments(10, 10),
        [manifest("disk"), row("disk-00001")],
        [row(ID, 4, 5), *segments(10)],
        [manifest(), *segments(10, 10)[1:]],
        [manifest(), *segments(10, 10, 10)[::2]],
        [manifest(), *segments(10, 5, 10)],
        [manifest(), *segments(10, 11)],
        [manifest(), *segments(10, 0)],
        [manifest(), *segments(10), row(f"{ID}-notes")],
        [manifest(at=0), *segments(10)],
        [manifest(), replace(segments(10)[0], slo_etag="x"), *segments(10, 10)[1:]],
    ],
    ids=[
        *("no segments", "no manifest", "no id", "not empty", "first missing", "gap", "uneven"),
        *("last larger", "empty segment", "foreign name", "older than its segments", "nested"),
    ],
)
def test_whatever_differs_has_to_be_asked(rows):
    assert glance_images("glance", rows, ()) == []


def test_a_directory_under_the_prefix_has_to_be_asked():
    assert glance_images("glance", [manifest(), *segments(10)], {ID}) == []


def test_rows_may_end_amid_an_image():
    rows = [row("x"), manifest(), *segments(10, 10)]

    assert first_unfinished(rows) == 1
    assert first_unfinished([*rows, row("z")]) == 5
    assert first_unfinished([]) == 0
