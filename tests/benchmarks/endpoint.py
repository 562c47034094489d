"""What a server is to the benchmarks: how to log in, and what it has sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTAINER = "images"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a server did.

    Attributes:
        requests: Of all kinds.
        gets: Of objects' data.
        bytes_sent: With those.
        puts: Of objects' data: whole images, and segments.
        bytes_received: With those.
        manifests: PUTs of manifests, SLO or DLO.
    """

    requests: int = 0
    gets: int = 0
    bytes_sent: int = 0
    puts: int = 0
    bytes_received: int = 0
    manifests: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server to read from and to write to: its images are in the container `images`.

    Attributes:
        name: As jobs name it.
        ca_file: What a client must believe, None without TLS.
        traffic: Sums up what was served since `forget_traffic`.
        forget_traffic: Starts counting anew.
        wipe: Forgets all that was stored by those who are measured.
        directory: Of an embedded Swift, for who puts objects straight onto its disk.
    """

    name: str
    auth_url: str
    user: str
    key: str
    ca_file: Path | None
    traffic: Callable[[], Traffic]
    forget_traffic: Callable[[], None]
    wipe: Callable[[], None] = lambda: None
    directory: Path | None = None
