"""Which names count as segments: those that tools give them, and nobody's own."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.store.naming import Naming
from swiftimgfs.store.records import ObjectRow
from swiftimgfs.writing.orphans import Collection, Writer, segment_name
from swiftimgfs.writing.segmenter import prefix_among_images, segments_prefix
from swiftimgfs.writing.upload_record import new_token

UUID = "fdae39a1-ba56-4c7e-9d1b-0123456789ab"
NAMING = Naming("glance")
TOKEN = "1700000000.123456-89abcdef"


@pytest.mark.parametrize(
    ("container", "name", "writer", "prefix"),
    [
        (
            "c_segments",
            f"a/b/slo/{TOKEN}/65536/00000012",
            Writer.OURS,
            f"a/b/slo/{TOKEN}/65536/",
        ),
        ("c_segments", f"a/slo/{TOKEN}/65536/zeros", Writer.OURS, f"a/slo/{TOKEN}/65536/"),
        ("c_segments", f"a/slo/{TOKEN}/65536/copy", Writer.OURS, f"a/slo/{TOKEN}/65536/"),
        ("c_segments", f"a/slo/{TOKEN}/65536/rows-00000001", Writer.OURS, None),
        ("c", f".segments-a-{TOKEN}-00000001", Writer.OURS, f".segments-a-{TOKEN}-"),
        ("c", f"d/.segments-a-{TOKEN}-zeros", Writer.OURS, f"d/.segments-a-{TOKEN}-"),
        ("c", f".segments-a-{TOKEN}-00001", Writer.OURS, f".segments-a-{TOKEN}-"),
        (
            "c_segments",
            "dir/obj/slo/1700000000.123456/1048576/65536/00000003",
            Writer.TOOL,
            "dir/obj/slo/1700000000.123456/1048576/65536/",
        ),
        ("c_segments", "obj/1700000000.123456/1048576/65536/00000003", Writer.TOOL, None),
        ("c_segments", "obj/slo/1700000000.123456/65536/00000000", Writer.TOOL, None),
        ("c_segments", "obj/1700000000.123456789/10485760/00000000", Writer.TOOL, None),
        ("c_segments", "obj/1700000000.123456789/-1/00000000", Writer.TOOL, None),
        ("c", ".file-segments/d/obj/1700000000.123/10485760/00000000", Writer.RCLONE, None),
        ("glance", f"{UUID}-00001", Writer.GLANCE, f"{UUID}-"),
        ("glance_fda", f"{UUID}-00001", Writer.GLANCE, f"{UUID}-"),
        (f"glance_{UUID}", f"{UUID}-00001", Writer.GLANCE, f"{UUID}-"),
    ],
)
def test_segments_are_known(container, name, writer, prefix) -> None:
    found = segment_name(container, name, NAMING)

    assert found is not None
    assert found.writer is writer
    assert name.startswith(found.prefix)
    assert prefix is None or found.prefix == prefix


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ("c", "a"),
        ("c_segments", "a"),
        ("c_segments", "00000001"),
        ("c_segments", "photos/2024/00000001"),
        ("c_segments", "photos/20240101/1/00000001"),  # a date is no time
        ("c_segments", f"/slo/{TOKEN}/65536/00000001"),
        ("c_segments", f"a/slo/{TOKEN}/65536/0000001"),
        ("c_segments", f"a/slo/{TOKEN}/65536/00000001.bak"),
        ("c_segments", f"a/slo/{TOKEN}/65536/readme"),
        ("c", f"a/slo/{TOKEN}/65536/00000001"),  # only in a container of segments
        ("_segments", f"a/slo/{TOKEN}/65536/00000001"),
        ("c", "obj/1700000000.123456/1048576/65536/00000003"),
        ("c", ".segments-a-00000001"),
        ("c", f"segments-a-{TOKEN}-00000001"),
        ("c", ".file-segments/obj/00000001"),
        ("c", f"{UUID}-00001"),  # a container that is not Glance's
        ("glance_segments", f"{UUID}-00001"),
        ("glance", f"{UUID}-1"),
        ("glance", f"{UUID}-000001"),
        ("glance", f"{UUID}-00001.bak"),
        ("glance", "ubuntu-00001"),
        ("glance", f"{UUID}-\u0660\u0660\u0660\u0660\u0661"),  # Unicode's digits
    ],
)
def test_everything_else_is_somebodys_own(container, name) -> None:
    assert segment_name(container, name, NAMING) is None


@hypothesis.given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=1200))
def test_what_we_call_segments_is_known(name: str) -> None:
    hypothesis.assume("" not in name.split("/"))  # no mount has such an image
    token = new_token()
    for container, prefix in (
        ("c_segments", segments_prefix(name, token, 65536, 1024)),
        ("c", prefix_among_images(name, token, 1024)),
    ):
        found = segment_name(container, f"{prefix}00000007", NAMING)
        assert found is not None
        assert (found.writer, found.prefix) == (Writer.OURS, prefix)


def row(name: str, when: int = 0, size: int = 1) -> ObjectRow:
    return ObjectRow(name, size, "etag", when, "x")


def found_in(*rows: tuple[str, ObjectRow], before: int = 100) -> set[tuple[str, str]]:
    collection = Collection(NAMING)
    for container, one in rows:
        collection.see(container, one)
    return set(collection.candidates(before, lambda *_: False))


def test_an_upload_goes_together_or_not_at_all() -> None:
    prefix = f"a/slo/{TOKEN}/1/"
    old, young = row(f"{prefix}00000000", 10), row(f"{prefix}00000001", 200)
    other = row(f"b/slo/{TOKEN}/1/00000000", 10)

    found = found_in(("c_segments", old), ("c_segments", young), ("c_segments", other))

    assert found == {("c_segments", other.name)}


def test_glances_segments_count_only_without_their_image() -> None:
    segment = row(f"{UUID}-00001")

    assert found_in(("glance", segment)) == {("glance", segment.name)}
    assert found_in(("glance", row(UUID)), ("glance", segment)) == set()
    assert found_in(("glance", segment), ("glance", row(UUID))) == set()
    assert found_in(("glance_1", row(UUID)), ("glance", segment)) == {("glance", segment.name)}


def test_what_is_spared_stays() -> None:
    collection = Collection(NAMING)
    collection.see("glance", row(f"{UUID}-00001"))

    assert collection.candidates(100, lambda container, _name: container == "glance") == {}
