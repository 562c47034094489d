"""Containers are named as Glance names them; its images are recognised, and nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.errors import ConfigError
from swiftimgfs.store.naming import Naming, glance_image_claiming
from swiftimgfs.store.records import ImageInfo

if TYPE_CHECKING:
    import uuid

ID = "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f"
UPSTREAM_ID = "fdae39a1-bac5-4238-aba4-69bcc726e848"
SEEDS = st.integers(0, 32)
IDS = st.uuids().map(str)


def image(container: str, name: str, **metadata: str) -> ImageInfo:
    return ImageInfo(container, name, 1, "etag", 0, metadata=metadata)


# ── an image's container ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seed", "container"),
    [
        (0, "randomname"),
        (1, "randomname_f"),
        (3, "randomname_fda"),
        (8, "randomname_fdae39a1"),
        (9, "randomname_fdae39a1-b"),
        (10, "randomname_fdae39a1-ba"),
        (13, "randomname_fdae39a1-bac5-"),
        (32, f"randomname_{UPSTREAM_ID}"),
    ],
)
def test_a_container_is_named_by_as_many_digits_as_the_seed_says(seed, container):
    assert Naming("randomname", seed).container_of(UPSTREAM_ID) == container


def test_its_digits_are_lower_case():
    assert Naming(seed=3).container_of(UPSTREAM_ID.upper()) == "glance_fda"


@hypothesis.given(SEEDS)
def test_with_many_tenants_an_image_has_its_own_container_whatever_the_seed(seed):
    naming = Naming(seed=seed, is_multi_tenant=True)

    assert naming.container_of(UPSTREAM_ID.upper()) == f"glance_{UPSTREAM_ID.upper()}"


@pytest.mark.parametrize("seed", [None, -1, 33, 10**9])
@pytest.mark.parametrize("is_multi_tenant", [False, True])
def test_a_seed_beyond_the_digits_of_an_id_is_refused(seed: Any, is_multi_tenant):
    with pytest.raises(ConfigError, match="swift_store_multiple_containers_seed"):
        Naming(seed=seed, is_multi_tenant=is_multi_tenant)


@pytest.mark.parametrize("container", [None, ""])
@pytest.mark.parametrize("is_multi_tenant", [False, True])
def test_a_container_without_a_name_is_refused(container: Any, is_multi_tenant):
    with pytest.raises(ConfigError, match="swift_store_container"):
        Naming(container, is_multi_tenant=is_multi_tenant)


# ── Glance's containers ────────────────────────────────────────────────────────────────


@hypothesis.given(IDS | IDS.map(str.upper), SEEDS, SEEDS, st.booleans(), st.booleans())
def test_what_any_seed_named_is_a_container_of_the_store(
    image_id, seed, other_seed, is_multi_tenant, was_multi_tenant
):
    now = Naming("my_images", seed, is_multi_tenant)
    before = Naming("my_images", other_seed, was_multi_tenant)

    assert now.is_store_container(before.container_of(image_id))


@pytest.mark.parametrize(
    "container",
    [
        "",
        "images",
        "glances",
        "glance_",
        "glance_segments",
        "glance_0a_segments",
        "my_glance",
        "glance-0a",
        "Glance",
        "glance_0x",
        f"glance_{ID}0",
        "glance_0a\n",
    ],
)
def test_other_containers_are_not_of_the_store(container):
    assert not Naming().is_store_container(container)


# ── Glance's images ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("container", ["glance", "glance_0a", "glance_0a1b2c3d"])
@pytest.mark.parametrize("name", [ID, ID.upper()])
def test_an_image_id_in_a_glance_container_is_glances(container, name):
    assert Naming().is_glance_image(image(container, name))


@pytest.mark.parametrize("container", ["images", "glances", "my_glance", "glance-0a", "Glance"])
def test_in_another_container_it_is_not(container):
    assert not Naming().is_glance_image(image(container, ID))


@pytest.mark.parametrize("container", ["pictures", "pictures_0a"])
def test_glances_container_may_have_another_name(container):
    assert Naming("pictures").is_glance_image(image(container, ID))
    assert not Naming("pictures").is_glance_image(image("glance", ID))


@pytest.mark.parametrize("name", ["disk.qcow2", ID[:-1], f"{ID}0", f"{ID}-00001", f"a/{ID}"])
def test_under_another_name_it_is_not(name):
    assert not Naming().is_glance_image(image("glance", name))


def test_what_carries_an_mtime_was_written_by_somebody_else():
    assert not Naming().is_glance_image(image("glance", ID, mtime="1.0"))


def test_other_metadata_does_not_make_it_somebody_elses():
    assert Naming().is_glance_image(image("glance", ID, os="linux"))


@hypothesis.given(st.uuids(), SEEDS, st.booleans())
def test_whatever_glance_stores_is_glances(image_id: uuid.UUID, seed, is_multi_tenant):
    naming = Naming("images", seed, is_multi_tenant)

    assert naming.is_glance_image(image(naming.container_of(str(image_id)), str(image_id)))


# ── Glance's segments ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [f"{ID}-00001", f"{ID}-x"])
def test_a_name_that_starts_with_an_id_would_be_that_images_segment(name):
    assert glance_image_claiming(name) == ID


@pytest.mark.parametrize("name", [ID, f"{ID}-", "disk-00001", f"x{ID}-00001", f"{ID}.raw"])
def test_any_other_name_would_be_nobodys(name):
    assert glance_image_claiming(name) is None
