"""What every writer of a mount shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from swiftimgfs.writing.garbage import Garbage
from swiftimgfs.writing.glance_format import GlanceFormat
from swiftimgfs.writing.hooks import Journal, WatchFactory
from swiftimgfs.writing.options import LargeObject, WriteOptions
from swiftimgfs.writing.slo_format import SloFormat
from swiftimgfs.writing.uploader import Uploader

if TYPE_CHECKING:
    from pathlib import Path

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.writing.budget import DirtyBudget
    from swiftimgfs.writing.hooks import ImageFormat


@dataclass(frozen=True, slots=True)
class WriteParts:
    """What every writer of a mount shares.

    Attributes:
        nursery: Runs uploads, which outlive the request that started them.
        spool_directory: Where bytes wait that are not in memory.
        slots: How many segments are on their way at once.
        garbage: What deletes for the mount.
    """

    store: ImageStore
    nursery: trio.Nursery
    budget: DirtyBudget
    spool_directory: Path
    options: WriteOptions = field(default_factory=WriteOptions)
    journal: Journal = field(default_factory=Journal)
    watches: WatchFactory = field(default_factory=WatchFactory)
    slots: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(8))
    garbage: Garbage = field(init=False)

    def __post_init__(self) -> None:
        garbage = Garbage(self.store, self.nursery, self.options.keep_replaced)
        object.__setattr__(self, "garbage", garbage)

    def uploader(self, container: str, name: str) -> Uploader:
        """Return what makes the objects of an image."""
        return Uploader(self.store, self.journal, container, name)

    def format_of(self, uploader: Uploader) -> ImageFormat:
        """Return how the image is stored when it is large."""
        if self.options.large_object is LargeObject.GLANCE:
            return GlanceFormat(self.store, uploader, self.options)
        return SloFormat(self.store, uploader, self.options)
