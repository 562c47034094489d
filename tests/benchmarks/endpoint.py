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
    """What a server answered: requests of all kinds, GETs of objects, and bytes of those."""

    requests: int = 0
    gets: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server to read from, with the objects in the container `images`.

    Attributes:
        name: As jobs name it.
        ca_file: What a client must believe, None without TLS.
        traffic: Sums up what was served since `forget_traffic`.
        forget_traffic: Starts counting anew.
    """

    name: str
    auth_url: str
    user: str
    key: str
    ca_file: Path | None
    traffic: Callable[[], Traffic]
    forget_traffic: Callable[[], None]
