"""The account and its containers: usage, limits, listings.

Each verb is one request, or the few that Swift needs for one fact; nothing here remembers
anything between two calls but the cluster's limits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swiftimgfs import errors
from swiftimgfs.store import records
from swiftimgfs.store.cluster import Limits, limits_of
from swiftimgfs.store.location import Location, format_storage_location
from swiftimgfs.store.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swiftimgfs.store.connection import ConnectionPool
    from swiftimgfs.store.records import AccountInfo, ContainerInfo, ContainerRow, ObjectRow

HTTP_ACCEPTED = 202  # PUT of a container that is there
INFO = Request("GET", "info", is_below_account=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a container's listing: objects, sub-directories, and where the next part starts."""

    rows: list[ObjectRow]
    subdirs: list[str]
    next_marker: str | None

    @property
    def has_any(self) -> bool:
        """Whether there is anything."""
        return bool(self.rows or self.subdirs)


@dataclass(frozen=True, slots=True)
class Answer:
    """The same as Swift sent it, which tells at once where the next part starts.

    Making values of 10,000 rows takes a tenth of a second, in which the next part can be on
    its way already.
    """

    rows: list[dict[str, Any]]
    next_marker: str | None

    def page(self) -> Page:
        """Return it as values."""
        return Page(
            rows=[records.object_row(row) for row in self.rows if "subdir" not in row],
            subdirs=[row["subdir"] for row in self.rows if "subdir" in row],
            next_marker=self.next_marker,
        )


class ContainerStore:
    """The containers of one account."""

    def __init__(self, pool: ConnectionPool, reference: str = "", policy: str = "") -> None:
        """Use `pool`.

        Args:
            pool: The connections.
            reference: What Glance calls the login in its locations.
            policy: Storage policy of new containers; empty for the cluster's.
        """
        self._pool: Final = pool
        self._reference: Final = reference
        self._policy: Final = policy
        self.limits = Limits()

    # ── the account ────────────────────────────────────────────────────────────────────

    async def connect(self) -> AccountInfo:
        """Prove who we are, learn the cluster's limits, and return what the account says.

        Somebody whom an ACL lets into a container may not ask the account: it then says
        nothing.

        Raises:
            AccessDeniedError: The credentials were refused.
            ConfigError: There is no such storage policy.
            StoreUnavailableError: Nothing answers there.
        """
        try:
            info = await self.account()
        except errors.ForbiddenError:
            info = records.account_info({})
        self.limits = await self._limits()
        if self._policy and not self.limits.has_policy(self._policy):
            names = ", ".join(self.limits.policies)
            raise errors.ConfigError(
                f"storage_policy: the cluster has no {self._policy!r}, but {names}"
            )
        return info

    async def account(self) -> AccountInfo:
        """Return usage and quota of the account."""
        return records.account_info((await self._pool.request(Request("HEAD"))).headers)

    async def _limits(self) -> Limits:
        try:
            answer = json.loads((await self._pool.request(INFO)).body)
        except (errors.SwiftImgFsError, ValueError):
            return Limits()  # operators may close /info: the defaults are what Swift ships
        return Limits() if not isinstance(answer, dict) else limits_of(answer)

    async def list_containers(self, *, limit: int | None = None) -> list[ContainerRow]:
        """Return the containers of the account, by name: all, or the first `limit`."""
        rows: list[ContainerRow] = []
        while True:
            query = {"format": "json", "limit": str(limit or self.limits.listing)}
            if rows:
                query["marker"] = rows[-1].name
            response = await self._pool.request(Request("GET", query=query))
            page = json.loads(response.body or b"[]")
            rows += [records.container_row(row) for row in page]
            if limit or len(page) < self.limits.listing:
                return rows

    # ── containers ─────────────────────────────────────────────────────────────────────

    async def head_container(self, container: str) -> ContainerInfo:
        """Return usage and ACLs of a container."""
        response = await self._pool.request(Request("HEAD", container))
        return records.container_info(container, response.headers)

    async def put_container(
        self, container: str, headers: Mapping[str, str] | None = None
    ) -> bool:
        """Make a container; return whether it is new."""
        given = {"X-Storage-Policy": self._policy} if self._policy else {}
        request = Request("PUT", container, headers={**given, **(headers or {})})
        response = await self._pool.request(request)
        return response.status != HTTP_ACCEPTED

    async def delete_container(self, container: str) -> None:
        """Delete an empty container.

        Raises:
            DirectoryNotEmptyError: It has objects (HTTP 409), or a replica still thinks so.
        """
        try:
            await self._pool.request(Request("DELETE", container))
        except errors.StoreRefusedError as exc:
            raise errors.DirectoryNotEmptyError(str(exc)) from exc

    async def list_page(
        self,
        container: str,
        prefix: str = "",
        *,
        delimiter: str = "/",
        marker: str = "",
        limit: int | None = None,
    ) -> Page:
        """Return one page of the names under `prefix`, after `marker`.

        With a delimiter, what lies deeper comes as `subdirs`, whole names ending in it.
        """
        answer = await self.list_answer(
            container, prefix, delimiter=delimiter, marker=marker, limit=limit
        )
        return answer.page()

    async def list_answer(
        self,
        container: str,
        prefix: str = "",
        *,
        delimiter: str = "/",
        marker: str = "",
        limit: int | None = None,
    ) -> Answer:
        """Return what `list_page` does, before it is looked at."""
        size = limit or self.limits.listing
        query = {"format": "json", "limit": str(size), "prefix": prefix}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"marker": marker} if marker else {}
        response = await self._pool.request(Request("GET", container, query=query))
        rows = json.loads(response.body or b"[]")
        last = rows[-1].get("name") or rows[-1]["subdir"] if len(rows) == size else None
        return Answer(rows, last)

    async def list_all(self, container: str, prefix: str) -> list[ObjectRow]:
        """Return every object under `prefix`, in Swift's order (by UTF-8 bytes)."""
        rows: list[ObjectRow] = []
        marker: str | None = ""
        while marker is not None:
            page = await self.list_page(container, prefix, delimiter="", marker=marker)
            rows += page.rows
            marker = page.next_marker
        return rows

    async def post_container(self, container: str, headers: Mapping[str, str]) -> None:
        """Change metadata of a container; what `headers` do not name stays."""
        await self._pool.request(Request("POST", container, headers=headers))

    def location(self, container: str, name: str = "") -> str:
        """Return the location of an image or a container as Glance writes it, without credentials."""
        if self._reference:
            return str(Location("swift+config", self._reference, container, name))
        return format_storage_location(self._pool.storage_url, container, name)
