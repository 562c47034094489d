"""Renaming: of images and links by one copy inside Swift, of directories object by object.

A container cannot be renamed: `mv` is told that it is another filesystem, and copies.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from swiftimgfs import errors
from swiftimgfs.model.inodes import Kind
from swiftimgfs.model.moving import move
from swiftimgfs.model.names import containers_of
from swiftimgfs.model.paths import StorePath, check_storable, existing_component_of
from swiftimgfs.writing.doomed import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.names import Names
    from swiftimgfs.store.image_store import StoredImage
    from swiftimgfs.writing.doomed import Version
    from swiftimgfs.writing.hooks import JournalEntry

log = logging.getLogger(__name__)

# The connections of the pool are what limits; more tasks than that only wait for one.
WORKERS: Final = 16
LOOKS: Final = 2  # at a name whose image is gone when it is asked what it is made of


@dataclass(slots=True)
class _Progress:
    """How far the objects of a directory have come."""

    waiting: Iterator[str]
    moved: int = 0
    failure: errors.SwiftImgFsError | None = None


class Renames:
    """Gives names to what has others."""

    def __init__(self, names: Names) -> None:
        self._names = names
        # Directories of which a part has the new name: renaming them again goes on with it.
        self._half_done: set[tuple[StorePath, StorePath]] = set()

    async def rename(
        self, old: tuple[int, bytes], new: tuple[int, bytes], *, may_replace: bool
    ) -> None:
        """Give a name's image, link or directory another name.

        Raises:
            CrossDeviceError: A container, or a directory that would become one.
            NotPermittedError: An image would be beside the containers.
            ExistsError: The new name is taken and must not be replaced.
            IsADirectoryFsError: An image would replace a directory.
            NotADirectoryFsError: The other way round.
            DirectoryNotEmptyError: A directory would replace one that is not empty.
            InvalidRequestError: A directory would lie in itself.
        """
        names = self._names
        inode = await names.child(names.inodes[old[0]], existing_component_of(old[1]))
        parent = names.inodes[new[0]]
        target = await names.new_path(parent, new[1])
        if inode.kind is Kind.DIRECTORY and (target.is_container or inode.path.is_container):
            raise errors.CrossDeviceError(f"{inode.path}: is moved by copying")
        if target == inode.path:
            return
        if inode.kind is Kind.DIRECTORY:
            async with names.files.posts.held(inode):
                await self._rename_directory(inode, parent, target, may_replace=may_replace)
        else:
            async with (
                names.files.posts.held(inode),
                names.files.followers.holding(inode),
                names.files.name_locks.holding(target),
            ):
                await self._rename_image(inode, parent, target, may_replace=may_replace)

    # ── images and links ───────────────────────────────────────────────────────────────

    async def _rename_image(
        self, inode: Inode, parent: Inode, target: StorePath, *, may_replace: bool
    ) -> None:
        names, files = self._names, self._names.files
        replaced = await self._image_in_the_way(parent, target, may_replace=may_replace)
        await names.view.prepare(target)
        source = inode.path
        other = names.inodes.find(parent, target.component)
        if _is_at(replaced, target) and files.followers.retarget(
            inode, target, replaced, other
        ):
            names.directories.changes.removed(source, None)  # the rest is for its commit
            names.inodes.rename(inode, parent, target.component, target)
            return
        replaced = await self._without_shared_parts(replaced, inode, target)
        successor: Version | None = None
        async with files.removals.removing(replaced) as entry:
            if files.followers.retarget(inode, target):  # not in Swift under any name yet
                names.directories.changes.removed(source, None)
                in_use = {source.container}  # its segments go beside it
            else:
                moved, successor = await self._moved(inode, target, replaced)
                in_use = containers_of(moved)
        names.inodes.rename(inode, parent, target.component, target)
        left = {source.container}
        if replaced is not None:
            await self._replace(other, replaced, target, entry, successor)
            left |= containers_of(replaced)
        await names.leave(inode, left - in_use)

    async def _moved(
        self, inode: Inode, target: StorePath, replaced: StoredImage | None
    ) -> tuple[StoredImage, Version | None]:
        """Move an image; return it, and how it is stored again if it loses its new name."""
        names, is_over_large = self._names, replaced is not None and replaced.parts
        rows = await names.files.removals.rows_of(inode) if is_over_large else ()
        moved = await move(names, inode.path, target, inode, is_free=replaced is None)
        inode.see(moved.info)
        return moved, version_of(moved, rows)

    async def _image_in_the_way(
        self, parent: Inode, target: StorePath, *, may_replace: bool
    ) -> StoredImage | None:
        """Return the image that a rename replaces, None when the name is free."""
        view = self._names.view
        for _ in range(LOOKS):
            try:
                entry = await view.lookup(parent.path, target.component)
            except errors.NotFoundError:
                return None
            if not may_replace:
                raise errors.ExistsError(f"{target}: exists")
            if entry.kind is Kind.DIRECTORY:
                raise errors.IsADirectoryFsError(f"{target}: is a directory")
            # It may have been removed since it was looked at, or listed. Then what else has the
            # name, such as a directory, shows when the name is looked up again.
            with contextlib.suppress(errors.NotFoundError):
                return await self._names.resolved(view.place_of(parent.path, entry))
        return None

    async def _without_shared_parts(
        self, replaced: StoredImage | None, inode: Inode, target: StorePath
    ) -> StoredImage | None:
        """Return what is replaced, without parts that the image that replaces it names.

        A rename that failed half way leaves two manifests of the same segments, and the
        second try has one replace the other. Nor is the new image a part of the old one,
        though the prefix of that may fit it.
        """
        if replaced is None or not replaced.parts:
            return replaced
        kept = {(target.container, target.name), (inode.path.container, inode.path.name)}
        with contextlib.suppress(errors.NotFoundError):
            kept.update((await self._names.resolved(inode.path)).parts)
        parts = tuple(part for part in replaced.parts if part not in kept)
        return replace(replaced, parts=parts)

    async def _replace(
        self,
        inode: Inode | None,
        replaced: StoredImage,
        target: StorePath,
        entry: JournalEntry | None,
        successor: Version | None,
    ) -> None:
        """Delete what an image was made of that `target` replaced, at another place itself too."""
        info, names = replaced.info, self._names
        if (info.container, info.name) != (target.container, target.name):
            with contextlib.suppress(errors.NotFoundError):
                await names.store.delete_object(info.container, info.name)
            names.directories.changes.removed(StorePath(info.container, info.name), info)
        await names.files.removals.replaced(inode, replaced, entry, successor)

    # ── directories ────────────────────────────────────────────────────────────────────

    async def _rename_directory(
        self, inode: Inode, parent: Inode, target: StorePath, *, may_replace: bool
    ) -> None:
        names, source = self._names, inode.path
        if target.container == source.container and target.name.startswith(source.prefix):
            raise errors.InvalidRequestError(f"{target}: is below {source}")
        is_again = (source, target) in self._half_done
        if not is_again:
            await self._check_replaceable(parent, target, may_replace=may_replace)
        objects = await names.directories.objects_below(source)
        for name in objects:
            check_storable(_moved_path(name, source, target), names.store.limits)
        await self._move_objects(inode, objects, target, is_again=is_again)
        for written in names.files.being_written():
            _retarget_below(names, written, source, target)
        names.directories.changes.moved_directory(source, target)
        names.inodes.rename(inode, parent, target.component, target)
        if inode.info is not None:
            path = StorePath(target.container, target.prefix)
            with contextlib.suppress(errors.NotFoundError):
                inode.see(await names.directories.refreshed_image(path))

    async def _check_replaceable(
        self, parent: Inode, target: StorePath, *, may_replace: bool
    ) -> None:
        names = self._names
        try:
            there = await names.child(parent, target.component)
        except errors.NotFoundError:
            return
        if not may_replace:
            raise errors.ExistsError(f"{target}: exists")
        if there.kind is not Kind.DIRECTORY:
            raise errors.NotADirectoryFsError(f"{target}: is a file")
        await names.check_empty(there)

    async def _move_objects(
        self, inode: Inode, objects: list[str], target: StorePath, *, is_again: bool
    ) -> None:
        """Move objects side by side; the first failure ends it when what is under way is done."""
        source, progress = inode.path, _Progress(iter(objects))

        async def work() -> None:
            for name in progress.waiting:  # shared by all workers, which take without awaiting
                if progress.failure is not None:
                    return
                try:
                    await self._move_object(inode, name, target, is_again=is_again)
                    progress.moved += 1
                except errors.SwiftImgFsError as failure:
                    progress.failure = failure

        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(work)
        self._half_done.discard((source, target))
        if progress.failure is None:
            return
        if progress.moved or is_again:
            self._half_done.add((source, target))
            self._names.directories.changes.made_directory(target)
        log.error(
            "directory moved in part old=%s new=%s moved=%d left=%d reason=%s",
            source,
            target,
            progress.moved,
            len(objects) - progress.moved,
            progress.failure,
        )
        raise progress.failure

    async def _move_object(
        self, directory: Inode, name: str, target: StorePath, *, is_again: bool
    ) -> None:
        names, source = self._names, directory.path
        old = StorePath(source.container, name)
        new = _moved_path(name, source, target)
        if is_again:
            await self._check_not_taken(old, new)
        known = names.inodes.find_below(directory, name[len(source.prefix) :])
        async with contextlib.AsyncExitStack() as stack:
            if known is not None:
                await stack.enter_async_context(names.files.posts.held(known))
                await stack.enter_async_context(names.files.followers.holding(known))
            await stack.enter_async_context(names.files.name_locks.holding(new))
            try:
                await move(names, old, new, known, is_free=not is_again)
            except errors.NotFoundError:
                if await self._is_there(old):
                    raise
                log.info("removed while its directory was moved image=%s", old)

    async def _is_there(self, path: StorePath) -> bool:
        with contextlib.suppress(errors.NotFoundError):
            await self._names.directories.refreshed_image(path)
            return True
        return False

    async def _check_not_taken(self, old: StorePath, new: StorePath) -> None:
        """Refuse to replace what has got a name since a directory was moved in part.

        Raises:
            ExistsError: It is not what the first try left there.
        """
        with contextlib.suppress(errors.NotFoundError):
            there = await self._names.directories.refreshed_image(new)
            here = await self._names.directories.refreshed_image(old)
            if (there.etag, there.size) != (here.etag, here.size):
                raise errors.ExistsError(f"{new}: exists, and is not {old}")


def _moved_path(name: str, source: StorePath, target: StorePath) -> StorePath:
    """Return the new place of an object below `source`, or of the marker that has its name."""
    return StorePath(target.container, target.name + name[len(source.name) :])


def _retarget_below(names: Names, written: Inode, source: StorePath, target: StorePath) -> None:
    """Have an image that was never stored be stored in the directory's new place."""
    path = written.path
    if path.container == source.container and path.name.startswith(source.prefix):
        names.files.followers.retarget(written, _moved_path(path.name, source, target))


def _is_at(image: StoredImage | None, path: StorePath) -> bool:
    """Return whether there is an image, and it is stored under this very name."""
    return image is not None and (image.info.container, image.info.name) == (
        path.container,
        path.name,
    )
