"""The files of the disk cache: one per block, one flat directory, one ledger.

A block's file is its bytes and then a trailer: a magic, and the CRC-32 of stem and bytes.
The stem of its name is a hash of what the block is, so that any etag makes a name and nothing
in one can lead out of the directory; the suffix says what its bytes are worth, and changes by
a rename; its mtime is a stamp, the number of the use that was its last,
counted by all mounts together, so that no clock can mix up the order. The atime is that use's
time, for people and for what cleans up /tmp.

The ledger holds the bytes in use and the latest stamp. It is only a short cut: the directory
is the truth, and counting it mends any ledger.

What is not a block file of ours (another owner, a link, a device, larger than a block) is
neither followed nor counted nor removed. Every call is relative to the directory that was
opened, whatever its path means by now. Failures are `OSError` here.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import hashlib
import os
import re
import stat
import struct
import threading
import time
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from swiftimgfs import errors
from swiftimgfs.private_directory import check_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_BLOCK: Final = 128 * 1024

# What the bytes of a block are worth, the suffix of its file's name.
AS_THEY_CAME: Final = "block"  # from Swift, and compared with nothing
VERIFIED: Final = "verified"  # of an object that was compared with its MD5 as a whole

_STEM: Final = 40
_BLOCK_NAME: Final = re.compile(rf"[0-9a-f]{{{_STEM}}}\.(block|verified|[0-9a-f]{{16}}-staged)")
_LEDGER_NAME: Final = "swiftimgfs-cache.ledger"
_PARTIAL_NAME: Final = "swiftimgfs-cache.partial"
_TRAILER: Final = struct.Struct("<8sI")
_TRAILER_MAGIC: Final = b"simgfsB1"
_LEDGER: Final = struct.Struct("<8sQQ")  # magic, bytes in use, latest stamp
_LEDGER_MAGIC: Final = b"simgfsL1"
_STAMP_OFFSET: Final = 16
# An mtime of ext4 ends in 2446, 2**33.8; nothing here is ever used that often.
_LARGEST_STAMP: Final = 2**33
# Filesystems give space away in pages of this size: what a block of any size takes of them.
_UNIT: Final = 4096
_POLL_SECONDS: Final = 0.002  # about as long as another mount needs for a block
_SECOND: Final = 10**9
# A FIFO of that name would hold its reader up for ever without O_NONBLOCK.
_SAFELY: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Found(enum.Enum):
    """What reading a block's file came to."""

    INTACT = enum.auto()
    NOTHING = enum.auto()
    DAMAGED = enum.auto()


class BlockFile(NamedTuple):
    """A block's file as it was last seen, ordered by age; a tuple, for a heap of 100,000."""

    stamp: int
    name: str
    cost: int


def staged(token: str) -> str:
    """Return the worth of blocks that may still be found wrong: nobody else looks for them.

    Args:
        token: 16 hexadecimal digits of who put them.
    """
    return f"{token}-staged"


def name_of(etag: str, object_size: int, index: int, worth: str = AS_THEY_CAME) -> str:
    """Return the file name of block `index` of an object."""
    key = f"{object_size} {index} {etag}".encode(errors="surrogatepass")
    return f"{hashlib.blake2b(key, digest_size=_STEM // 2).hexdigest()}.{worth}"


def _reason_of(failure: OSError) -> str:
    """Return why a directory cannot be used: what the system calls it may mislead."""
    match failure:
        case FileExistsError():
            return "not a directory"
        case FileNotFoundError():  # in /proc and its like
            return "no file can be made there"
        case _:
            return failure.strerror or str(failure)


