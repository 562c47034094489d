"""Dirty bytes on this host's disk: one sparse file for an image that is being changed.

A byte of the image stands at its own offset in the file. What is in Swift by now is punched
out of it, so that the file takes the room of what is dirty, however large the image is.
Nothing here awaits: the bytes go to the page cache, at memory's speed, and whether the disk
has room for them is known when the call returns (not on filesystems that allocate later).
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from swiftimgfs import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FALLOC_FL_KEEP_SIZE: Final = 1
FALLOC_FL_PUNCH_HOLE: Final = 2
SUFFIX: Final = ".spool"


class SpoolFile:
    """The spool of one image, made when it is first needed.

    The file is locked as long as it is open: one that can be locked belongs to nobody who
    lives.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd: int | None = None
        self._is_kept = False
        self.path: Path | None = None

    @classmethod
    def kept(cls, path: Path) -> SpoolFile:
        """Return a spool file of before, which stays as it is, and where it is.

        Raises:
            HostDiskError: It cannot be read.
        """
        spool = cls(path.parent)
        try:
            spool._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise errors.host_failure(exc, f"spool {path}") from exc
        spool._is_kept = True
        return spool

    def write(self, position: int, data: bytes | memoryview) -> None:
        """Put bytes at a position.

        Raises:
            HostFullError: The disk has no room for them.
        """
        view = memoryview(data)
        try:
            fd = self._open() if self._fd is None else self._fd
            while view:
                count = os.pwrite(fd, view, position)
                position += count
                view = view[count:]
        except OSError as exc:
            where = f"spool {self.path or self._directory}"
            raise errors.host_failure(exc, where) from exc

    def read(self, position: int, size: int) -> bytes:
        """Return what was put at a position.

        Raises:
            HostDiskError: The disk does not give it back.
        """
        assert self._fd is not None  # noqa: S101  # whoever reads has written
        parts = []
        try:
            while size:
                part = os.pread(self._fd, size, position)
                if not part:
                    raise errors.HostDiskError(
                        f"spool {self.path}: shorter than what was written"
                    )
                parts.append(part)
                position += len(part)
                size -= len(part)
        except OSError as exc:
            raise errors.host_failure(exc, f"spool {self.path}") from exc
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def punch(self, position: int, size: int) -> None:
        """Give the disk back what a range takes; where that cannot be done it stays for now."""
        if self._fd is not None and not self._is_kept and size > 0:
            _fallocate()(
                self._fd,
                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                ctypes.c_int64(position),
                ctypes.c_int64(size),
            )

    def sync(self) -> None:
        """Have all of it survive a crash of the host; blocks."""
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        """Remove the file."""
        if self.path is not None:
            with suppress(FileNotFoundError):
                self.path.unlink()
        self.detach()

    def detach(self) -> Path | None:
        """Leave the file on the disk, for whoever takes it over; return where."""
        path, self.path = self.path, None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return path

    def _open(self) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{secrets.token_hex(8)}{SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self.path = path
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._fd


@functools.cache
def _fallocate() -> Callable[..., Any]:
    """Return fallocate(2): Python's os has only posix_fallocate, which cannot punch."""
    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function
