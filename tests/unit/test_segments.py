"""Segments are what manifests name, never what looks like one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swiftimgfs.model.segments import SegmentRegistry
from swiftimgfs.store.records import ImageInfo, Manifest

PLAIN = ImageInfo("c", "image", 10, "etag", 0)
DLO = replace(PLAIN, manifest=Manifest.DLO, dlo=("c", "image-"))
SLO = replace(PLAIN, manifest=Manifest.SLO)
PARTS = (("c_segments", "image/1"), ("c_segments", "image/2"))


@pytest.fixture
def registry():
    return SegmentRegistry()


def test_nothing_is_a_segment_without_a_manifest(registry):
    registry.note(PLAIN, ())

    assert not registry.is_segment("c", "image-00001")
    assert not registry.is_segment("c_segments", "image/slo/1/2/00000000")


def test_whatever_lies_under_a_dlos_prefix_is_its_segment(registry):
    registry.note(DLO, ())

    assert registry.is_segment("c", "image-00001")
    assert registry.is_segment("c", "image-")
    assert not registry.is_segment("c", "image")
    assert not registry.is_segment("c", "imag")
    assert not registry.is_segment("c", "other-00001")
    assert not registry.is_segment("other", "image-00001")


def test_exactly_what_an_slo_names_is_its_segment(registry):
    registry.note(SLO, PARTS)

    assert registry.is_segment("c_segments", "image/1")
    assert not registry.is_segment("c_segments", "image/3")
    assert not registry.is_segment("c", "image/1")
    assert not registry.is_segment("c", "image")


def test_a_manifest_is_an_image_even_where_another_manifest_names_it(registry):
    nested = replace(SLO, container="c_segments", name="image/1")

    registry.note(SLO, PARTS)
    registry.note(nested, (("x", "y"),))

    assert not registry.is_segment("c_segments", "image/1")
    assert registry.is_segment("c_segments", "image/2")


def test_a_manifest_under_its_own_prefix_is_an_image(registry):
    registry.note(replace(DLO, dlo=("c", "image")), ())

    assert not registry.is_segment("c", "image")
    assert registry.is_segment("c", "image-00001")


@pytest.mark.parametrize("info", [DLO, SLO])
def test_segments_of_a_forgotten_manifest_are_images_again(registry, info):
    registry.note(info, PARTS)

    registry.forget("c", "image")

    assert not registry.is_segment("c", "image-00001")
    assert not registry.is_segment("c_segments", "image/1")


def test_forgetting_what_was_never_noted_is_nothing(registry):
    registry.note(SLO, PARTS)

    registry.forget("c", "other")

    assert registry.is_segment("c_segments", "image/1")


def test_what_two_manifests_name_is_a_segment_until_both_are_gone(registry):
    registry.note(SLO, PARTS)
    registry.note(replace(SLO, name="copy"), PARTS)
    registry.note(DLO, ())
    registry.note(replace(DLO, name="twin"), ())

    registry.forget("c", "image")
    after_one = registry.is_segment("c_segments", "image/1")
    after_one_dlo = registry.is_segment("c", "image-1")
    registry.forget("c", "copy")
    registry.forget("c", "twin")

    assert (after_one, after_one_dlo) == (True, True)
    assert not registry.is_segment("c_segments", "image/1")
    assert not registry.is_segment("c", "image-1")


def test_noting_a_manifest_twice_counts_it_once(registry):
    registry.note(SLO, PARTS)
    registry.note(SLO, PARTS)

    registry.forget("c", "image")

    assert not registry.is_segment("c_segments", "image/1")


def test_a_manifest_replaced_by_a_plain_image_names_nothing_any_more(registry):
    registry.note(SLO, PARTS)

    registry.note(PLAIN, ())

    assert not registry.is_segment("c_segments", "image/1")


def test_prefixes_of_different_lengths_are_all_found(registry):
    for name in ("a", "bb", "ccc"):
        registry.note(replace(DLO, name=name, dlo=("c", f"{name}-")), ())

    found = [registry.is_segment("c", name) for name in ("a-1", "bb-1", "ccc-1", "dddd-1")]

    assert found == [True, True, True, False]
