"""What the jobs about names find in an embedded Swift."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import swiftclient

from tests.benchmarks.processes import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.benchmarks.endpoint import Endpoint

PLANT_SECONDS = 150


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: its text, and headers such as `X-Object-Manifest`."""

    container: str
    name: str
    body: str = "x"
    headers: Mapping[str, str] = field(default_factory=dict)


class Stock:
    """Fills one Swift, with each thing once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._done: set[Callable[[Stock], None]] = set()

    def have(self, fill: Callable[[Stock], None]) -> None:
        """Fill, unless that was done."""
        if fill not in self._done:
            fill(self)
            self._done.add(fill)

    def connect(self) -> swiftclient.Connection:
        """Return a client, for who stores what it needs as anybody does."""
        one = self._endpoint
        return swiftclient.Connection(one.auth_url, one.user, one.key, retries=3)

    def plant(self, objects: Iterable[StoredObject], *, rows_only: bool = False) -> None:
        """Put objects straight onto Swift's disk, or only into the listings; container by container."""
        rows = [asdict(each) for each in objects]
        with contextlib.closing(self.connect()) as client:
            for container in dict.fromkeys(row["container"] for row in rows):
                client.put_container(container)
            account = client.get_auth()[0].rpartition("/")[2]
        command = [sys.executable, "-m", "tests.benchmarks.plant"]
        command += [
            str(self._endpoint.directory),
            account,
            *(["--rows-only"] if rows_only else []),
        ]
        done = subprocess.run(
            command,
            input="\n".join(map(json.dumps, rows)),
            capture_output=True,
            text=True,
            check=False,
            timeout=PLANT_SECONDS,
        )
        if done.returncode:
            raise ToolError(f"objects not planted: {done.stderr[-300:]}")
