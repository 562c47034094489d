"""The tables of an open qcow2, fetched together before they are asked for one by one.

Who maps an offset of the guest reads header, L1 table and L2 table, one after the other, and
`qemu-img map` and `check` read all L2 tables: far from Swift that is a round trip each. Here
is known what the tables of one open image are, and what a read that jumps makes likely:

1. The first jump anywhere, when the image's first bytes are here and are a qcow2's: what the
   header names, the L1 and the refcount table among it.
2. A jump to an L2 table or a refcount block: those that follow it, in batches that double
   with each jump to one that was not asked for yet. Not all at once: a guest needs few of
   them, each costs a whole block, and its next read would wait at the end of a long queue.

A jump is a read that does not go on in order and has to wait for the store anyway. So a hit
costs nothing, and who copies an image makes no request because of its tables.

Invariants: an image that is no qcow2 causes no request. What is on its way because of one
image's tables is at most its share of a sixth of the cache. No range is asked for twice. All
of it is a hint, which may be false or fail: a read asks for its own bytes itself. Nothing
here awaits or raises, whatever the image says.
"""

from __future__ import annotations

import bisect
from array import array
from typing import TYPE_CHECKING, Final

from swiftimgfs.layout import Inline, Spooled, Stored, Zeros
from swiftimgfs.reading import qcow2
from swiftimgfs.reading.block_cache import BLOCK_SIZE, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from swiftimgfs.layout import Layout
    from swiftimgfs.reading.block_cache import ObjectKey
    from swiftimgfs.reading.fetcher import Fetcher
    from swiftimgfs.reading.qcow2 import Qcow2Header, Range

MIB: Final = 1024 * 1024
FIRST_BATCH: Final = 4 * MIB  # 32 tables that lie alone: six round trips of six connections
LARGEST_BATCH: Final = 64 * MIB
# Two thirds of the cache are for what is read ahead; see `Fetcher.share`.
CACHE_SHARE: Final = 6
# Tables side by side are asked for in pieces that fit into the share of a small cache.
LARGEST_PIECE: Final = MIB
# What is looked at of an L1 or a refcount table; with clusters of 64 KiB it maps 64 TiB.
MOST_LOOKED_AT: Final = MIB


