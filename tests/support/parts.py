"""Parts of one object in a cache in memory."""

from __future__ import annotations

from swiftimgfs.layout import Stored
from swiftimgfs.reading.block_cache import BLOCK_SIZE, PART_SIZE, BlockCache, Part

MD5 = "0123456789abcdef" * 2
KEY = (MD5, 100 * PART_SIZE)
SOURCE = Stored("c", "o", MD5, 0, 100 * PART_SIZE)


def add_filled(cache: BlockCache, block: int, blocks: int = 1):
    part = cache.add(KEY, block * BLOCK_SIZE, blocks * BLOCK_SIZE)
    part.arrived(part.size)
    return part


def add_part(cache: BlockCache, number: int):
    """Add a whole part, of which buffers are used again."""
    return add_filled(cache, number * PART_SIZE // BLOCK_SIZE, PART_SIZE // BLOCK_SIZE)


def held(cache: BlockCache) -> list[int]:
    return [block for block in range(100) if cache.has(KEY, block)]


def need_part(part: Part, need: str) -> None:
    """Have somebody need a part, in one of the ways in which a part can be needed."""
    match need:
        case "filling":
            part.filled -= 1
        case "pinned":
            part.pins += 1
        case "gated":
            part.is_gated = True
        case "waited for":
            part._waiting += 1


def need_no_more(part: Part, need: str) -> None:
    match need:
        case "filling":
            part.arrived(1)
        case "pinned":
            part.pins -= 1
        case "gated":
            part.release()
        case "waited for":
            part._waiting -= 1
