"""What we may do in a store, found out without changing anything in it.

Swift authorizes a request before it looks at the limits of a name, so a PUT to a name that is
one byte too long is 403 when it is not allowed, and 400 when it is; nothing is ever stored.
A POST to the account that names no metadata changes none, and is for the account's owner.

Source: swift 2.38, `proxy/server.py` (`handle_request` authorizes before the handler) and
`proxy/controllers/obj.py` (`PUT` before `check_object_creation`); tried with keystoneauth and
tempauth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swiftimgfs import errors
from swiftimgfs.store.request import Request

if TYPE_CHECKING:
    from swiftimgfs.store.cluster import Limits
    from swiftimgfs.store.connection import ConnectionPool


@dataclass(frozen=True, slots=True)
class Permissions:
    """What we may do.

    Attributes:
        list_account: See which containers there are.
        read: List a container and read what is in it; None when there is none to try.
        write: Store images in it; None when there is none to try.
        create_containers: Make containers.
        own: Set ACLs: that is for the account's owner.
    """

    list_account: bool
    read: bool | None
    write: bool | None
    create_containers: bool
    own: bool


async def find_permissions(
    pool: ConnectionPool, limits: Limits, container: str | None
) -> Permissions:
    """Return what we may do in the account, and in one of its containers."""

    async def may(request: Request) -> bool:
        try:
            await pool.request(request)
        except errors.AccessDeniedError:
            return False
        except errors.StoreRefusedError:
            return True  # allowed, and then found too long
        return True

    long_name = "x" * (limits.longest_name + 1)
    long_container = "x" * (limits.longest_container_name + 1)
    one = {"limit": "1"}
    return Permissions(
        list_account=await may(Request("GET", query=one)),
        read=None if container is None else await may(Request("GET", container, query=one)),
        write=None if container is None else await may(Request("PUT", container, long_name)),
        create_containers=await may(Request("PUT", long_container)),
        own=await may(Request("POST")),
    )
