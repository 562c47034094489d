"""What is in Swift, seen without any code of ours: whether all of it belongs to an image."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import swiftclient

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tests.support.embedded_swift import FaultySwift

Objects = set[tuple[str, str]]
SEGMENTS = "_segments"
STEP_SECONDS = 0.1


def content(swift: FaultySwift, container: str, name: str) -> bytes | None:
    """Return an image as Swift gives it, None when there is none."""
    with contextlib.closing(swift.connect(retries=3)) as client:
        try:
            data: bytes = client.get_object(container, name)[1]
        except swiftclient.ClientException as failure:
            if failure.http_status != 404:
                raise
            return None
        return data


def names_in(swift: FaultySwift, container: str) -> list[str]:
    """Return the names of what is in a container, which has to be there."""
    with contextlib.closing(swift.connect()) as client:
        return [row["name"] for row in client.get_container(container)[1]]


def orphans(
    swift: FaultySwift, container: str, images: Collection[str], wait: float = 10
) -> list[str]:
    """Return what is stored for a container and belongs to none of its images.

    That is all in `<container>_segments`, and in the container all that is no image, unless
    a manifest names it, and what manifests name that is not there. Objects go a little after
    their image went: an orphan is one that stays.

    Args:
        swift: Where to look.
        container: Of the images.
        images: All names in the container that are images, whether they are there or not.
        wait: How many seconds an orphan has to stay to be one.
    """
    deadline, pause = time.monotonic() + wait, STEP_SECONDS
    while found := _orphans(swift, container, images):
        if time.monotonic() > deadline:
            break
        time.sleep(pause)  # noqa: TID251  # no event loop here
        pause = min(2 * pause, 4 * STEP_SECONDS)  # a census is a dozen requests
    return found


def _orphans(swift: FaultySwift, container: str, images: Collection[str]) -> list[str]:
    with contextlib.closing(swift.connect(retries=3)) as client:
        stored = _stored(client, container) | _stored(client, container + SEGMENTS)
        roots = {(container, name) for name in images} & stored
        named: Objects = set()
        for root in roots:
            named |= set(_named(client, *root))
        # What is elsewhere, as after a rename, is not of this container's census.
        missing = {one for one in named if one[0].startswith(container)} - stored
    left = {f"{there}/{name}" for there, name in stored - roots - named}
    return sorted(left | {f"missing: {there}/{name}" for there, name in missing})


def _stored(client: swiftclient.Connection, container: str) -> Objects:
    try:
        rows = client.get_container(container, full_listing=True)[1]
    except swiftclient.ClientException as failure:
        if failure.http_status != 404:
            raise
        return set()
    return {(container, row["name"]) for row in rows}


def _named(
    client: swiftclient.Connection, container: str, name: str
) -> Iterator[tuple[str, str]]:
    """Yield what a manifest names, and the manifests in it."""
    headers = client.head_object(container, name)
    if "x-object-manifest" in headers:
        there, _, prefix = headers["x-object-manifest"].partition("/")
        for row in client.get_container(there, prefix=prefix, full_listing=True)[1]:
            yield there, row["name"]
    elif headers.get("x-static-large-object", "").lower() == "true":
        body = client.get_object(container, name, query_string="multipart-manifest=get")[1]
        for row in json.loads(body):
            if "name" in row:  # else it is data inside the manifest
                there, _, inner = row["name"].lstrip("/").partition("/")
                yield there, inner
                if row.get("sub_slo"):
                    yield from _named(client, there, inner)


def wait_for(is_so: Callable[[], object], seconds: float = 20) -> None:
    """Return as soon as something is so; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(STEP_SECONDS / 2)  # noqa: TID251  # no event loop here
