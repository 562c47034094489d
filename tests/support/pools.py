"""Connections to a Swift as a mount has them, with less patience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swiftimgfs.store.auth import LegacyIdentity, TransportOptions
from swiftimgfs.store.connection import ConnectionPool
from swiftimgfs.store.request import RetryPolicy

if TYPE_CHECKING:
    from swiftimgfs.demo.swift_process import EmbeddedSwift
    from swiftimgfs.store.auth import Identity

TRANSPORT: Final = TransportOptions(timeout=5)


def owner_of(swift: EmbeddedSwift, **otherwise: str) -> LegacyIdentity:
    """Return who owns a Swift's account; `auth_url`, `user` or `key` may be another."""
    who = {"auth_url": swift.auth_url, "user": swift.user, "key": swift.key} | otherwise
    return LegacyIdentity(who["auth_url"], who["user"], who["key"], TRANSPORT)


def pool_of(
    identity: Identity, *, size: int = 4, tries: int = 3, timeout: float = 5
) -> ConnectionPool:
    """Return connections, to be closed by the caller.

    Args:
        identity: Who asks.
        size: How many there are at a time.
        tries: How often a request is sent.
        timeout: Seconds that Swift may be silent.
    """
    retry = RetryPolicy(tries=tries, timeout=timeout)
    return ConnectionPool(identity, size=size, transport=TRANSPORT, retry=retry)
