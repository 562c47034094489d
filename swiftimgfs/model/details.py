"""What images are: HEADs that were answered, kept while they are good.

A listing cannot tell the mtime and mode in an image's metadata, nor what an empty object or
an SLO is made of. What is asked for that is kept as long as a listing shows the same version.
Who asks for one image gets it at most `attr_timeout` seconds old, and whoever asks for it
meanwhile gets the same answer.

Every manifest seen is noted in the registry of segments: see `manifests`.
"""

from __future__ import annotations

import contextlib
import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from swiftimgfs import errors
from swiftimgfs.model import samples
from swiftimgfs.model.paths import StorePath
from swiftimgfs.model.verdicts import Verdicts
from swiftimgfs.store.naming import glance_image_claiming
from swiftimgfs.store.records import EMPTY_MD5, ImageInfo, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from swiftimgfs.model.segments import Parts, SegmentRegistry
    from swiftimgfs.store.image_store import ImageStore

NEVER = -math.inf
# Seconds for which a listing is not believed of an image that was found gone.
SHORTEST_MEMORY = 1.0
# Tasks that ask side by side; the connections are fewer.
ASKERS = 32


class ExactTimes(enum.Enum):
    """Whose own modification time is asked for, as `-o mtime` says."""

    LIKELY = "exact"
    EVERY = "every"
    NOBODY = "listing"


@dataclass(frozen=True, slots=True)
class _Known:
    info: ImageInfo
    asked_at: float


