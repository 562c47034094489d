"""An image as Glance's driver stores it, in a container of its own."""

from __future__ import annotations

import uuid

from swiftimgfs.writing.deletion import delete_objects
from swiftimgfs.writing.options import LargeObject, WriteOptions

SEGMENT = 4096
BODY = bytes(range(1, 251)) * 100  # 25,000 bytes: six segments and a bit
OPTIONS = WriteOptions(
    large_object=LargeObject.GLANCE,
    segment_size=SEGMENT,
    large_object_size=2 * SEGMENT,
    memory_limit=8 * SEGMENT,
    spool_size=16 * SEGMENT,
    connections=4,
)


class World:
    """A container with one image to be, seen by a mount and by a client."""

    def __init__(self, swift, client, store, container):
        self.swift, self.client, self.store, self.container = swift, client, store, container
        self.image_id = str(uuid.uuid4())

    def stored(self, name="") -> bytes:
        body: bytes = self.client.get_object(self.container, name or self.image_id)[1]
        return body

    def names(self) -> list[str]:
        return [row["name"] for row in self.client.get_container(self.container)[1]]

    def put(self, name, data=b"", **headers) -> None:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self.client.put_object(self.container, name, data, headers=named)

    def requests(self, method):
        path = f"/{self.container}/"
        return [
            r for r in self.swift.control.journal() if r.method == method and path in r.path
        ]

    async def delete_replaced(self, committed) -> None:
        assert await delete_objects(self.store, committed.doomed.objects) == []


def segments_of(image_id, count):
    return [f"{image_id}-{number:05d}" for number in range(1, count + 1)]
