"""Getting out what was kept of an image: into a file of this host, whatever Swift has by now.

Bytes that were written here are in the spool, or in segments that the upload put into Swift.
The others belong to the version that was opened: whoever replaced it has mostly deleted them.
So beside the file there is a map of what it has from where; without it nobody could tell
zeros from bytes that are gone.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.layout import Layout, Stored, Zeros
from swiftimgfs.writing.recipe import damage_told, names_stored, pieces_of
from swiftimgfs.writing.spool import SpoolFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from swiftimgfs.layout import Extent
    from swiftimgfs.writing.state_directory import Found
    from swiftimgfs.writing.upload_record import UploadRecord

    # Of a layout: from an offset, so many bytes.
    Read = Callable[[Layout, int, int], Awaitable[bytes | bytearray | memoryview]]

PIECE: Final = 4 * 1024 * 1024
LONGEST_LEAF: Final = 180  # bytes; a file's name has 255, and the upload's id before it
MAP_SUFFIX: Final = ".map"
WRITTEN: Final = "written"
BEFORE: Final = "before"
ZEROS: Final = "zeros"
MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class Saved:
    """An image that was saved.

    Attributes:
        path: The file; its map is beside it.
        missing: Bytes that are nowhere any more.
    """

    path: Path
    missing: int


def needs_swift(record: UploadRecord) -> bool:
    """Return whether some of an upload's bytes, as far as they are kept, are in Swift."""
    with damage_told(record.image):
        return record.recipe is not None and names_stored(record.recipe)


async def save_kept(found: Found, directory: Path, read: Read) -> Saved:
    """Write what is kept of an upload into a new sparse file below `directory`, and its map.

    The upload stays as it is. The file is called by the upload's id and the image's last name;
    a line of its map has offset and size in bytes, and `written` (by who could not store it),
    `before` (of the version that he had opened), `zeros`, or `missing`: a hole in the file.

    Args:
        found: The upload; nobody may be at work on it.
        directory: Made if it is not there.
        read: Reads what is in Swift.

    Raises:
        HostDiskError: The file is there already, the disk fails, or what was kept is damaged.
        SwiftImgFsError: Swift does not give what it has.
    """
    record = found.record
    if record.recipe is None:
        raise errors.HostDiskError(f"{record.image}: the journal has no recipe for it")
    path = directory / _file_name(record)
    with damage_told(record.image):
        spool = SpoolFile.kept(found.spool) if found.spool else None
        layout = Layout(pieces_of(record.recipe, spool))
    try:
        return await _saved(record, layout, path, read)
    except OSError as exc:
        raise errors.host_failure(exc, str(exc.filename or path)) from exc
    finally:
        if spool is not None:
            spool.detach()


def _file_name(record: UploadRecord) -> str:
    """Return a name that leads nowhere else, whatever somebody has called the image."""
    leaf = os.fsencode(record.name.rsplit("/", 1)[-1])[:LONGEST_LEAF]
    return f"{record.token}-{os.fsdecode(leaf)}"


async def _saved(record: UploadRecord, layout: Layout, path: Path, read: Read) -> Saved:
    with _new_file(path) as descriptor:
        os.truncate(descriptor, layout.size)
        rows = [row async for row in _written(record, layout, descriptor, read)]
        os.fsync(descriptor)
        _write_map(path, rows)
    return Saved(path, sum(size for _, size, kind in rows if kind == MISSING))


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """Give a descriptor of a new file, which goes again when the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)


def _write_map(path: Path, rows: Iterable[tuple[int, int, str]]) -> None:
    joined: list[tuple[int, int, str]] = []
    for start, size, kind in rows:
        if joined and joined[-1][2] == kind:
            first, before, _ = joined.pop()
            joined.append((first, before + size, kind))
        else:
            joined.append((start, size, kind))
    text = "".join(f"{start} {size} {kind}\n" for start, size, kind in joined)
    with (
        _new_file(path.with_name(path.name + MAP_SUFFIX)) as descriptor,
        os.fdopen(descriptor, "w", closefd=False) as file,
    ):
        file.write(text)


async def _written(
    record: UploadRecord, layout: Layout, descriptor: int, read: Read
) -> AsyncIterator[tuple[int, int, str]]:
    """Put what can be read into the file; yield offset, size and kind of each piece."""
    for extent in layout.extents:
        if isinstance(extent.source, Zeros):
            yield extent.offset, extent.size, ZEROS
            continue
        kind = _kind_of(record, extent)
        for at in range(extent.offset, extent.end, PIECE):
            size = min(PIECE, extent.end - at)
            try:
                data = await read(layout, at, size)
            except errors.ImageChangedError:
                yield at, extent.end - at, MISSING
                break
            os.pwrite(descriptor, data, at)
            yield at, size, kind


def _kind_of(record: UploadRecord, extent: Extent) -> str:
    source = extent.source
    if not isinstance(source, Stored):
        return WRITTEN
    name = (source.container, source.object)
    return WRITTEN if name in record.objects or record.is_placed(*name) else BEFORE
