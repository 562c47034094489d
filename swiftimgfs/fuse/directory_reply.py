"""The answer to one readdir request, filled entry by entry until it is full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyfuse3

if TYPE_CHECKING:
    from collections.abc import Callable

    from swiftimgfs.model.inodes import Inode

# `.` and `..`, which come before the names.
DOTS: Final = 2
# Of entries that the kernel may not keep in one answer. It takes 6,000 in one, and `ls -l` then
# asks for each of them: after these few it is known to do so, and the rest is settled.
UNSETTLED_AT_ONCE: Final = 64


class DirectoryReply:
    """One answer."""

    def __init__(
        self,
        token: pyfuse3.ReaddirToken,
        attributes_of: Callable[[Inode], pyfuse3.EntryAttributes],
    ) -> None:
        """Fill what `token` stands for."""
        self._token = token
        self._attributes_of = attributes_of
        self._unsettled = 0

    def add_dots(self, directory: Inode, start: int) -> bool:
        """Add `.` and `..` as far as they are not before entry `start`; return whether they fit."""
        above = directory.parent or directory
        return all(
            pyfuse3.readdir_reply(self._token, name, self._attributes_of(inode), number + 1)
            for number, name, inode in ((0, b".", directory), (1, b"..", above))
            if number >= start
        )

    def add(self, inode: Inode, number: int, *, is_settled: bool) -> bool:
        """Add an entry; return whether it could be added.

        Args:
            inode: What it is.
            number: Where the entry after it is found.
            is_settled: The kernel may keep its attributes.
        """
        if self._unsettled == UNSETTLED_AT_ONCE:
            return False
        attributes = self._attributes_of(inode)
        if not is_settled:
            attributes.attr_timeout = 0
            self._unsettled += 1
        name = inode.component.encode()
        return pyfuse3.readdir_reply(self._token, name, attributes, number)
