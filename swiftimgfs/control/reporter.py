"""Takes a mount's report: asks each of its parts for a snapshot. Nothing here awaits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs.control.report import (
    MOST_IMAGES,
    MountFacts,
    RefusalCount,
    Report,
    Requests,
)

if TYPE_CHECKING:
    from swiftimgfs.fuse.failures import Refusals
    from swiftimgfs.model.activity import ImageActivity
    from swiftimgfs.model.files import OpenFiles
    from swiftimgfs.reading.fetcher import Fetcher
    from swiftimgfs.store.traffic import Traffic
    from swiftimgfs.writing.budget import DirtyBudget


@dataclass(frozen=True, slots=True)
class Reporter:
    """The parts of a mount that have something to tell."""

    facts: MountFacts
    traffic: Traffic
    fetcher: Fetcher
    budget: DirtyBudget
    files: OpenFiles
    refusals: Refusals

    def report(self) -> Report:
        """Return the mount as it is now."""
        traffic = self.traffic.snapshot()
        sending = {(r.container, r.name): r.done for r in traffic.running if r.method == "PUT"}
        images = self.files.activity(sending)
        disk = self.fetcher.disk
        return Report(
            mount=self.facts,
            taken=time.time(),
            bytes_read=self.files.bytes_read,
            bytes_written=self.files.bytes_written,
            memory=self.fetcher.cache.snapshot(),
            disk=disk.snapshot() if disk else None,
            dirty=self.budget.snapshot(),
            requests=Requests.of(traffic),
            image_count=len(images),
            images=tuple(sorted(images, key=_interest)[:MOST_IMAGES]),
            refused=tuple(
                RefusalCount(*key, count) for key, count in sorted(self.refusals.counts.items())
            ),
            refusals=self.refusals.latest(),
        )


def _interest(image: ImageActivity) -> tuple[bool, bool, str]:
    """Return what sorts what waits for Swift first, then by name."""
    return not image.is_waited_for, not image.is_written, image.path
