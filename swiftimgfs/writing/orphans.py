"""Segments that no manifest names, by whoever's layout they were stored.

An object is taken for a segment by its name alone, and only by these:

| whose | where | name |
|---|---|---|
| ours | in `X_segments` | `IMAGE/slo/TOKEN/SIZE/` and a number, `zeros`, `copy` or `rows-` and a number; TOKEN as `1700000000.123456-89abcdef` |
| ours | anywhere | `.segments-IMAGE-TOKEN-` and the same, or a number of Glance's five digits |
| the swift CLI, rclone | in `X_segments` | `OBJECT/[slo/]MTIME/[SIZE/]SIZE/` and a number of eight digits |
| rclone | anywhere | `.file-segments/OBJECT/MTIME/SIZE/` and the same |
| Glance | in a container that Glance's options name | `UUID-` and a number of five digits, when there is no object `UUID` |

Everything else is somebody's own object, and is never touched. What is one upload goes
together or not at all: as long as one segment of it is younger than the age that was asked
for, it may be running, on whatever host.

What manifests name is asked twice, the second time of everything that could be a manifest:
an image that is renamed while it is looked for is at one place or the other. A container
that keeps old versions could have a manifest where no listing shows it, so it stops all.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.store.records import SEGMENT_CONTAINER_SUFFIX
from swiftimgfs.writing.claims import read_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.naming import Naming
    from swiftimgfs.store.records import ObjectRow
    from swiftimgfs.writing.deletion import ObjectName

_NS: Final = 1_000_000_000
_UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_TOKEN = r"[0-9]{9,11}\.[0-9]{6}-[0-9a-f]{8}"  # noqa: S105  # of an upload
_OURS = r"(?:[0-9]{8}|zeros|copy|rows-[0-9]{8})"
_TIME = r"[0-9]{9,11}(?:\.[0-9]+)?"
_IN_NEIGHBOUR = re.compile(rf"(.+/slo/{_TOKEN}/[0-9]+/){_OURS}", re.DOTALL)
_AMONG_IMAGES = re.compile(
    rf"((?:.*/)?\.segments-.+-{_TOKEN}-)(?:{_OURS}|[0-9]{{5}})", re.DOTALL
)
_BY_CLI = re.compile(rf"(.+/(?:slo/)?{_TIME}/(?:-?[0-9]+/){{1,2}})[0-9]{{8}}", re.DOTALL)
_BY_RCLONE = re.compile(rf"(\.file-segments/.+/{_TIME}/-?[0-9]+/)[0-9]{{8}}", re.DOTALL)
_BY_GLANCE = re.compile(rf"(({_UUID})-)[0-9]{{5}}")


class Writer(enum.Enum):
    """Who names segments like this."""

    OURS = "swiftimgfs"
    TOOL = "swift or rclone"
    RCLONE = "rclone"
    GLANCE = "glance"


@dataclass(frozen=True, slots=True)
class SegmentName:
    """What a name says of an object that is a segment.

    Attributes:
        prefix: What all segments of the same upload begin with.
        image: The object beside it that is or was the image, where its name says that.
    """

    writer: Writer
    prefix: str
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A segment that no manifest names."""

    container: str
    name: str
    size: int
    stored_ns: int
    writer: Writer
    prefix: str


def segment_name(container: str, name: str, naming: Naming) -> SegmentName | None:
    """Return what a name says of a segment; None for what may be anybody's own object."""
    patterns = [(_AMONG_IMAGES, Writer.OURS), (_BY_RCLONE, Writer.RCLONE)]
    if container.removesuffix(SEGMENT_CONTAINER_SUFFIX) not in {"", container}:
        patterns += [(_IN_NEIGHBOUR, Writer.OURS), (_BY_CLI, Writer.TOOL)]
    for pattern, writer in patterns:
        if match := pattern.fullmatch(name):
            return SegmentName(writer, match[1])
    match = _BY_GLANCE.fullmatch(name)
    if match is not None and naming.is_store_container(container):
        return SegmentName(Writer.GLANCE, match[1], match[2])
    return None


class Collection:
    """The segments of an account, as a walk through its listings finds them. Pure."""

    def __init__(self, naming: Naming) -> None:
        self._naming: Final = naming
        self._segments: dict[ObjectName, Orphan] = {}
        self._youngest: dict[tuple[str, str], int] = {}
        self._images: dict[tuple[str, str], str] = {}  # of (container, prefix)
        self._there: set[ObjectName] = set()

    def see(self, container: str, row: ObjectRow) -> None:
        """Take note of an object."""
        found = segment_name(container, row.name, self._naming)
        if found is None:
            if len(row.name) == len("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"):
                self._there.add((container, row.name))
            return
        group = (container, found.prefix)
        self._youngest[group] = max(self._youngest.get(group, 0), row.last_modified_ns)
        if found.image is not None:
            self._images[group] = found.image
        self._segments[container, row.name] = Orphan(
            container, row.name, row.size, row.last_modified_ns, found.writer, found.prefix
        )

    def candidates(
        self, before_ns: int, is_spared: Callable[[str, str], bool]
    ) -> dict[ObjectName, Orphan]:
        """Return the segments of uploads that ended before a moment, and are not spared."""
        return {
            place: segment
            for place, segment in self._segments.items()
            if self._is_over((segment.container, segment.prefix), before_ns)
            and not is_spared(*place)
        }

    def _is_over(self, group: tuple[str, str], before_ns: int) -> bool:
        image = self._images.get(group)
        has_image = image is not None and (group[0], image) in self._there
        return self._youngest[group] < before_ns and not has_image


async def find_orphans(
    store: ImageStore,
    naming: Naming,
    *,
    before: float,
    is_spared: Callable[[str, str], bool],
) -> list[Orphan]:
    """Return the segments of an account that no manifest names, by container and name.

    Args:
        store: Of the account.
        naming: By which containers are Glance's.
        before: Uploads that went on after this (seconds since the epoch) are left alone.
        is_spared: Says what must not go either, by container and name.

    Raises:
        SwiftImgFsError: Something that may name segments cannot be read.
    """
    before_ns = int(before * _NS)
    first = Collection(naming)
    claims = await read_claims(store, first.see)
    found = first.candidates(before_ns, is_spared)
    unnamed = claims.unnamed(found)
    if not unnamed:
        return []
    await _check_versions(store)
    smallest = min(found[place].size for place in unnamed)
    second = Collection(naming)

    def may_be_manifest(container: str, row: ObjectRow) -> bool:
        is_segment = segment_name(container, row.name, naming) is not None
        return not is_segment and row.size >= smallest

    claims = await read_claims(store, second.see, is_thorough=may_be_manifest)
    found = second.candidates(before_ns, is_spared)
    orphans = claims.unnamed(unnamed & found.keys())
    return [found[place] for place in sorted(orphans)]


async def _check_versions(store: ImageStore) -> None:
    """Refuse to judge where old versions of manifests are kept out of sight.

    Raises:
        StoreRefusedError: A container keeps them.
    """
    for row in await store.list_containers():
        info = await store.head_container(row.name)
        if info.keeps_versions:
            raise errors.StoreRefusedError(
                f"container {row.name} keeps old versions, which may be manifests that no"
                " listing shows: nothing is deleted in this account"
            )


def by_upload(orphans: Iterable[Orphan]) -> dict[tuple[str, str], list[Orphan]]:
    """Return orphans by the upload that they are of: (container, prefix)."""
    grouped: dict[tuple[str, str], list[Orphan]] = {}
    for orphan in orphans:
        grouped.setdefault((orphan.container, orphan.prefix), []).append(orphan)
    return grouped
