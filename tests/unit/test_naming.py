"""Glance's images are recognised, and nobody else's."""

from __future__ import annotations

import pytest

from swiftimgfs.store.naming import glance_image_claiming, is_glance_image
from swiftimgfs.store.records import ImageInfo

ID = "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f"


def image(container: str, name: str, **metadata: str) -> ImageInfo:
    return ImageInfo(container, name, 1, "etag", 0, metadata=metadata)


@pytest.mark.parametrize("container", ["glance", "glance_0a", "glance_0a1b2c3d"])
@pytest.mark.parametrize("name", [ID, ID.upper()])
def test_an_image_id_in_a_glance_container_is_glances(container, name):
    assert is_glance_image(image(container, name))


@pytest.mark.parametrize("container", ["images", "glances", "my_glance", "glance-0a", "Glance"])
def test_in_another_container_it_is_not(container):
    assert not is_glance_image(image(container, ID))


@pytest.mark.parametrize("name", ["disk.qcow2", ID[:-1], f"{ID}0", f"{ID}-00001", f"a/{ID}"])
def test_under_another_name_it_is_not(name):
    assert not is_glance_image(image("glance", name))


def test_what_carries_an_mtime_was_written_by_somebody_else():
    assert not is_glance_image(image("glance", ID, mtime="1.0"))


def test_other_metadata_does_not_make_it_somebody_elses():
    assert is_glance_image(image("glance", ID, os="linux"))


@pytest.mark.parametrize("name", [f"{ID}-00001", f"{ID}-x"])
def test_a_name_that_starts_with_an_id_would_be_that_images_segment(name):
    assert glance_image_claiming(name) == ID


@pytest.mark.parametrize("name", [ID, f"{ID}-", "disk-00001", f"x{ID}-00001", f"{ID}.raw"])
def test_any_other_name_would_be_nobodys(name):
    assert glance_image_claiming(name) is None
