"""How images are stored, and what may be written. Values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from swiftimgfs.store.naming import Naming

MIB = 1024**2


class LargeObject(enum.Enum):
    """How large images are stored."""

    SLO = "slo"
    GLANCE = "glance"  # DLOs, and nothing that Glance's driver would not write


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How images are stored, and what may be written.

    Attributes:
        large_object: How large images are stored.
        segment_size: Bytes of the first segments; of all of Glance's.
        large_object_size: From how many bytes on an image is stored in segments.
        memory_limit: Bytes in memory that may wait for Swift, of all images together.
        spool_size: The same, with those on this host's disk.
        connections: How many segments are uploaded at once.
        keep_replaced: Seconds for which segments stay that an edit has replaced.
        allow_glance_writes: Change also images that Glance wrote, whose checksums it keeps.
        last_writer_wins: Replace an image even when somebody else changed it meanwhile.
        naming: By which an image is known as Glance's.
    """

    large_object: LargeObject = LargeObject.SLO
    segment_size: int = 64 * MIB
    large_object_size: int = 64 * MIB
    memory_limit: int = 256 * MIB
    spool_size: int = 1024 * MIB
    connections: int = 8
    keep_replaced: float = 0.0
    allow_glance_writes: bool = False
    last_writer_wins: bool = False
    naming: Naming = field(default_factory=Naming)
