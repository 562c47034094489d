"""Which objects are segments, because a manifest that we have seen names them.

Never by guessing from names: an image called `x-00001` beside a plain image `x` is an
image. Where a manifest has not been seen yet its segments are not known either, so
whoever lists a directory has its manifests noted first. Nothing here awaits.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swiftimgfs.store.records import ImageInfo

T = TypeVar("T")
ObjectName = tuple[str, str]  # container, object
Parts = tuple[ObjectName, ...]


class _Named:
    """What one manifest names: a DLO's prefix, or an SLO's objects."""

    __slots__ = ("objects", "prefix")

    def __init__(self, prefix: ObjectName | None, objects: frozenset[ObjectName]) -> None:
        self.prefix = prefix
        self.objects = objects


class SegmentRegistry:
    """The manifests seen so far, and what they name."""

    def __init__(self) -> None:
        self._manifests: dict[ObjectName, _Named] = {}
        self._objects: Counter[ObjectName] = Counter()
        self._prefixes: Counter[ObjectName] = Counter()
        # Prefixes of one container have few lengths (Glance's: 37), so that a name is
        # looked up once per length however many images there are.
        self._lengths: Counter[tuple[str, int]] = Counter()
        self._containers: Counter[str] = Counter()

    def note(self, info: ImageInfo, parts: Parts) -> None:
        """Take note of a large object: a DLO by its header, an SLO by its `parts`."""
        manifest = (info.container, info.name)
        self.forget(*manifest)
        if info.manifest is None:
            return
        objects = frozenset(() if info.dlo else parts)
        self._manifests[manifest] = _Named(info.dlo, objects)
        self._objects.update(objects)
        self._containers.update(_containers_of(self._manifests[manifest]))
        if info.dlo:
            self._prefixes[info.dlo] += 1
            self._lengths[info.dlo[0], len(info.dlo[1])] += 1

    def forget(self, container: str, name: str) -> None:
        """Forget a manifest that is gone or another image now."""
        named = self._manifests.pop((container, name), None)
        if named is None:
            return
        _subtract(self._objects, named.objects)
        _subtract(self._containers, _containers_of(named))
        if named.prefix:
            _subtract(self._prefixes, [named.prefix])
            _subtract(self._lengths, [(named.prefix[0], len(named.prefix[1]))])

    def is_segment(self, container: str, name: str) -> bool:
        """Return whether a manifest seen so far names this object, or would if it existed."""
        if container not in self._containers or (container, name) in self._manifests:
            return False
        if (container, name) in self._objects:
            return True
        lengths = [length for where, length in self._lengths if where == container]
        return any((container, name[:length]) in self._prefixes for length in lengths)


def _containers_of(named: _Named) -> set[str]:
    prefixes = [named.prefix] if named.prefix else []
    return {container for container, _ in (*named.objects, *prefixes)}


def _subtract(counter: Counter[T], gone: Iterable[T]) -> None:
    for key in gone:
        counter[key] -= 1
        if counter[key] <= 0:
            del counter[key]