def cost_of(size: int) -> int:
    """Return how much of the disk a block of `size` bytes takes."""
    return -(-(size + _TRAILER.size) // _UNIT) * _UNIT


def trailer_of(name: str, data: memoryview) -> bytes:
    """Return what a block's file ends with."""
    return _TRAILER.pack(_TRAILER_MAGIC, zlib.crc32(data, zlib.crc32(name[:_STEM].encode())))


class BlockFiles:
    """The directory of a disk cache, opened. Only `locked` makes more than reading safe."""

    def __init__(self, path: Path) -> None:
        """Open `path`, made if it is not there.

        Raises:
            ConfigError: It is no directory of ours alone, or cannot be made or written.
        """
        self._uid = os.geteuid()
        self._stamp = 0
        self._closed = threading.Event()
        self._directory = self._ledger = -1
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            check_private(path, "cache_dir", self._directory)
            self._ledger = self._open_ledger()
        except OSError as failure:
            self.close()
            message = f"cache_dir={path} cannot be used: {_reason_of(failure)}"
            raise errors.ConfigError(message) from failure
        except errors.ConfigError:
            self.close()
            raise

    def close(self) -> None:
        """Close what is open; nothing is found or written after that."""
        self._closed.set()
        for fd in (self._directory, self._ledger):
            if fd >= 0:
                os.close(fd)
        self._directory = self._ledger = -1

    # --- without a lock -------------------------------------------------------------------

    def read(self, name: str, buffer: memoryview) -> Found:
        """Fill `buffer` with the block of that name, which is now the most recently used one.

        Only after `INTACT` does the buffer hold the block.
        """
        try:
            fd = os.open(name, os.O_RDONLY | _SAFELY, dir_fd=self._directory)
        except (FileNotFoundError, IsADirectoryError):
            return Found.NOTHING
        except OSError:
            if self._is_ours(name):
                raise
            return Found.NOTHING
        try:
            if not self._is_block(os.fstat(fd)):
                return Found.NOTHING
            rest = bytearray(_TRAILER.size + 1)
            count = os.preadv(fd, [buffer, rest], 0)
            if count != len(buffer) + _TRAILER.size or rest[:-1] != trailer_of(name, buffer):
                return Found.DAMAGED
            with contextlib.suppress(OSError):  # a disk that became read-only still serves
                self._touch(fd)
            return Found.INTACT
        finally:
            os.close(fd)

    def room(self) -> int:
        """Return the bytes that may be added before too little is free; below 0: is missing."""
        status = os.fstatvfs(self._directory)
        if not status.f_blocks:  # a filesystem that does not say
            return LARGEST_BLOCK * _UNIT
        return (status.f_bavail - -(-status.f_blocks // 20)) * status.f_frsize

    def _touch(self, fd: int) -> None:
        os.utime(fd, ns=(time.time_ns(), self._next_stamp() * _SECOND))

    def _next_stamp(self) -> int:
        """Count a use. Two mounts may get one number: equally old is close enough."""
        latest = int.from_bytes(os.pread(self._ledger, 8, _STAMP_OFFSET), "little")
        if latest < _LARGEST_STAMP:
            self._stamp = max(self._stamp, latest)
        self._stamp += 1
        os.pwrite(self._ledger, self._stamp.to_bytes(8, "little"), _STAMP_OFFSET)
        return self._stamp

    def _is_ours(self, name: str) -> bool:
        try:
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return self._is_block(status)

    def _is_block(self, status: os.stat_result) -> bool:
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_uid == self._uid
            and status.st_size <= LARGEST_BLOCK + _TRAILER.size
        )

    # --- under the lock -------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, patience: float) -> Iterator[None]:
        """Keep every other thread and process from changing the directory.

        The lock is on the directory itself, so that it cannot be deleted beside it, and on
        an opening of its own, so that threads and forked processes exclude each other too.

        Raises:
            BlockingIOError: Somebody had it for all the `patience` seconds.
        """
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._directory)
        try:
            deadline = time.monotonic() + patience
            while not _try_lock(fd):
                if time.monotonic() > deadline or self._closed.wait(_POLL_SECONDS):
                    raise BlockingIOError("another mount keeps it locked")
            try:
                yield
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)  # not left to a child that was just forked
        finally:
            os.close(fd)

    def used(self) -> int | None:
        """Return the bytes in use by the ledger; None when the directory must be counted.

        The number is never too low: what will be added is noted before it is.
        """
        if os.fstat(self._ledger).st_nlink == 0:  # somebody deleted it
            renewed = self._open_ledger()
            # The number stays: a reader may be about to write its stamp there.
            os.dup2(renewed, self._ledger, inheritable=False)
            os.close(renewed)
        content = os.pread(self._ledger, _LEDGER.size + 1, 0)
        if len(content) != _LEDGER.size or not content.startswith(_LEDGER_MAGIC):
            return None
        if self._has_partial():  # who wrote it was killed
            return None
        return int(_LEDGER.unpack(content)[1])

    def note_used(self, used: int) -> None:
        """Write the bytes in use to the ledger."""
        os.pwrite(self._ledger, _LEDGER_MAGIC + max(used, 0).to_bytes(8, "little"), 0)

    def blocks(self) -> Iterator[BlockFile]:
        """Yield every block's file; what a killed mount left is removed, the ledger renewed."""
        if self._has_partial():
            os.unlink(_PARTIAL_NAME, dir_fd=self._directory)
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if not _BLOCK_NAME.fullmatch(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if self._is_block(status):
                        yield self._seen(entry.name, status)
        os.ftruncate(self._ledger, _LEDGER.size)
        self._next_stamp()  # after the latest that is there

    def has(self, name: str) -> bool:
        """Return whether anything of that name is there, ours or not."""
        try:
            os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def write(self, name: str, data: memoryview, trailer: bytes) -> None:
        """Make the file of a block that is not there: whole, or not at all."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY
        fd = os.open(_PARTIAL_NAME, flags, 0o600, dir_fd=self._directory)
        try:
            try:
                if os.pwritev(fd, [data, trailer], 0) < len(data) + len(trailer):
                    raise OSError("the disk took only a part of a block")
                self._touch(fd)
            finally:
                os.close(fd)
            os.rename(
                _PARTIAL_NAME, name, src_dir_fd=self._directory, dst_dir_fd=self._directory
            )
        except OSError:
            with contextlib.suppress(OSError):  # the next to write removes it
                os.unlink(_PARTIAL_NAME, dir_fd=self._directory)
            raise

    def rename(self, name: str, new_name: str) -> None:
        """Give a block's file another name; none if it is gone or not ours."""
        if self._is_ours(name):
            os.rename(name, new_name, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def remove(self, name: str, *, stamp: int | None = None) -> int:
        """Remove a block's file, if it is ours and not used since `stamp`; return its cost."""
        try:
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            if not self._is_block(status):
                return 0
            seen = self._seen(name, status)
            if stamp not in {None, seen.stamp}:
                return 0
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            return 0
        return seen.cost

    def _seen(self, name: str, status: os.stat_result) -> BlockFile:
        stamp = status.st_mtime_ns // _SECOND
        if not 0 <= stamp < _LARGEST_STAMP:
            stamp = 0
        self._stamp = max(self._stamp, stamp)
        size = status.st_size - _TRAILER.size
        return BlockFile(stamp, name, cost_of(size))

    def _has_partial(self) -> bool:
        return self._is_ours(_PARTIAL_NAME)

    def _open_ledger(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | _SAFELY
        fd = os.open(_LEDGER_NAME, flags, 0o600, dir_fd=self._directory)
        if self._is_block(os.fstat(fd)):
            return fd
        os.close(fd)
        raise OSError(0, f"{_LEDGER_NAME} is not a file of ours")


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
