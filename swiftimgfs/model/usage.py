"""How full the account is, from memory: statfs must never wait for a network."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from swiftimgfs import errors

if TYPE_CHECKING:
    from swiftimgfs.store.image_store import ImageStore
    from swiftimgfs.store.records import AccountInfo

log = logging.getLogger(__name__)

MAX_AGE = 60.0  # seconds; Swift itself adds containers up only now and then
# What `df` shows as free when no quota says otherwise: more than anybody's images need.
UNLIMITED = 1 << 50


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and objects of the account."""

    total: int
    free: int
    objects: int


class AccountUsage:
    """The last known usage of the account, renewed behind the back of who asks."""

    def __init__(self, store: ImageStore, nursery: trio.Nursery, account: AccountInfo) -> None:
        self._store = store
        self._nursery = nursery
        self._account = account
        self._asked_at = trio.current_time()
        self._is_asking = False

    def now(self) -> Usage:
        """Return what is known; when that is old, also have it asked for."""
        if not self._is_asking and trio.current_time() - self._asked_at > MAX_AGE:
            self._is_asking = True
            self._nursery.start_soon(self._ask)
        used, quota = self._account.bytes_used, self._account.quota
        total = used + UNLIMITED if quota is None else max(quota, used)
        return Usage(total, total - used, self._account.object_count)

    async def _ask(self) -> None:
        try:
            self._account = await self._store.account()
        except errors.SwiftImgFsError as failure:
            log.warning("usage of the account not known reason=%s", failure)
        finally:
            self._asked_at = trio.current_time()
            self._is_asking = False
