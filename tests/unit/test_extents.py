"""An image that is being changed, against the plain bytes that it stands for."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.layout import Extent, Inline, Layout, Source, Spooled, Stored, Zeros
from swiftimgfs.writing.extents import ExtentMap
from tests.support.extents import bytes_of

OBJECT = bytes(range(1, 201))
LONGEST = 60


class MemoryFile:
    """A spool file that is in memory."""

    def __init__(self) -> None:
        self.data = bytearray(4 * LONGEST * 40)

    def read(self, position: int, size: int) -> bytes:
        return bytes(self.data[position : position + size])


def content(extents: list[Extent]) -> bytes:
    return b"".join(bytes_of(extent, OBJECT) for extent in extents)


def begun() -> tuple[ExtentMap, bytearray]:
    pieces: list[tuple[int, Source]] = [
        (40, Stored("c", "o", "e", 0, len(OBJECT))),
        (20, Stored("c", "o", "e", 100, len(OBJECT))),
        (30, Zeros()),
    ]
    return ExtentMap(pieces), bytearray(OBJECT[:40] + OBJECT[100:120] + bytes(30))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["memory", "spool", "zeros", "truncate"]),
        st.integers(0, 4 * LONGEST),
        st.binary(min_size=1, max_size=LONGEST),
    ),
    max_size=40,
)


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(STEPS)
def test_any_history_of_changes_reads_like_plain_bytes(steps):
    image, plain = begun()
    file = MemoryFile()

    for kind, where, data in steps:
        if kind == "truncate":
            image.truncate(where)
            plain = bytearray(bytes(plain[:where]).ljust(where, b"\0"))
            continue
        offset = min(where, len(plain))
        written = bytes(len(data)) if kind == "zeros" else data
        source: Source = Zeros() if kind == "zeros" else Inline(memoryview(data))
        if kind == "spool":
            file.data[offset : offset + len(data)] = data
            source = Spooled(file, offset)
        image.replace(offset, len(data), [(len(data), source)])
        plain[offset : offset + len(data)] = written

        assert content(list(image.extents)) == bytes(plain)

    assert image.size == len(plain)
    assert content(list(image.snapshot().extents)) == bytes(plain)
    for start in range(0, len(plain), 7):
        assert content(image.pieces(start, start + 23)) == bytes(plain[start : start + 23])


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(STEPS)
def test_what_is_counted_is_what_is_there(steps):
    image, _ = begun()
    for kind, where, data in steps:
        sources: dict[str, Source] = {
            "memory": Inline(memoryview(data)),
            "spool": Spooled(MemoryFile(), where),
        }
        if kind == "truncate":
            image.truncate(where)
        else:
            offset = min(where, image.size)
            image.replace(offset, len(data), [(len(data), sources.get(kind, Zeros()))])

    def total(kind: type) -> int:
        return sum(e.size for e in image.extents if isinstance(e.source, kind))

    counted = image.memory, image.spooled, image.zeros
    assert counted == (total(Inline), total(Spooled), total(Zeros))


def test_zeros_beside_zeros_are_one_extent():
    image = ExtentMap([(10, Zeros())])

    image.truncate(20)
    image.replace(5, 10, [(10, Zeros())])

    assert [(e.offset, e.size) for e in image.extents] == [(0, 20)]


def test_a_part_that_gets_back_what_it_had_is_one_with_its_neighbours():
    image = ExtentMap([(100, Stored("c", "o", "e", 0, 100))])
    image.replace(40, 10, [(10, Zeros())])

    image.replace(40, 10, [(10, Stored("c", "o", "e", 40, 100))])

    assert [(e.offset, e.size) for e in image.extents] == [(0, 100)]


def test_neighbours_in_the_spool_are_one_extent():
    image, file = ExtentMap(), MemoryFile()

    for offset in range(0, 50, 10):
        image.replace(offset, 10, [(10, Spooled(file, offset))])

    assert len(image.extents) == 1


def test_a_snapshot_does_not_change_with_the_image():
    image = ExtentMap([(10, Zeros())])
    snapshot = image.snapshot()

    image.truncate(5)

    assert (snapshot.size, image.snapshot().size) == (10, 5)
    assert isinstance(snapshot, Layout)


@pytest.mark.parametrize("at", [0, 9, 10, 11])
def test_what_lies_at_an_offset_is_found(at):
    image = ExtentMap([(10, Zeros()), (1, Inline(memoryview(b"x")))])

    found = image.at(at)

    assert (found is None) == (at == 11)
    if found is not None:
        assert found.offset <= at < found.end
