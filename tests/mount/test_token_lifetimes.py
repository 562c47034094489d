"""A mount that lives longer than any of its tokens, and is busy all the time."""

from __future__ import annotations

import os
import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.cloud import Cloud, cloud
from tests.support.mounts import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.mount, pytest.mark.alone, pytest.mark.timeout(240)]

LIFETIME = 6  # seconds: a busy machine takes two for a request with a new token
LIFETIMES = 4
MIB = 1024**2
# Small enough for what is read to come from Swift each time it is read.
OPTIONS = "segment_size=1M,memory_limit=16M,attr_timeout=0,list_timeout=0"


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("short-lived")
    with cloud(directory, token_expiration=LIFETIME) as running:
        yield running


def write_and_compare(directory: Path) -> int:
    """Store an image of three segments, and read it back."""
    data = os.urandom(3 * MIB - 1)
    image = directory / "written"
    image.write_bytes(data)
    assert image.read_bytes() == data
    return 2


def read_large(directory: Path, expected: bytes) -> int:
    """Read an image that is larger than all caches, from Swift."""
    with (directory / "large").open("rb") as image:
        os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert image.read() == expected
    return 1


def look_around(directory: Path) -> int:
    """List, ask and set: one request each, at the least."""
    names = os.listdir(directory)
    assert "large" in names
    for name in names:
        os.stat(directory / name)
    os.utime(directory / "large", (1, 1))
    return len(names) + 2


def test_no_call_fails_in_three_lifetimes_of_a_token(openstack: Cloud, tmp_path: Path) -> None:
    large = os.urandom(24 * MIB)
    failures: list[BaseException] = []
    calls: list[int] = []

    def keep_busy(work: Callable[[], int], until: float) -> None:
        try:
            while time.monotonic() < until:
                calls.append(work())
        except BaseException as failure:  # noqa: BLE001  # told by the test itself
            failures.append(failure)

    with mounted(tmp_path, openstack.environ(), OPTIONS) as running:
        images = running.path / "images"
        images.mkdir()
        (images / "large").write_bytes(large)
        until = time.monotonic() + LIFETIMES * LIFETIME
        workers = [
            threading.Thread(target=keep_busy, args=(work, until))
            for work in (
                lambda: write_and_compare(images),
                lambda: read_large(images, large),
                lambda: look_around(images),
            )
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    log = running.log.read_text()
    assert failures == []
    assert sum(calls) > 50
    assert " ERROR " not in log


def test_a_trust_carries_a_mount_beyond_its_caller_s_token(
    openstack: Cloud, tmp_path: Path
) -> None:
    glance = tmp_path / "glance-api.conf"
    glance.write_text(
        f"""[glance_store]
swift_store_multi_tenant = True
swift_store_auth_address = {openstack.keystone.auth_url}
swift_store_user = service:glance
swift_store_key = glance
swift_store_create_container_on_put = True
"""
    )
    token = openstack.session().get_token()
    assert token
    image_id, data = str(uuid.uuid4()), os.urandom(MIB)

    options = f"{OPTIONS},layout=images"
    environ = {"OS_AUTH_TOKEN": token}
    with mounted(tmp_path, environ, options, f"glance:{glance}") as running:
        during = trusts_of(openstack)
        until = time.monotonic() + 3 * LIFETIME
        while time.monotonic() < until:
            (running.path / image_id).write_bytes(data)
            assert (running.path / image_id).read_bytes() == data
        location = os.getxattr(running.path / image_id, "user.swift.location").decode()
    log = running.log.read_text()

    assert [trust["impersonation"] for trust in during] == [True]
    assert location == (f"swift+{openstack.storage_url('demo')}/glance_{image_id}/{image_id}")
    assert trusts_of(openstack) == []
    assert token not in log


def trusts_of(running: Cloud) -> list[dict[str, object]]:
    url = f"{running.keystone.auth_url}/OS-TRUST/trusts"
    found: list[dict[str, object]] = running.session("admin", "admin").get(url).json()["trusts"]
    return found
