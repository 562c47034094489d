"""One stored object gets another name: a copy inside Swift, then the old name goes.

Swift has no rename. What is copied is the object itself, of a large image the manifest
alone, of a symlink the symlink. Before the old name goes it is looked at once more: what
somebody stored there meanwhile, here or on another host, is copied too and not deleted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.model.followers import given_up_when_refused
from swiftimgfs.model.paths import is_representable
from swiftimgfs.store.image_store import StoredImage, through_manifest

if TYPE_CHECKING:
    from swiftimgfs.model.inodes import Inode
    from swiftimgfs.model.names import Names
    from swiftimgfs.model.paths import StorePath
    from swiftimgfs.store.records import ImageInfo

log = logging.getLogger(__name__)

# Who overwrites an image faster than it is copied is told that it changes.
TRIES: Final = 4


async def move(
    names: Names, source: StorePath, target: StorePath, inode: Inode | None = None
) -> StoredImage:
    """Give what is stored at `source` the name `target`; return what it is then.

    Args:
        names: Of the mount.
        source: An image, a link or a directory's marker.
        target: Its new name, and whatever has it is replaced.
        inode: Who has it open reads and writes at the new name from then on.

    Raises:
        NotFoundError: There is nothing.
        ImageChangedError: It changes too fast to be copied.
    """
    for _ in range(TRIES - 1):
        try:
            return await _move_once(names, source, target, inode)
        except errors.ImageChangedError as failure:
            reason = errors.reason_beside(source, failure)
            log.info("changed while it was renamed image=%s reason=%s", source, reason)
    return await _move_once(names, source, target, inode)


async def _move_once(
    names: Names, source: StorePath, target: StorePath, inode: Inode | None
) -> StoredImage:
    original = await names.resolved(source)
    info = original.info
    entry = await names.files.followers.moving(info, target)
    async with given_up_when_refused(entry):
        moved = await _copied(names, original, target)
    if inode is not None:  # before the old name goes: who reads must find the bytes
        names.files.followers.renamed(inode, moved)
    try:
        await _take_away(names, info)
    except errors.SwiftImgFsError as failure:
        if inode is not None:
            names.files.followers.renamed(inode, original)
        _note_stored(names, target, moved)
        log.warning(
            "renamed half: both names exist old=%s new=%s reason=%s", source, target, failure
        )
        if entry is not None and isinstance(failure, errors.ImageChangedError):
            await entry.abandoned()
        raise
    if entry is not None:
        await entry.finished()
    if is_shown(source):
        names.directories.changes.removed(source, info)
    _note_stored(names, target, moved)
    log.debug("renamed old=%s new=%s", source, target)
    return moved


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


async def _take_away(names: Names, info: ImageInfo) -> None:
    """Delete the old name alone, if it is still what was copied.

    Raises:
        ImageChangedError: It is not.
    """
    try:
        now = await names.store.head_image(info.container, info.name)
        if _version(now) != _version(info):
            raise errors.ImageChangedError(f"{info.container}/{info.name}: changed meanwhile")
        await names.store.delete_object(info.container, info.name)
    except errors.NotFoundError:
        log.info(
            "renamed, and the old name was gone already image=%s/%s", info.container, info.name
        )


def _version(info: ImageInfo) -> tuple[object, ...]:
    return info.etag, info.size, info.last_modified_ns, info.link
