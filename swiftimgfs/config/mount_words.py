"""Words of mount(8) and fuse(8) that are no options of ours, for fstab and `-o` alike.

What a mount of ours does not do is refused with a reason, not forgotten.

Source: mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS"; fuse(8).
"""

from __future__ import annotations

from typing import Final

REFUSED: Final = {
    "sync": "an image would be stored anew at each write; close() and fsync() that return 0"
    " mean stored already",
    "remount": "unmount it and mount it again",
    "bind": "bind a directory of a mount that is there",
    "rbind": "bind a directory of a mount that is there",
    "move": "unmount it and mount it elsewhere",
    "allow_root": "root is let in by allow_other",
    "auto_unmount": "a mount that died stays as a dead one, so that nobody takes an empty"
    " directory for the store",
    "suid": "nobody becomes another user by a file of a store: it is always nosuid",
    "dev": "a store has no devices: it is always nodev",
    "nonempty": "what is in the mount point would be hidden",
    "nosymfollow": "symbolic links are followed",
    "fsname": "the name of a mount is its SOURCE",
    "max_read": "requests are as large as the kernel makes them",
    "max_write": "requests are as large as the kernel makes them",
    "blksize": "there is no block device",
    "kernel_cache": "pages are kept for as long as the image is the same",
    "auto_cache": "pages are kept for as long as the image is the same",
    "direct_io": "pages are kept for as long as the image is the same",
}
# What mount(8) calls the reverse of an option of ours, and of the same name.
REVERSED: Final = {"rw": "ro", "exec": "noexec"}
