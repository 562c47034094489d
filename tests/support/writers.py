"""What tests of the writer write, and what they look at afterwards."""

from __future__ import annotations

import random

from swiftimgfs import errors
from swiftimgfs.writing.options import WriteOptions

SEGMENT = 4096
BODY = bytes(range(1, 256)) * 100  # 25,500 bytes: six segments and a bit
RANDOM = random.Random(7).randbytes(6 * SEGMENT)
OPTIONS = WriteOptions(
    segment_size=SEGMENT,
    large_object_size=SEGMENT,
    memory_limit=2 * SEGMENT,
    spool_size=4 * SEGMENT,
    connections=4,
)


async def write_all(writer, data, step=1500):
    for offset in range(0, len(data), step):
        await writer.write(offset, data[offset : offset + step])


def stored(client) -> bytes:
    body: bytes = client.get_object("c", "image")[1]
    return body


def names(client, container="c_segments") -> list[str]:
    containers = [row["name"] for row in client.get_account()[1]]
    if container not in containers:
        return []
    return [row["name"] for row in client.get_container(container)[1]]


def parts_of(image) -> list[str]:
    return [name for _, name in image.parts]


async def settled(writer):
    """Return when no upload of the writer is on its way."""
    await writer._uploads.settled()


def patched(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


async def read_all(writer, content) -> bytes:
    """Read as the model does: again when bytes have moved under the read."""
    while True:
        changes = writer.changes
        try:
            read: bytes = await content(writer.layout())
        except errors.ImageChangedError:
            assert writer.changes != changes
            continue
        if writer.changes == changes:
            return read
