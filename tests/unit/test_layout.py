"""A layout, against the plain bytes that it stands for."""

from __future__ import annotations

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.layout import Extent, Inline, Layout, Source, Stored, Zeros
from tests.support.extents import bytes_of

OBJECT = bytes(range(1, 65))  # no zero in it, so that it cannot be taken for a hole
LONGEST = 16


def content(layout: Layout, offset: int = 0, size: int | None = None) -> bytes:
    wanted = layout.size if size is None else size
    return b"".join(bytes_of(piece, OBJECT) for piece in layout.pieces(offset, wanted))


@st.composite
def pieces(draw: st.DrawFn) -> list[tuple[int, Source]]:
    laid: list[tuple[int, Source]] = []
    for _ in range(draw(st.integers(0, 8))):
        size = draw(st.integers(0, LONGEST))
        source: Source
        match draw(st.sampled_from(["stored", "zeros", "inline"])):
            case "stored":
                start = draw(st.integers(0, len(OBJECT) - LONGEST))
                source = Stored("c", "o", "etag", start, len(OBJECT))
            case "zeros":
                source = Zeros()
            case _:
                source = Inline(memoryview(draw(st.binary(min_size=size, max_size=size))))
        laid.append((size, source))
    return laid


def model(laid: list[tuple[int, Source]]) -> bytes:
    return b"".join(bytes_of(Extent(0, size, source), OBJECT) for size, source in laid)


OFFSETS = st.integers(0, 8 * LONGEST + 5)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(pieces())
def test_extents_cover_the_image_without_gap_or_overlap(laid):
    layout = Layout(laid)

    end = 0
    for extent in layout.extents:
        assert extent.offset == end
        assert extent.size > 0
        end = extent.end
    assert end == layout.size == len(model(laid))


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(pieces(), OFFSETS, OFFSETS)
def test_pieces_are_exactly_the_range_asked_for(laid, offset, size):
    layout = Layout(laid)

    found = list(layout.pieces(offset, size))

    assert content(layout, offset, size) == model(laid)[offset : offset + size]
    assert [piece.offset for piece in found] == [
        offset + sum(piece.size for piece in found[:index]) for index in range(len(found))
    ]
    assert all(piece.size > 0 for piece in found)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(pieces(), OFFSETS, OFFSETS)
def test_a_part_laid_out_again_is_that_part_of_the_image(laid, offset, size):
    part = Layout(Layout(laid).part(offset, size))

    expected = model(laid)[offset : offset + size]
    assert (part.size, content(part)) == (len(expected), expected)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(pieces(), st.lists(OFFSETS, max_size=4))
def test_an_image_cut_anywhere_and_put_together_is_the_same_image(laid, cuts):
    layout = Layout(laid)
    bounds = [0, *sorted(min(cut, layout.size) for cut in cuts), layout.size]

    joined = Layout(
        piece
        for start, end in itertools.pairwise(bounds)
        for piece in layout.part(start, end - start)
    )

    assert content(joined) == model(laid)


def test_an_empty_image_has_no_extents():
    layout = Layout([])

    assert (layout.size, layout.extents, list(layout.pieces(0, 10))) == (0, (), [])


def test_pieces_of_no_size_are_left_out():
    layout = Layout([(0, Zeros()), (3, Zeros()), (0, Stored("c", "o", "e", 0, 9))])

    assert layout.extents == (Extent(0, 3, Zeros()),)


def test_a_clipped_extent_starts_as_far_into_its_object():
    extent = Extent(100, 50, Stored("c", "o", "e", 7, 1000))

    clipped = extent.clip(120, 130)

    assert clipped == Extent(120, 10, Stored("c", "o", "e", 27, 1000))


@pytest.mark.parametrize(("start", "end"), [(0, 1000), (100, 150)])
def test_a_clip_around_an_extent_leaves_it_as_it_is(start, end):
    extent = Extent(100, 50, Stored("c", "o", "e", 7, 1000))

    assert extent.clip(start, end) == extent


def test_clipped_inline_bytes_are_the_ones_of_that_range():
    extent = Extent(10, 5, Inline(memoryview(b"hello")))

    assert bytes_of(extent.clip(11, 14), OBJECT) == b"ell"


def test_the_repr_of_inline_bytes_does_not_show_them():
    assert "secret" not in repr(Inline(memoryview(b"secret")))
