"""An image that is not committed yet, as JSON: what to build the same again from. Pure.

What was uploaded is named; bytes that are only here stand in the spool file, at their own
offset in the image.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from swiftimgfs import errors
from swiftimgfs.layout import Inline, Spooled, Stored, Zeros

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from swiftimgfs.layout import Extent, LocalFile, Source

STORED: Final = "stored"


def recipe_of(
    place: tuple[str, str],
    base_etag: str | None,
    headers: Mapping[str, str],
    extents: Sequence[Extent],
) -> dict[str, object]:
    """Return an image as JSON has it.

    Args:
        place: Its container and name.
        base_etag: Of the image that it replaces.
        headers: What is sent with it.
        extents: Its bytes, none of them in memory only.
    """
    container, name = place
    return {
        "container": container,
        "name": name,
        "size": sum(extent.size for extent in extents),
        "base_etag": base_etag,
        "headers": headers,
        "extents": [_row(extent) for extent in extents],
    }


def _row(extent: Extent) -> list[object]:
    match extent.source:
        case Zeros():
            return [extent.size, "zero"]
        case Spooled():
            return [extent.size, "spool"]
        case Stored() as source:
            place = [source.container, source.object, source.etag]
            return [extent.size, STORED, *place, source.start, source.object_size]
        case Inline():
            raise AssertionError("bytes in memory are written to the spool first")


def pieces_of(
    recipe: Mapping[str, Any], spool: LocalFile | None
) -> Iterator[tuple[int, Source]]:
    """Yield the bytes of what `recipe_of` made, as pieces of a layout.

    Raises:
        HostDiskError: This is no recipe, or the spool file that it needs is not there.
    """
    offset = 0
    try:
        for size, kind, *rest in recipe["extents"]:
            yield int(size), _source(kind, rest, offset, spool)
            offset += size
    except (KeyError, TypeError, ValueError) as exc:
        raise errors.HostDiskError(f"the journal's recipe makes no sense: {exc}") from exc


def names_stored(recipe: Mapping[str, Any]) -> bool:
    """Return whether some of the bytes are in Swift: uploaded, or of the image that was edited."""
    return bool(stored_in(recipe))


def stored_in(recipe: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the objects in which some of the bytes are, each as container and name."""
    return {(row[2], row[3]) for row in recipe["extents"] if row[1] == STORED}


def read_from_own(recipe: Mapping[str, Any], etag: str, size: int) -> dict[str, Any]:
    """Return a recipe that takes an edited plain image's bytes from the object put over it.

    What has not been written since stands in both, at the same place.
    """
    place = [recipe["container"], recipe["name"]]
    rows = [
        [*row[:4], etag, row[5], size] if row[1] == STORED and row[2:4] == place else row
        for row in recipe["extents"]
    ]
    return {**recipe, "extents": rows}


def _source(kind: str, rest: list[Any], offset: int, spool: LocalFile | None) -> Source:
    if kind == "zero":
        return Zeros()
    if kind == STORED:
        return Stored(*rest)
    if spool is None:
        raise ValueError("no spool file")
    return Spooled(spool, offset)


@contextlib.contextmanager
def damage_told(image: str) -> Iterator[None]:
    """Have a recipe or a spool file that makes no sense be a failure of that upload alone.

    Raises:
        HostDiskError: It is damaged, or cannot be read.
    """
    try:
        yield
    except OSError as exc:
        raise errors.host_failure(exc, f"what was kept of {image}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        kind = type(exc).__name__
        raise errors.HostDiskError(f"what was kept of {image} makes no sense ({kind})") from exc
