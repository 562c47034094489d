"""The caller of a multi-tenant store: a token of theirs, and a trust to outlive it.

Glance's multi-tenant driver works with the token of whoever called Glance, and has
Keystone let its own service user act for them: a *trust*, made with the caller's token, for
the roles of that token, by which the service user gets tokens that are the caller's
(impersonation). Ours is deleted when the mount ends.

Source: the Identity API v3, "OS-TRUST", and glance_store's `MultiTenantStore.init_client`.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keystoneauth1 import access as keystone_access

from swiftimgfs import errors
from swiftimgfs.store.auth import Access, FixedIdentity, KeystoneIdentity
from swiftimgfs.store.failures import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystoneauth1.session import Session

    from swiftimgfs.store.auth import EndpointOptions

log = logging.getLogger(__name__)


class CallerIdentity:
    """Somebody who gave us a token of theirs.

    Without a service user, or where Keystone will not trust it, the token is used as long as
    it lasts, as Glance's driver does.
    """

    def __init__(
        self,
        token: str,
        auth_url: str,
        session: Session,
        endpoint: EndpointOptions,
        trustee: Callable[[str | None], Session] | None,
    ) -> None:
        """Act for the owner of `token`.

        Args:
            token: The caller's, for a project.
            auth_url: Of Keystone.
            session: One that is nobody's, for requests with a token of our choice.
            endpoint: Which Swift is meant.
            trustee: Returns a session of the service user, for a trust when its id is given.
        """
        self._token = token
        self._identity_url = _versioned(auth_url)
        self._session = session
        self._endpoint = endpoint
        self._trustee = trustee
        self._lock = threading.Lock()
        self._identity: FixedIdentity | KeystoneIdentity | None = None
        self.warning = ""
        self._trust_id: str | None = None

    def access(self) -> Access:
        """Return the storage URL and a token; see `Identity.access`."""
        with self._lock:
            if self._identity is None:
                self._identity = self._set_up()
        return self._identity.access()

    def invalidate(self, access: Access) -> bool:
        """Forget a token that was refused; see `Identity.invalidate`."""
        return self._identity is not None and self._identity.invalidate(access)

    def close(self) -> None:
        """Delete the trust."""
        if self._trust_id is None:
            return
        trust, self._trust_id = self._trust_id, None
        try:
            with translated(f"deletion of trust {trust}"):
                self._delete_trust(trust)
        except errors.SwiftImgFsError as failure:
            log.warning("trust left behind id=%s reason=%s", trust, failure)
        else:
            log.info("trust deleted id=%s", trust)

    def _set_up(self) -> FixedIdentity | KeystoneIdentity:
        with translated("the caller's token", at=self._identity_url):
            caller = self._read_token()
        storage_url = self._endpoint.storage_url or self._find_endpoint(caller)
        if self._trustee is not None:
            try:
                with translated("trust"):
                    return self._trusted(caller, self._trustee, storage_url)
            except errors.SwiftImgFsError as failure:
                self.close()
                self.warning = (
                    f"no trust ({failure}): what comes after the token's end is refused"
                )
                log.warning("no trust reason=%s", failure)
        else:
            self.warning = FixedIdentity.warning
        return FixedIdentity(storage_url, self._token)

    def _trusted(
        self,
        caller: keystone_access.AccessInfo,
        trustee: Callable[[str | None], Session],
        storage_url: str,
    ) -> KeystoneIdentity:
        """Return an identity that acts for the caller, once it was seen to get a token."""
        self._trust_id = self._create_trust(caller, trustee(None).get_user_id())
        log.info("trust created id=%s user=%s", self._trust_id, caller.user_id)
        identity = KeystoneIdentity(
            trustee(self._trust_id),
            replace(self._endpoint, storage_url=storage_url),
            "whom the caller trusts",
        )
        identity.access()
        return identity

    def _read_token(self) -> keystone_access.AccessInfo:
        headers = {"X-Auth-Token": self._token, "X-Subject-Token": self._token}
        answer = self._session.get(
            f"{self._identity_url}/auth/tokens", headers=headers, authenticated=False
        )
        return keystone_access.create(body=answer.json(), auth_token=self._token)

    def _find_endpoint(self, caller: keystone_access.AccessInfo) -> str:
        wanted: dict[str, Any] = {
            "service_type": self._endpoint.service_type or "object-store",
            "interface": self._endpoint.interface or "public",
            "region_name": self._endpoint.region,
        }
        with translated("the caller's token", at=self._identity_url):
            url = caller.service_catalog.url_for(**wanted)
        return (url or "").rstrip("/")

    def _create_trust(
        self, caller: keystone_access.AccessInfo, trustee_user_id: str | None
    ) -> str:
        trust = {
            "trustor_user_id": caller.user_id,
            "trustee_user_id": trustee_user_id,
            "project_id": caller.project_id,
            "impersonation": True,
            "roles": [{"id": role} for role in caller.role_ids or ()],
        }
        answer = self._session.post(
            f"{self._identity_url}/OS-TRUST/trusts",
            json={"trust": trust},
            headers={"X-Auth-Token": self._token},
            authenticated=False,
        )
        created: str = answer.json()["trust"]["id"]
        return created

    def _delete_trust(self, trust: str) -> None:
        token: str | None = self._token
        if isinstance(self._identity, KeystoneIdentity):  # the caller's own may be long gone
            token = self._identity.access().headers["X-Auth-Token"]
        self._session.delete(
            f"{self._identity_url}/OS-TRUST/trusts/{trust}",
            headers={"X-Auth-Token": token},
            authenticated=False,
        )


def _versioned(auth_url: str) -> str:
    url = auth_url.rstrip("/")
    return url if url.endswith("/v3") else f"{url}/v3"
