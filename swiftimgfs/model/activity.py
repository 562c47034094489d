"""What is going on with the images that are open, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageActivity:
    """One version of an image that is open, or waits for Swift.

    Attributes:
        path: In the store: its container and its name.
        size: Bytes of it.
        handles: How many are open on it.
        position: Where the latest read has ended.
        read: Bytes that readers were given since it was opened.
        is_written: Something of it is not in Swift, and shall be.
        is_waited_for: Somebody has closed or synced it, and is not answered yet.
        waiting: Bytes that are here and not in Swift.
        sent: Bytes that Swift was given since the last commit, those on their way included.
    """

    path: str
    size: int
    handles: int
    position: int = 0
    read: int = 0
    is_written: bool = False
    is_waited_for: bool = False
    waiting: int = 0
    sent: int = 0

    @property
    def is_cut_off_by_leaving(self) -> bool:
        """Whether a mount that leaves gives it up: half an image, which nobody has closed."""
        return self.is_written and not self.is_waited_for and self.handles > 0
