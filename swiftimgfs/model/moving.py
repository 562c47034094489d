"""One stored object gets another name: a copy inside Swift, then the old name goes.

Swift has no rename. What is copied is the object itself, of a large image the manifest
alone, of a symlink the symlink. Before the old name goes it is looked at once more: what
somebody stored there meanwhile, here or on another host, is copied too and not deleted.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.followers import given_up_when_refused
from swiftimgfs.model.paths import is_representable
from swiftimgfs.store.image_store import StoredImage, through_manifest
from swiftimgfs.writing.named_by import anchor_of, note_named_by

if TYPE_CHECKING:
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.names import Names
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import ImageInfo
    from swiftimgfs.writing.hooks import JournalEntry

log = logging.getLogger(__name__)

# Who overwrites an image faster than it is copied is told that it changes.
TRIES: Final = 4
_HALF: Final = "renamed half: both names exist old=%s new=%s reason=%s"
_WAS_GONE: Final = "renamed, and the old name was gone already image=%s"


async def move(
    names: Names,
    source: StorePath,
    target: StorePath,
    inode: Inode | None = None,
    *,
    is_free: bool = False,
) -> StoredImage:
    """Give what is stored at `source` the name `target`; return what it is then.

    Args:
        names: Of the mount.
        source: An image, a link or a directory's marker.
        target: Its new name, and whatever has it is replaced.
        inode: Who has it open reads and writes at the new name from then on.
        is_free: Nothing has the new name.

    Raises:
        NotFoundError: There is nothing, or somebody else was first to give it another name.
        ImageChangedError: It changes too fast to be copied.
    """
    for left in reversed(range(TRIES)):
        try:
            return await _move_once(names, source, target, inode, is_free=is_free)
        except errors.ImageChangedError as failure:
            if not left:
                log.warning(_HALF, source, target, failure)
                raise
            reason = errors.reason_beside(source, failure)
            log.info("changed while it was renamed image=%s reason=%s", source, reason)
    raise AssertionError("the last try returns or raises")


async def _move_once(
    names: Names, source: StorePath, target: StorePath, inode: Inode | None, *, is_free: bool
) -> StoredImage:
    original = await names.resolved(source)
    info = original.info
    entry = await names.files.followers.moving(info, target)
    async with given_up_when_refused(entry):
        if (anchor := anchor_of(original.parts)) is not None:
            both = (info.container, info.name), (target.container, target.name)
            await note_named_by(names.store, anchor, *both)
        moved = await _copied(names, original, target)
    _follow(names, inode, moved)  # before the old name goes: who reads must find the bytes
    try:
        await _take_away(names, info, moved.info if is_free else None)
    except errors.SwiftImgFsError as failure:
        _follow(names, inode, original)
        if not isinstance(failure, errors.NotFoundError):
            _note_stored(names, target, moved)
        if isinstance(failure, errors.ImageChangedError | errors.NotFoundError):
            await _abandoned(entry)
        else:
            log.warning(_HALF, source, target, failure)
        raise
    if entry is not None:
        await entry.finished()
    if is_shown(source):
        names.directories.changes.removed(source, info)
    _note_stored(names, target, moved)
    log.debug("renamed old=%s new=%s", source, target)
    return moved


def _follow(names: Names, inode: Inode | None, stored: StoredImage) -> None:
    if inode is not None:
        names.files.followers.renamed(inode, stored)


async def _abandoned(entry: JournalEntry | None) -> None:
    if entry is not None:
        await entry.abandoned()


def is_shown(path: StorePath) -> bool:
    """Return whether something can be listed under its name: a marker cannot."""
    return all(map(is_representable, path.name.split("/")))


def _note_stored(names: Names, path: StorePath, image: StoredImage) -> None:
    if is_shown(path):
        names.directories.changes.stored(path, image.info, image.parts)


async def _copied(names: Names, image: StoredImage, target: StorePath) -> StoredImage:
    """Return the copy of an image: of a manifest's, over the same segments."""
    info = image.info
    headers = names.files.followers.headers_to_keep(info)
    try:
        copy = await names.store.copy_image(info, target.container, target.name, headers)
    except errors.TooLargeError:
        if info.manifest is not None:
            raise
        return await names.files.followers.copy_in_segments(info, target, headers)
    if info.manifest is None:
        return StoredImage(copy, through_manifest(copy))
    # Without parts they are not for us to see, and what is read goes through the manifest.
    return StoredImage(
        copy, image.layout if image.parts else through_manifest(copy), image.parts
    )


async def _take_away(names: Names, info: ImageInfo, copy: ImageInfo | None) -> None:
    """Delete the old name alone, if it is still what was copied.

    Where it is gone before anything was sent to delete it, somebody else has removed or
    renamed the image at the same moment: `copy`, which nobody had asked that one for, goes.

    Raises:
        ImageChangedError: It is not.
        NotFoundError: It was gone, and the copy is.
    """
    store, old = names.store, f"{info.container}/{info.name}"
    try:
        now = await store.newest().head_image(info.container, info.name)
    except errors.NotFoundError as gone:
        if copy is not None:
            await _delete_copy(store, copy)
            raise errors.NotFoundError(f"{old}: removed or renamed meanwhile") from gone
        log.info(_WAS_GONE, old)
        return
    if _version(now) != _version(info):
        raise errors.ImageChangedError(f"{old}: changed meanwhile")
    try:
        await store.delete_object(info.container, info.name)
    except errors.NotFoundError:
        log.info(_WAS_GONE, old)


async def _delete_copy(store: ImageStore, copy: ImageInfo) -> None:
    """Delete a name that was just given, unless somebody has stored something else there."""
    with contextlib.suppress(errors.NotFoundError):
        there = await store.newest().head_image(copy.container, copy.name)
        if (there.etag, there.size, there.link) == (copy.etag, copy.size, copy.link):
            await store.delete_object(copy.container, copy.name)


def _version(info: ImageInfo) -> tuple[object, ...]:
    return info.etag, info.size, info.last_modified_ns, info.link