class ImageDetails:
    """The images that were asked for, by container and name."""

    def __init__(
        self,
        store: ImageStore,
        segments: SegmentRegistry,
        *,
        attr_timeout: float,
        list_timeout: float,
        exact_times: ExactTimes,
    ) -> None:
        self._store = store
        self._segments = segments
        self._attr_timeout = attr_timeout
        self._exact_times = exact_times
        self._known: dict[tuple[str, str], _Known] = {}
        self._missing: dict[tuple[str, str], float] = {}
        self._asking: dict[tuple[str, str], trio.Event] = {}
        self._unasked: set[tuple[str, str]] = set()
        self._resolved: dict[tuple[str, str], str] = {}
        self._verdicts: Verdicts[samples.Stratum] = Verdicts(list_timeout)

    # ── one image ──────────────────────────────────────────────────────────────────────

    async def image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path`, at most `attr_timeout` old.

        Raises:
            NotFoundError: There is none, or was none that long ago.
        """
        name = (path.container, path.name)
        while True:
            if (info := self.fresh(path)) is not None:
                return info
            if self._is_young(self._missing.get(name)):
                raise errors.NotFoundError(f"{path}: was not there a moment ago")
            if (event := self._asking.get(name)) is None:
                break
            await event.wait()
            if self._attr_timeout == 0:  # nothing is ever fresh then, not even what just came
                break
        event = self._asking[name] = trio.Event()
        try:
            return await self.refreshed_image(path)
        finally:
            if self._asking.get(name) is event:
                del self._asking[name]
            event.set()

    def fresh(self, path: StorePath) -> ImageInfo | None:
        """Return an image that was asked for at most `attr_timeout` ago, if it was."""
        known = self._known.get((path.container, path.name))
        return known.info if known and self._is_young(known.asked_at) else None

    async def refreshed_image(self, path: StorePath) -> ImageInfo:
        """Return the image at `path` as it is now.

        Raises:
            NotFoundError: There is none.
        """
        before = self._known.get((path.container, path.name))
        try:
            info = await self._store.head_image(path.container, path.name)
        except errors.NotFoundError:
            # What this mount has stored since Swift was asked is not gone.
            if self._known.get((path.container, path.name)) is before:
                self.forget(path)
                self._note_missing(path)
            raise
        self.note(info)
        return info

    def known(self, container: str, name: str) -> ImageInfo | None:
        """Return what an image was when it was last heard of, however long ago."""
        known = self._known.get((container, name))
        return known.info if known is not None else None

    def has(self, container: str, name: str, last_modified_ns: int) -> bool:
        """Return whether this version of an image was asked for, or inferred."""
        known = self._known.get((container, name))
        return known is not None and known.info.last_modified_ns == last_modified_ns

    def has_resolved(self, container: str, name: str, etag: str | None) -> bool:
        """Return whether it is known which objects this SLO is made of."""
        return self._resolved.get((container, name)) == etag

    def infer(self, info: ImageInfo) -> None:
        """Take a DLO for known that a listing lets expect; whoever looks at it has it asked."""
        name = (info.container, info.name)
        self._unasked.add(name)
        self._known[name] = _Known(info, NEVER)
        self._segments.note(info, ())

    async def resolve(self, info: ImageInfo) -> None:
        """Learn which objects an SLO is made of."""
        image = await self._store.resolve(info)
        self._resolved[info.container, info.name] = info.etag
        self._segments.note(info, image.parts)

    def note(self, info: ImageInfo, parts: Parts | None = None) -> None:
        """Take note of what an image is, and of what it is made of when that is known."""
        name = (info.container, info.name)
        known = self._known.get(name)
        self._known[name] = _Known(info, trio.current_time())
        self._missing.pop(name, None)
        self._unasked.discard(name)
        if parts is not None and info.manifest is Manifest.SLO:
            self._resolved[name] = info.etag
        if parts is not None or not self._is_noted(info, known):
            self._segments.note(info, parts or ())

    def _is_noted(self, info: ImageInfo, known: _Known | None) -> bool:
        """Return whether the registry has what this version is made of."""
        if info.manifest is Manifest.SLO:
            return self.has_resolved(info.container, info.name, info.etag)
        return known is not None and known.info.etag == info.etag

    def forget(self, path: StorePath) -> None:
        """Forget an image that is gone."""
        name = (path.container, path.name)
        self._known.pop(name, None)
        self._resolved.pop(name, None)
        self._unasked.discard(name)
        self._segments.forget(path.container, path.name)

    def expire(self, directory: StorePath) -> None:
        """Have the images in a directory, however deep, be asked for again by who wants them."""
        for (container, name), known in list(self._known.items()):
            if StorePath(container, name).is_in(directory):
                self._known[container, name] = _Known(known.info, NEVER)
        self._missing.clear()
        self._verdicts.clear()

    async def confirm_segment(self, path: StorePath) -> bool:
        """Return whether a name is a segment's, with its manifest asked if that was inferred."""
        if not self._segments.is_segment(path.container, path.name):
            return False
        claiming = glance_image_claiming(path.component)
        manifest = path.parent.child(claiming) if claiming else path
        if (manifest.container, manifest.name) in self._unasked:
            with contextlib.suppress(errors.NotFoundError):
                await self.refreshed_image(manifest)
        return self._segments.is_segment(path.container, path.name)

    # ── attributes ─────────────────────────────────────────────────────────────────────

    def may_be_manifest(self, info: ImageInfo) -> bool:
        """Return whether a listed image may be a DLO, of which nobody has asked Swift yet."""
        return info.etag == EMPTY_MD5 and not self._has_metadata_of(info)

    def lacks_attributes(self, info: ImageInfo) -> bool:
        """Return whether this listed image may have attributes that are not known yet."""
        if self.may_be_manifest(info):
            return True
        if self._exact_times is ExactTimes.NOBODY or self._has_metadata_of(info):
            return False
        return self._verdict(samples.stratum_of(info)) is not False

    def is_settled(self, info: ImageInfo) -> bool:
        """Return whether what is shown of this image is what a look at it alone would show."""
        if self._exact_times is ExactTimes.NOBODY:
            return not self.may_be_manifest(info)
        return self._has_metadata_of(info)

    async def exact(
        self, images: Collection[ImageInfo], all_of_them: Callable[[], Collection[ImageInfo]]
    ) -> None:
        """Ask for attributes of `images`, where some of all of the directory carry any.

        What may be a manifest is asked in any case: of those the listing has no size.
        Afterwards `best` says what is to be shown of each.
        """
        await self.ask_for_manifests(images)
        if self._exact_times is ExactTimes.NOBODY:
            return
        for stratum, alike in samples.by_stratum(images).items():
            if self._verdict(stratum) is False:
                continue
            unknown = [info for info in alike if not self._has_metadata_of(info)]
            if unknown and self._verdict(stratum) is None:
                await self._judge(stratum, all_of_them())
            if self._verdict(stratum) is not False:
                await self._head_all(i for i in unknown if not self._has_metadata_of(i))

    async def ask_for_manifests(self, images: Iterable[ImageInfo]) -> None:
        """Ask, side by side, for those of listed images that may be DLOs."""
        await self._head_all([info for info in images if self.may_be_manifest(info)])

    async def gone_among(self, images: Collection[ImageInfo]) -> list[ImageInfo]:
        """Ask for images, and return those of which Swift says that there is none."""
        await self._head_all(images)
        return [info for info in images if self.known(info.container, info.name) is None]

    def best(self, info: ImageInfo) -> ImageInfo | None:
        """Return the best that is known of a listed image; None when it was found gone."""
        name = (info.container, info.name)
        known = self._known.get(name)
        if known is None and (since := self._missing.get(name)) is not None:
            is_recent = trio.current_time() - since < max(self._attr_timeout, SHORTEST_MEMORY)
            return None if is_recent else info
        if known is not None and known.info.last_modified_ns >= info.last_modified_ns:
            return known.info
        return info

    def _verdict(self, stratum: samples.Stratum) -> bool | None:
        """Return whether images like these carry attributes; None when that is not known."""
        if self._exact_times is ExactTimes.EVERY:
            return True
        return self._verdicts.get(stratum)

    async def _judge(self, stratum: samples.Stratum, images: Collection[ImageInfo]) -> None:
        """Find out whether images like these carry attributes, by what a few of them answer."""
        alike = samples.by_stratum(images).get(stratum, [])
        await self._head_all(samples.sample_of(alike, self._has_metadata_of))
        carries = any(
            samples.carries_attributes(best.metadata)
            for info in alike
            if (best := self.best(info)) is not None
        )
        self._verdicts.note(stratum, carries=carries)

    def _has_metadata_of(self, info: ImageInfo) -> bool:
        """Return whether this version of an image was asked for its metadata."""
        name = (info.container, info.name)
        return name not in self._unasked and self.has(*name, info.last_modified_ns)

    async def _head_all(self, images: Iterable[ImageInfo]) -> None:
        await side_by_side(
            (self._head, StorePath(info.container, info.name)) for info in images
        )

    async def _head(self, path: StorePath) -> None:
        with contextlib.suppress(errors.NotFoundError):
            await self.refreshed_image(path)

    # ── helpers ────────────────────────────────────────────────────────────────────────

    def _is_young(self, since: float | None) -> bool:
        return since is not None and trio.current_time() - since < self._attr_timeout

    def _note_missing(self, path: StorePath) -> None:
        now = trio.current_time()
        oldest = now - max(self._attr_timeout, SHORTEST_MEMORY)
        # As old as they are in order: those that are too old are the first.
        for name, since in list(self._missing.items()):
            if since >= oldest:
                break
            del self._missing[name]
        self._missing.pop((path.container, path.name), None)
        self._missing[path.container, path.name] = now


async def side_by_side(calls: Iterable[tuple[Any, ...]]) -> None:
    """Await calls, each a function with its arguments, many at once.

    Raises:
        SwiftImgFsError: What the first of them failed with; the others are given up.
    """
    listed = list(calls)
    waiting = iter(listed)

    async def work() -> None:
        for function, *arguments in waiting:
            await function(*arguments)

    with errors.first_failure():
        async with trio.open_nursery() as nursery:
            for _ in listed[:ASKERS]:
                nursery.start_soon(work)