class ImageTables:
    """What is known of one open image's tables, and what was asked for because of them."""

    __slots__ = ("_batch", "_coming", "_fetcher", "_header", "_l2", "_refcounts")

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._header: Qcow2Header | None = None
        self._l2: _Clusters | None = None
        self._refcounts: _Clusters | None = None
        self._batch = FIRST_BATCH
        self._coming: list[tuple[ObjectKey, int, int]] = []  # key, last byte, bytes fetched

    def jumped(self, layout: Layout, offset: int, size: int) -> bool:
        """Have fetched what a jump there makes likely; return whether to tell the next one.

        The bytes of the jump itself have to be on their way already.
        """
        header = self._header
        if header is None:
            start = self._at_hand(layout, 0, qcow2.HEADER_BYTES)
            if start is None:  # nobody has read them here: it may be anything
                return True
            header = self._header = qcow2.parse_header(start, layout.size)
            if header is None:
                return False
            self._ask(layout, _Clusters(qcow2.metadata_ranges(header)), 0)
        if header.image_size != layout.size:  # it is being written
            return False
        first_level = (header.l1, header.refcounts, *header.others)
        if any(table.offset < offset + size and offset < table.end for table in first_level):
            return True  # opening an image takes no more
        self._learn(layout, header)
        return self._follow(layout, offset, size)

    def _learn(self, layout: Layout, header: Qcow2Header) -> None:
        """Find out where L2 tables and refcount blocks are, once what says it is here."""
        if self._l2 is None:
            entries = self._at_hand(layout, header.l1.offset, header.l1.size)
            if entries is not None:
                self._l2 = _Clusters(qcow2.l2_ranges(header, entries))
        if self._refcounts is None:
            entries = self._at_hand(layout, header.refcounts.offset, header.refcounts.size)
            if entries is not None:
                self._refcounts = _Clusters(qcow2.refcount_block_ranges(header, entries))

    def _follow(self, layout: Layout, offset: int, size: int) -> bool:
        """Ask for the next batch if the jump went to a table; return whether any is left."""
        is_any_left = False
        for clusters in (self._l2, self._refcounts):
            if clusters is None:
                is_any_left = True
                continue
            number = clusters.find(offset, offset + size)
            if number is not None and not clusters.is_asked[number]:
                self._ask(layout, clusters, number)
                self._batch = min(2 * self._batch, LARGEST_BATCH)
            is_any_left = is_any_left or not all(clusters.is_asked)
        return is_any_left

    def _ask(self, layout: Layout, clusters: _Clusters, first: int) -> None:
        """Have a batch fetched, from the range with this number on."""
        images = max(1, len(self._fetcher.prefetchers))
        share = self._fetcher.cache.limit // (CACHE_SHARE * images)
        budget = min(self._batch, share) - self._pending()
        for number in clusters.not_asked(first):
            offset, size = clusters.starts[number], clusters.sizes[number]
            stored = [
                (piece.source, piece.size)
                for piece in layout.pieces(offset, size)
                if isinstance(piece.source, Stored)
            ]
            costs = [self._missing(*item) for item in stored]
            budget -= sum(costs)
            if budget < 0 or not self._fetcher.cache.has_room(sum(costs)):
                break
            clusters.is_asked[number] = True
            for (source, length), cost in zip(stored, costs, strict=True):
                if cost:
                    self._fetcher.suggest(source, length)
                    self._coming.append((key_of(source), source.start + length - 1, cost))

    def _pending(self) -> int:
        """Return how many bytes of earlier batches are still on their way."""
        cache = self._fetcher.cache
        self._coming = [
            coming
            for coming in self._coming
            if (part := cache.get(coming[0], coming[1])) is not None and not part.is_settled
        ]
        return sum(cost for _, _, cost in self._coming)

    def _missing(self, source: Stored, size: int) -> int:
        """Return how many bytes are fetched when these are asked for: whole blocks."""
        key, last = key_of(source), source.start + size - 1
        blocks = range(source.start // BLOCK_SIZE, last // BLOCK_SIZE + 1)
        return BLOCK_SIZE * sum(not self._fetcher.cache.has(key, block) for block in blocks)

    def _at_hand(self, layout: Layout, offset: int, size: int) -> bytes | None:
        """Return bytes of the image if all of them are in memory; of many the first ones."""
        found: list[bytes | memoryview] = []
        for piece in layout.pieces(offset, min(size, MOST_LOOKED_AT)):
            match piece.source:
                case Stored() as source:
                    views = self._views(source, piece.size)
                    if views is None:
                        return None
                    found += views
                case Zeros():
                    found.append(bytes(piece.size))
                case Inline(data):
                    found.append(data[: piece.size])
                case Spooled():
                    return None  # it is being written
        return b"".join(found)

    def _views(self, source: Stored, size: int) -> list[memoryview] | None:
        """Return bytes of an object that are in memory, in order; None if one is not."""
        views = []
        position, end = source.start, source.start + size
        while position < end:
            part = self._fetcher.cache.get(key_of(source), position)
            if part is None or not part.has(last := min(end, part.end)):
                return None
            views.append(part.view[position - part.start : last - part.start])
            position = last
        return views


class _Clusters:
    """Ranges of an image in ascending order, cut to be asked for one at a time.

    In arrays: a hostile table names thousands of them.

    Attributes:
        starts: Where each begins.
        sizes: Bytes of each.
        is_asked: Whether each was asked for.
    """

    __slots__ = ("is_asked", "sizes", "starts")

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.starts = array("Q")
        self.sizes = array("Q")
        for item in ranges:
            for start in range(item.offset, item.end, LARGEST_PIECE):
                self.starts.append(start)
                self.sizes.append(min(LARGEST_PIECE, item.end - start))
        self.is_asked = bytearray(len(self.starts))

    def find(self, offset: int, end: int) -> int | None:
        """Return the number of the last range that has some of these bytes."""
        number = bisect.bisect_left(self.starts, end) - 1
        is_in_it = number >= 0 and offset < self.starts[number] + self.sizes[number]
        return number if is_in_it else None

    def not_asked(self, first: int) -> Iterator[int]:
        """Yield the numbers of ranges not asked for yet, from `first` on and then around."""
        for number in (*range(first, len(self.starts)), *range(first)):
            if not self.is_asked[number]:
                yield number
