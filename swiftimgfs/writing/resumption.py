"""Sending again what was kept: an image whose commit had failed, or was interrupted.

The journal's recipe says what the image is made of: segments that are in Swift since then,
zeros, and bytes in the spool file beside the record. The file is left as it is until the
image is committed, so that who dies on the way has lost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swiftimgfs import errors

if TYPE_CHECKING:
    from swiftimgfs.writing.journal import JournalEntry
    from swiftimgfs.writing.parts import WriteParts
    from swiftimgfs.writing.state_directory import Found


class Resumption:
    """Sends for one mount, or for a command."""

    def __init__(self, parts: WriteParts) -> None:
        self._parts: Final = parts

    async def send_again(self, found: Found, entry: JournalEntry) -> None:
        """Return after an image that was kept is in Swift, and its entry is finished.

        Raises:
            ImageChangedError: It is not the image any more that was opened.
            SwiftImgFsError: It cannot be stored; all of it is still there.
        """
        raise errors.NotSupportedError(f"{found.record.image}: cannot be sent again yet")
