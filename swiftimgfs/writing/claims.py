"""What all manifests of an account name: to know what no manifest names.

Every container is listed to its end. An SLO shows as one in a listing, and its manifest says
what it names; a DLO looks like an empty object, and its HEAD says under which prefix. A
manifest that Swift stored before its listings told (2.18) looks like a plain image: those
are asked too, where it matters. Whatever cannot be read might name anything, so it raises.
What was listed and is gone when it is asked may have another name by now, which was listed
before it had it: then everything is asked again. A row that is listed for long after its
object was deleted, as Swift allows, is gone the second time too, and counts as nothing.

A manifest can be named itself, by one that it is nested in. `Claims` is pure.
"""

from __future__ import annotations

import bisect
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.store.large_objects import Segment
from swiftimgfs.store.records import Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ObjectRow
    from swiftimgfs.writing.deletion import ObjectName

    Seen = Callable[[str, ObjectRow], None]

READERS: Final = 8
MOST_LOOKS: Final = 8  # a renamed image takes one more; so many only who never stops renaming


@dataclass(frozen=True, slots=True)
class Named:
    """What one manifest names: an SLO objects, a DLO a prefix."""

    objects: frozenset[ObjectName] = frozenset()
    prefix: ObjectName | None = None


@dataclass(slots=True)
class Claims:
    """The manifests that were found, and what each names."""

    manifests: dict[ObjectName, Named] = field(default_factory=dict)

    def add(self, manifest: ObjectName, named: Named | None) -> None:
        """Take note of what an object names, if it is a manifest."""
        if named is not None:
            self.manifests[manifest] = named

    def unnamed(self, candidates: Iterable[ObjectName]) -> set[ObjectName]:
        """Return those candidates that no manifest names, other than one of themselves.

        A nested manifest that nobody names keeps nothing alive, and goes with what it names.
        """
        unnamed = set(candidates)
        by_prefix = _ByPrefix(unnamed)
        waiting = [named for name, named in self.manifests.items() if name not in unnamed]
        while waiting:
            named = waiting.pop()
            found = unnamed.intersection(named.objects)
            if named.prefix is not None:
                found |= unnamed.intersection(by_prefix.below(*named.prefix))
            unnamed -= found
            waiting += [self.manifests[name] for name in found if name in self.manifests]
        return unnamed


class _ByPrefix:
    """Names, found by what they begin with."""

    def __init__(self, names: Iterable[ObjectName]) -> None:
        self._sorted: dict[str, list[str]] = defaultdict(list)
        for container, name in sorted(names):
            self._sorted[container].append(name)

    def below(self, container: str, prefix: str) -> Iterator[ObjectName]:
        names = self._sorted.get(container, [])
        for index in range(bisect.bisect_left(names, prefix), len(names)):
            if not names[index].startswith(prefix):
                return
            yield container, names[index]


async def read_claims(
    store: ImageStore,
    seen: Seen | None = None,
    *,
    since_ns: int = 0,
    is_thorough: Callable[[str, ObjectRow], bool] | None = None,
) -> Claims:
    """Return what the manifests of the account name.

    Args:
        store: Of the account.
        seen: Called with every object of every container.
        since_ns: Ask only SLOs that were stored since: no older one names what is newer.
        is_thorough: Says of what looks plain whether it has to be asked too.

    Raises:
        StoreUnavailableError: Images were renamed or removed all the time meanwhile.
        SwiftImgFsError: A container or a manifest cannot be read.
    """

    def may_name(container: str, row: ObjectRow) -> bool:
        is_old = row.is_slo and row.last_modified_ns < since_ns
        return (row.may_be_manifest and not is_old) or (
            is_thorough is not None and is_thorough(container, row)
        )

    known: set[tuple[str, str, int]] = set()
    for _ in range(MOST_LOOKS):
        look = await _look(store, seen, may_name)
        if look.gone <= known:
            return look.claims
        known |= look.gone
    raise errors.StoreUnavailableError(
        "images are renamed or removed all the time, so what manifests name cannot be told"
    )


@dataclass(slots=True)
class _Look:
    """One look at all manifests.

    Attributes:
        claims: What those name that were there.
        gone: What was listed, with its time, and no more there when it was asked.
    """

    store: ImageStore
    claims: Claims = field(default_factory=Claims)
    gone: set[tuple[str, str, int]] = field(default_factory=set)

    async def ask(self, rows: trio.MemoryReceiveChannel[tuple[str, ObjectRow]]) -> None:
        async with rows:
            async for container, row in rows:
                try:
                    named = await _named_by(self.store, container, row)
                except errors.NotFoundError:
                    self.gone.add((container, row.name, row.last_modified_ns))
                else:
                    self.claims.add((container, row.name), named)


async def _look(
    store: ImageStore, seen: Seen | None, may_name: Callable[[str, ObjectRow], bool]
) -> _Look:
    look = _Look(store)
    sender, receiver = trio.open_memory_channel[tuple[str, "ObjectRow"]](READERS)
    with errors.first_failure():
        async with trio.open_nursery() as nursery, sender:
            for _ in range(READERS):
                nursery.start_soon(look.ask, receiver.clone())
            receiver.close()
            for container in await store.list_containers():
                async for row in _rows(store, container.name):
                    if seen is not None:
                        seen(container.name, row)
                    if may_name(container.name, row):
                        await sender.send((container.name, row))
    return look


async def _rows(store: ImageStore, container: str) -> AsyncIterator[ObjectRow]:
    marker: str | None = ""
    while marker is not None:
        try:
            page = await store.list_page(container, delimiter="", marker=marker)
        except errors.NotFoundError:  # gone by now, and names nothing
            return
        for row in page.rows:
            yield row
        marker = page.next_marker


async def _named_by(store: ImageStore, container: str, row: ObjectRow) -> Named | None:
    if row.is_slo:
        with contextlib.suppress(errors.ImageChangedError):  # something else by now
            return await _named_by_slo(store, container, row.name)
    info = await store.head_image(container, row.name)
    if info.manifest is Manifest.SLO:
        return await _named_by_slo(store, container, row.name)
    return Named(prefix=info.dlo) if info.dlo is not None else None


async def _named_by_slo(store: ImageStore, container: str, name: str) -> Named:
    rows = await store.slo_rows(container, name)
    return Named(frozenset((r.container, r.name) for r in rows if isinstance(r, Segment)))
