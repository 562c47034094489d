"""How full a mount is: what is mounted counts, and the narrowest quota limits."""

from __future__ import annotations

import pytest

from swiftimgfs.model.usage import UNLIMITED, UNLIMITED_OBJECTS, Usage, usage_of
from swiftimgfs.store.records import account_info, container_info

ACCOUNT = {"x-account-bytes-used": "1000", "x-account-object-count": "30"}
IMAGES = {"x-container-bytes-used": "300", "x-container-object-count": "3"}
SEGMENTS = {"x-container-bytes-used": "600", "x-container-object-count": "20"}


@pytest.mark.parametrize(
    ("quotas", "free", "free_objects"),
    [
        ({}, UNLIMITED, UNLIMITED_OBJECTS),
        ({"x-account-meta-quota-bytes": "5000"}, 4000, UNLIMITED_OBJECTS),
        ({"x-account-quota-bytes": "900", "x-account-quota-count": "31"}, 0, 1),
        ({"x-account-quota-bytes": "many"}, UNLIMITED, UNLIMITED_OBJECTS),
    ],
)
def test_an_account_is_as_full_as_its_quota_says(quotas, free, free_objects):
    usage = usage_of(account_info(ACCOUNT | quotas), [])

    assert usage == Usage(used=1000, free=free, objects=30, free_objects=free_objects)


@pytest.mark.parametrize(
    ("account", "images", "segments", "free"),
    [
        ({}, {}, {}, UNLIMITED),
        ({"x-account-quota-bytes": "1100"}, {"x-container-meta-quota-bytes": "5000"}, {}, 100),
        ({"x-account-quota-bytes": "9000"}, {"x-container-meta-quota-bytes": "350"}, {}, 50),
        ({}, {}, {"x-container-meta-quota-bytes": "610"}, 10),
    ],
)
def test_a_container_counts_with_its_segments_and_the_narrowest_quota_limits(
    account, images, segments, free
):
    containers = [
        container_info("c", IMAGES | images),
        container_info("c_segments", SEGMENTS | segments),
    ]

    usage = usage_of(account_info(ACCOUNT | account), containers)

    assert (usage.used, usage.free, usage.objects) == (900, free, 3)


def test_a_container_s_quota_of_objects_limits_how_many_images_there_may_be():
    images = container_info("c", IMAGES | {"x-container-meta-quota-count": "10"})

    usage = usage_of(account_info({}), [images])

    assert (usage.objects, usage.free_objects) == (3, 7)
