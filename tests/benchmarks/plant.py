"""Objects put straight onto the disk of an embedded Swift, a hundred thousand in seconds.

`python -m tests.benchmarks.plant DIRECTORY ACCOUNT [--rows-only]` reads objects as JSON lines
from its standard input, see `stock.StoredObject`. Their containers have to be there. A process
of its own: Swift reads its settings when it is imported.

What Swift then has is what PUTs would have left: a file with the metadata, and a row in the
container's database; with `--rows-only` nothing but the row.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from swiftimgfs.demo.configuration import DEVICE

BATCH = 10_000
TYPE = "application/octet-stream"


def main() -> int:
    """Plant what the standard input says; return the exit status."""
    directory, account = Path(sys.argv[1]), sys.argv[2]
    rows = [json.loads(line) for line in sys.stdin]
    planter = Planter(directory, account, rows_only="--rows-only" in sys.argv)
    for container, of_container in itertools.groupby(rows, key=lambda row: row["container"]):
        planter.plant(container, list(of_container))
    return 0


class Planter:
    """One Swift's disk."""

    def __init__(self, directory: Path, account: str, *, rows_only: bool) -> None:
        from swift.common import utils  # noqa: PLC0415  # told first where its settings are

        utils.set_swift_dir(str(directory))
        from swift.common.ring import Ring  # noqa: PLC0415
        from swift.container.backend import ContainerBroker  # noqa: PLC0415
        from swift.obj.diskfile import write_metadata  # noqa: PLC0415

        self._utils: Any = utils
        self._broker: Any = ContainerBroker
        self._write_metadata: Any = write_metadata
        self._device = directory / "devices" / DEVICE
        self._account = account
        self._rows_only = rows_only
        self._rings = {
            name: Ring(str(directory), ring_name=name) for name in ("container", "object")
        }

    def plant(self, container: str, rows: list[dict[str, Any]]) -> None:
        """Put objects into a container."""
        path = self._place("containers", "container", container)
        broker = self._broker(str(path / f"{path.name}.db"))
        for start in range(0, len(rows), BATCH):
            batch = [self._put(container, row) for row in rows[start : start + BATCH]]
            broker.merge_items(batch)

    def _put(self, container: str, row: dict[str, Any]) -> dict[str, Any]:
        body = row["body"].encode()
        now = self._utils.Timestamp.now().internal
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if not self._rows_only:
            self._write(container, row, body, {"X-Timestamp": now, "ETag": etag})
        return {
            "name": row["name"],
            "created_at": now,
            "size": len(body),
            "content_type": TYPE,
            "etag": etag,
            "deleted": 0,
            "storage_policy_index": 0,
        }

    def _write(
        self, container: str, row: dict[str, Any], body: bytes, version: dict[str, str]
    ) -> None:
        place = self._place("objects", "object", container, row["name"])
        place.mkdir(parents=True)
        metadata = {
            "name": f"/{self._account}/{container}/{row['name']}",
            "Content-Type": TYPE,
            "Content-Length": str(len(body)),
            **version,
            **row["headers"],
        }
        path = place / f"{version['X-Timestamp']}.data"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.write(descriptor, body)
            self._write_metadata(descriptor, metadata)
        finally:
            os.close(descriptor)

    def _place(self, folder: str, ring: str, *names: str) -> Path:
        hashed: str = self._utils.hash_path(self._account, *names)
        partition = str(self._rings[ring].get_part(self._account, *names))
        return self._device / folder / partition / hashed[-3:] / hashed


if __name__ == "__main__":
    sys.exit(main())
