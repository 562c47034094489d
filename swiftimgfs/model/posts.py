"""Changes of metadata that are on their way to Swift: several of one file in one POST.

`cp -a`, `rsync` and `tar` set owner, mode, times and attributes one after the other; each as
a request would be four for each file. So a change is shown at once, and sent a moment after
the last one. Who asks for it to be stored (fsync, close) waits for that and is told when it
failed; of a change by name that nobody waits for, the next change, fsync or close of the same
file tells, and the log does. What failed is not shown any more.

While somebody else replaces the object (a commit, a rename) the POST is `held`: it would
give the new one what the old one carried.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.model.inodes import Kind
from swiftimgfs.store.metadata import merged
from swiftimgfs.store.records import CONTAINER_META, CONTENT_TYPE, DIRECTORY_TYPE, OBJECT_META

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swiftimgfs.model.directories import Directories
    from swiftimgfs.model.inodes import Inode, InodeTable
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.metadata import HeaderChanges
    from swiftimgfs.store.records import ImageInfo

log = logging.getLogger(__name__)

DELAY: Final = 0.4  # seconds after the last change; tools make them within milliseconds
LONGEST_DELAY: Final = 0.8  # ... and after the first: `attr_timeout` is 1 s


@dataclass(eq=False, slots=True)
class _Post:
    """A POST that is due, or on its way."""

    first: float
    last: float
    sending: trio.Lock = field(default_factory=trio.Lock)

    @property
    def due(self) -> float:
        return min(self.last + DELAY, self.first + LONGEST_DELAY)


class Posts:
    """The POSTs of one mount."""

    def __init__(
        self,
        store: ImageStore,
        directories: Directories,
        inodes: InodeTable,
        nursery: trio.Nursery,
    ) -> None:
        self._store = store
        self._directories = directories
        self._inodes = inodes
        self._nursery = nursery
        self._posts: dict[Inode, _Post] = {}
        self._held: dict[Inode, trio.Event] = {}
        self._failures: dict[Inode, errors.SwiftImgFsError] = {}

    def change(self, inode: Inode, changes: HeaderChanges) -> None:
        """Change headers of an image, or of what keeps a directory's, in a moment.

        Raises:
            SwiftImgFsError: An earlier change failed, and nobody was told.
        """
        self._tell(inode)
        inode.change(changes)
        now = trio.current_time()
        post = self._posts.get(inode)
        if post is not None:
            post.last = now
            return
        post = self._posts[inode] = _Post(now, now)
        self._nursery.start_soon(self._send_later, inode, post)

    async def settled(self, inode: Inode) -> None:
        """Return after all changes of a file are in Swift.

        Raises:
            SwiftImgFsError: One failed, and nobody was told.
        """
        await self.sent(inode)
        self._tell(inode)

    async def sent(self, inode: Inode) -> None:
        """Return after all changes of a file were sent, whatever came of it."""
        while (held := self._held.get(inode)) is not None:
            await held.wait()
        await self._send_all(inode)

    async def all_sent(self) -> None:
        """Return after all changes of all files were sent."""
        for inode in list(self._posts):
            await self.sent(inode)

    @contextlib.asynccontextmanager
    async def held(self, inode: Inode) -> AsyncIterator[None]:
        """Send what there is to send of a file, and then nothing while the context lasts."""
        await self.sent(inode)
        while inode in self._held:  # somebody else's came first
            await self.sent(inode)
        event = self._held[inode] = trio.Event()
        try:
            yield
        finally:
            del self._held[inode]
            event.set()

    # ── steps ──────────────────────────────────────────────────────────────────────────

    def _tell(self, inode: Inode) -> None:
        failure = self._failures.pop(inode, None)
        if failure is not None:
            raise failure

    async def _send_later(self, inode: Inode, post: _Post) -> None:
        due = trio.current_time()
        while self._posts.get(inode) is post and due < post.due:  # others came meanwhile
            due = post.due
            await trio.sleep_until(due)
        await self.sent(inode)

    async def _send_all(self, inode: Inode) -> None:
        post = self._posts.get(inode)
        if post is None:
            return
        async with post.sending:
            while self._posts.get(inode) is post:
                await self._send_once(inode)
                if not inode.unsent:
                    del self._posts[inode]
                    self._inodes.drop_if_unused(inode)

    async def _send_once(self, inode: Inode) -> None:
        changes, path = dict(inode.unsent), inode.path
        info = None
        try:
            if not inode.is_unlinked:
                info = await self._send(inode, changes)
        except errors.SwiftImgFsError as failure:
            reason = errors.reason_beside(path, failure)
            log.warning("metadata not stored image=%s reason=%s", path, reason)
            if inode.lookups > 0 or inode.opens > 0:  # else nobody can ask any more
                self._failures[inode] = failure
            inode.forget_unsent(changes)
            return
        inode.forget_unsent(changes, info)
        if inode.kind is Kind.DIRECTORY:
            self._directories.changes.changed_directory(path)
        elif info is not None:
            self._directories.changes.stored(path, info)

    async def _send(self, inode: Inode, changes: HeaderChanges) -> ImageInfo | None:
        path = inode.path
        if inode.kind is not Kind.DIRECTORY:
            return await self._store.change_image(path.container, path.name, changes)
        if path.is_container:
            await self._store.post_container(path.container, _for_container(changes))
            return None
        try:
            return await self._store.change_image(path.container, path.prefix, changes)
        except errors.NotFoundError:  # it is there by what lies in it alone
            await put_marker(self._store, path, merged({}, changes))
            return await self._store.head_image(path.container, path.prefix)


async def put_marker(
    store: ImageStore, path: StorePath, headers: HeaderChanges | None = None
) -> None:
    """Store the object that makes an empty directory exist, and keeps its attributes."""
    kept = merged({CONTENT_TYPE: DIRECTORY_TYPE}, headers or {})
    await store.put_object(path.container, path.prefix, b"", kept)


def _for_container(changes: HeaderChanges) -> dict[str, str]:
    """Return changes of metadata as a container takes them: an empty value removes."""
    return {
        CONTAINER_META + key.removeprefix(OBJECT_META): value or ""
        for key, value in changes.items()
        if key.startswith(OBJECT_META)
    }
