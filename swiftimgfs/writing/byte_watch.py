"""What is told of the whole of an image when it is stored: its digest, and that it is signed.

Glance's driver gives each chunk of an upload to the image's checksums and to the verifier of
its signature (`ChunkReader`). Here segments go up side by side and a PUT may be tried again,
so the bytes come by in `written`, once and in the order of the image, whatever happens to
the segment that they are in; what is signed is the digest of them.

A digest is made only of an image that was written in order, from its first byte on. Other
images have none, rather than a stale one. A signature has to be verified all the same: then
the image is read back.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.writing import hooks
from swiftimgfs.writing.digests import OrderedDigest, new_hashes, update
from swiftimgfs.writing.signatures import ImageSignature

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    import trio

    from swiftimgfs.writing.digests import Compute

    Read = Callable[[int, int], Awaitable[bytes | memoryview]]

log = logging.getLogger(__name__)

HASH_ALGO: Final = "os-hash-algo"
HASH_VALUE: Final = "os-hash-value"
# Holes up to this size are hashed as what they are, in 36 ms; what has larger ones was not
# written in order.
LARGEST_HOLE: Final = 64 * 1024 * 1024
MOST_BACKLOG: Final = 8 * 1024 * 1024  # of memory that no budget counts, of each writer
READ_SIZE: Final = 4 * 1024 * 1024
_ZEROS: Final = memoryview(bytes(1024 * 1024))


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What is told of an image's bytes.

    Attributes:
        hashing_algo: Of the digest that is stored with an image; None for no digest.
        certificates: Directory of the certificates that signatures are verified with.
    """

    hashing_algo: str | None = None
    certificates: Path | None = None


class ImageWatch(hooks.ByteWatch):
    """Watches one image, which begins with no bytes or is an older one that is changed."""

    def __init__(
        self,
        options: WatchOptions,
        compute: Compute,
        nursery: trio.Nursery,
        size: int,
        metadata: Mapping[str, str],
    ) -> None:
        """Watch an image; of one that has bytes already only those that follow `truncated(0)`.

        Args:
            options: What is to be told.
            compute: Runs what blocks in a thread.
            nursery: Of the mount.
            size: Of the image as it is.
            metadata: What is known to be stored with it. A signature in it is foreseen; one
                that comes later may cost reading the image back.
        """
        self._options = options
        self._compute = compute
        self._algorithms = _algorithms(options, metadata)
        self._digest = OrderedDigest(self._algorithms, compute, nursery)
        self._is_in_order = size == 0 and bool(self._algorithms)
        if not self._is_in_order:
            self._give_up()

    def written(self, offset: int, data: bytes | memoryview) -> None:
        """Take note of bytes, which never change; cheap, and does not wait."""
        if self._is_in_order and self._reach(offset):
            self._digest.feed(data)

    def truncated(self, size: int) -> None:
        """Take note of another size; 0 starts anew.

        Zeros at the end are not hashed before something comes after them, or a commit.
        """
        if size == 0:
            self._digest.restart()
            self._is_in_order = bool(self._algorithms)
        elif size < self._digest.size:
            self._give_up()

    async def keep_up(self) -> None:
        """Return when not too many bytes wait to be hashed."""
        await self._digest.keep_up(MOST_BACKLOG)

    async def finish(
        self, size: int, metadata: Mapping[str, str], read: Read
    ) -> dict[str, str]:
        """Return the metadata that says the image's digest; empty when there is none.

        Args:
            size: Of the image.
            metadata: What else is stored with it, by lower-cased names.
            read: Returns (offset, size) of the image as it will be.

        Raises:
            SignatureError: The image says that it is signed, and the signature is not right.
        """
        known = {}
        if self._is_in_order and self._reach(size):
            known = await self._digest.values()
        signature = ImageSignature.of(metadata)
        if signature is not None:
            await self._verify(signature, size, known, read)
        algorithm = self._options.hashing_algo
        if algorithm is None or algorithm not in known:
            return {}
        return {HASH_ALGO: algorithm, HASH_VALUE: known[algorithm]}

    def close(self) -> None:
        """Forget what waits."""
        self._give_up()

    def _reach(self, offset: int) -> bool:
        """Hash the hole before `offset`; return whether all before it has been fed."""
        hole = offset - self._digest.size
        if not 0 <= hole <= LARGEST_HOLE:
            self._give_up()
            return False
        while hole:
            part = _ZEROS[:hole]
            self._digest.feed(part)
            hole -= len(part)
        return True

    def _give_up(self) -> None:
        self._digest.give_up()
        self._is_in_order = False

    async def _verify(
        self, signature: ImageSignature, size: int, known: Mapping[str, str], read: Read
    ) -> None:
        algorithm = signature.algorithm
        value = known.get(algorithm) or await self._read_back(algorithm, size, read)
        now = datetime.datetime.now(datetime.UTC)
        failures: list[errors.SignatureError] = []

        def verify() -> None:
            from swiftimgfs.writing.signature_check import check  # noqa: PLC0415  -- see there

            try:
                check(signature, bytes.fromhex(value), self._options.certificates, now)
            except errors.SignatureError as failure:
                failures.append(failure)

        await self._compute(verify)
        if failures:
            raise failures[0]
        log.info("signature verified certificate=%s", signature.certificate_id)

    async def _read_back(self, algorithm: str, size: int, read: Read) -> str:
        hashes = new_hashes([algorithm])
        offset = 0
        while offset < size:
            data = await read(offset, min(READ_SIZE, size - offset))
            if not data:
                raise errors.StoreUnavailableError(
                    f"the image ends at {offset} of {size} bytes"
                )
            await self._compute(functools.partial(update, hashes, [memoryview(data)]))
            offset += len(data)
        return hashes[algorithm].hexdigest()


@dataclass(frozen=True, slots=True)
class ImageWatches(hooks.WatchFactory):
    """Makes the watches of a mount."""

    options: WatchOptions
    compute: Compute
    nursery: trio.Nursery

    def of(self, size_of_base: int, metadata: Mapping[str, str]) -> ImageWatch:
        """Return the watch of an image that has `size_of_base` bytes as yet, and metadata."""
        return ImageWatch(self.options, self.compute, self.nursery, size_of_base, metadata)


def _algorithms(options: WatchOptions, metadata: Mapping[str, str]) -> frozenset[str]:
    """Return the digests to make: the one that is stored, and the one that is signed."""
    algorithms = {options.hashing_algo} if options.hashing_algo else set()
    signature = ImageSignature.of(metadata)
    if signature is not None:
        with contextlib.suppress(errors.SignatureError):  # `finish` tells of it
            algorithms.add(signature.algorithm)
    return frozenset(algorithms)
