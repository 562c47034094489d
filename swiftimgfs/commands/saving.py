"""`swiftimgfs retry --save-to`: what was kept, in files of this host.

The uploads stay where they are: who has looked at the files sends them, or forgets them.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors
from swiftimgfs.assembly import build_fetcher, make_pool
from swiftimgfs.commands.source import printable
from swiftimgfs.layout import Spooled
from swiftimgfs.reading.reader import ImageReader
from swiftimgfs.store.image_store import ImageStore
from swiftimgfs.writing.saving import MAP_SUFFIX, save_kept

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from swiftimgfs.config.load import Config
    from swiftimgfs.layout import Layout
    from swiftimgfs.writing.saving import Read
    from swiftimgfs.writing.state_directory import Found


def save(config: Config | None, uploads: Sequence[Found], directory: Path) -> list[bool]:
    """Save uploads; return of each whether that worked.

    Args:
        config: By what to log in; None when all that was kept is on this host.
        uploads: Those to be saved.
        directory: Where to.

    Raises:
        SwiftImgFsError: Nobody could log in.
    """
    with errors.first_failure():
        if config is None:
            return trio.run(_save_each, uploads, directory, _read_here)
        return trio.run(_save_with_swift, config, uploads, directory)


async def _save_with_swift(
    config: Config, uploads: Sequence[Found], directory: Path
) -> list[bool]:
    async with contextlib.aclosing(make_pool(config.store)) as pool:
        store = ImageStore(pool, config.store.source.reference, config.view.storage_policy)
        await store.connect()
        async with trio.open_nursery() as nursery:
            reader = ImageReader(build_fetcher(config, pool, store, nursery))
            results = await _save_each(uploads, directory, reader.read)
            reader.close()
            nursery.cancel_scope.cancel()
    return results


async def _read_here(layout: Layout, offset: int, size: int) -> bytes:
    (piece,) = layout.pieces(offset, size)
    if not isinstance(piece.source, Spooled):
        raise AssertionError(f"{piece} is not here")  # noqa: TRY004  # a bug here
    return piece.source.file.read(piece.source.position, size)


async def _save_each(uploads: Sequence[Found], directory: Path, read: Read) -> list[bool]:
    return [await _save_one(found, directory, read) for found in uploads]


async def _save_one(found: Found, directory: Path, read: Read) -> bool:
    image = found.record.image
    try:
        saved = await save_kept(found, directory, read)
    except errors.SwiftImgFsError as failure:
        line = f"not saved: {image}: {errors.reason_beside(image, failure)}"
        print(printable(line), file=sys.stderr)  # noqa: T201
        return False
    line = f"saved: {image} as {saved.path}"
    if saved.missing:
        line += (
            f", without {saved.missing} bytes that were only in the version that was opened:"
            f" see {saved.path}{MAP_SUFFIX}"
        )
    print(printable(line))  # noqa: T201
    return True
