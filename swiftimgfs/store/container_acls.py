"""The ACLs of containers, read and changed; a change is believed when Swift shows it.

Swift drops ACL headers of anybody but the account's owner, and answers 2xx all the same;
nor does it show ACLs to them. So what was set is read again, and who clears an ACL where
none is to be seen has to be shown one first.

A change is the headers that it sets; one that it does not name stays.

Source: Swift's proxy, `swift_owner_headers`; glance_store's Swift driver, `set_acls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swiftimgfs import errors
from swiftimgfs.store.acls import (
    PUBLIC,
    AclHeader,
    Acls,
    canonical_acl,
    set_acls,
    tenants_of,
)
from swiftimgfs.store.segment_containers import segment_container_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swiftimgfs.store.image_store import ImageStore

Changes = dict[AclHeader, str]

# Tells an owner from others. It grants nothing: it lets those list whom a referrer in the
# same ACL lets read, and there is none.
LISTINGS: Final = ".rlistings"
PROBE: Final = LISTINGS
EVERYBODY: Final = {PUBLIC, ".r:*"}


# ── what is asked for, as headers (pure) ───────────────────────────────────────────────


def public_changes(present: Acls, admin_tenants: Sequence[str], *, is_public: bool) -> Changes:
    """Return what lets everybody read, or ends that; whom else the ACL names stays then."""
    changes = _admin_changes(present, admin_tenants)
    if is_public:
        changes[AclHeader.READ] = set_acls(public=True).read
    elif lets_everybody_read(present) or not present.read:  # "" may be not for us to see
        rest = [item for item in _items(present.read) if item not in EVERYBODY]
        if not any(item.startswith(".r:") for item in rest):
            rest = [item for item in rest if item != LISTINGS]  # which goes with a referrer
        changes[AclHeader.READ] = ",".join(rest)
    return changes


def lets_everybody_read(acls: Acls) -> bool:
    """Return whether anybody may read: with a token (`*:*`), or without one (`.r:*`)."""
    return any(item in EVERYBODY for item in _items(acls.read))


def reader_changes(
    present: Acls, admin_tenants: Sequence[str], tenants: Sequence[str]
) -> Changes:
    """Return what lets these tenants read, and nobody else."""
    changes = _admin_changes(present, admin_tenants)
    changes[AclHeader.READ] = set_acls(read_tenants=tenants).read
    return changes


def writer_changes(admin_tenants: Sequence[str], tenants: Sequence[str]) -> Changes:
    """Return what lets these tenants write, the admin tenants and nobody else."""
    acls = set_acls(write_tenants=tenants, admin_tenants=admin_tenants)
    return {AclHeader.WRITE: acls.write}


def readers_of(acls: Acls) -> tuple[str, ...]:
    """Return the tenants that may read; none when somebody else is let in too."""
    return tenants_of(acls.read) or ()


def writers_of(acls: Acls, admin_tenants: Sequence[str]) -> tuple[str, ...]:
    """Return the tenants that may write; none when somebody else is let in too.

    Without the admin tenants at the end: setting what is returned adds them again.
    """
    tenants = tenants_of(acls.write) or ()
    count = len(admin_tenants)
    ends_in_admins = count > 0 and tenants[-count:] == tuple(admin_tenants)
    return tenants[:-count] if ends_in_admins else tenants


def _admin_changes(present: Acls, admin_tenants: Sequence[str]) -> Changes:
    """Return what lets the admin tenants write that may not yet, as the driver's do always."""
    items = _items(present.write)
    missing = [tenant for tenant in admin_tenants if f"{tenant}:*" not in items]
    if not missing:
        return {}
    return {AclHeader.WRITE: ",".join([*items, set_acls(admin_tenants=missing).write])}


def _items(acl: str) -> list[str]:
    return acl.split(",") if acl else []


# ── in Swift ───────────────────────────────────────────────────────────────────────────


async def read_acls(store: ImageStore, container: str) -> Acls:
    """Return the ACLs of a container; "" for one that is not set, or not for us to see."""
    info = await store.head_container(container)
    return Acls(info.read_acl or "", info.write_acl or "")


async def change_acls(store: ImageStore, container: str, changes: Changes) -> None:
    """Change the ACLs of a container and, before, of the one that holds its segments.

    Or its images would be listed, and could not be read.

    Raises:
        InvalidRequestError: Swift would refuse it; nothing was sent.
        NotPermittedError: Swift dropped it, since we do not own the account.
    """
    for header, text in changes.items():
        canonical_acl(header, text)
    segments = await segment_container_of(store, container) if changes else None
    for each in filter(None, (segments, container if changes else None)):
        await _change(store, each, changes)


async def _change(store: ImageStore, container: str, changes: Changes) -> None:
    expected = {header: canonical_acl(header, text) for header, text in changes.items()}
    headers = {header.value: text.strip(" ") for header, text in changes.items()}
    if not any(expected.values()) and await _had_to_probe(store, container):
        headers = {AclHeader.READ.value: "", **headers}
    await _post(store, container, headers)
    present = _by_header(await read_acls(store, container))
    if any(present[header] != text for header, text in expected.items()):
        raise _dropped(container)


async def _had_to_probe(store: ImageStore, container: str) -> bool:
    """Make sure that we would see an ACL; return whether the probe has to be cleared."""
    if any(_by_header(await read_acls(store, container)).values()):
        return False
    await _post(store, container, {AclHeader.READ.value: PROBE})
    if (await read_acls(store, container)).read != PROBE:
        raise _dropped(container)
    return True


async def _post(store: ImageStore, container: str, headers: Mapping[str, str]) -> None:
    try:
        await store.post_container(container, headers)
    except errors.ForbiddenError as failure:
        raise errors.NotPermittedError(f"{failure}: ACLs are the owner's to set") from failure


def _by_header(acls: Acls) -> Mapping[AclHeader, str]:
    return {AclHeader.READ: acls.read, AclHeader.WRITE: acls.write}


def _dropped(container: str) -> errors.NotPermittedError:
    return errors.NotPermittedError(
        f"{container}: Swift dropped the ACL, as it does for all but the account's owner"
    )
