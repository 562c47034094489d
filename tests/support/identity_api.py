"""The few requests to Keystone's v3 API that the tests' set-up needs.

Source: the OpenStack API reference, "Identity API v3".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "RegionOne"
INTERFACES = ("public", "internal", "admin")


def password_session(
    auth_url: str, *, user: str, password: str, project: str
) -> session.Session:
    """Return a session that logs in, when first used, with a password in domain Default."""
    return session.Session(
        v3.Password(
            auth_url=auth_url,
            username=user,
            password=password,
            project_name=project,
            user_domain_name="Default",
            project_domain_name="Default",
        )
    )


class IdentityApi:
    """Creates and finds Keystone's resources as the user of `login`."""

    def __init__(self, login: session.Session, auth_url: str) -> None:
        self._session = login
        self._auth_url = auth_url

    def create(self, collection: str, kind: str, **values: object) -> dict[str, Any]:
        """Return the resource that was made from `values`, as Keystone describes it.

        Args:
            collection: Its path below /v3, such as ``projects``.
            kind: What the resource is called in the body, such as ``project``.
            **values: Its fields.
        """
        answer = self._session.post(f"{self._auth_url}/{collection}", json={kind: values})
        created: dict[str, Any] = answer.json()[kind]
        return created

    def list_matching(self, collection: str, **filters: str) -> list[dict[str, Any]]:
        """Return the resources of a collection that match all filters."""
        answer = self._session.get(f"{self._auth_url}/{collection}", params=filters)
        found: list[dict[str, Any]] = answer.json()[collection]
        return found

    def id_of(self, collection: str, name: str) -> str:
        """Return the id of the one resource of that name."""
        [resource] = self.list_matching(collection, name=name)
        return str(resource["id"])

    def ensure(self, collection: str, kind: str, name: str, **values: object) -> str:
        """Return the id of the resource of that name, made from `values` if new."""
        try:
            return str(self.create(collection, kind, name=name, **values)["id"])
        except exceptions.Conflict:
            return self.id_of(collection, name)

    def assign_role(self, role: str, *, user_id: str, project_id: str) -> None:
        """Let a user have the role of that name in a project."""
        role_id = self.id_of("roles", role)
        self._session.put(
            f"{self._auth_url}/projects/{project_id}/users/{user_id}/roles/{role_id}"
        )

    def replace_service(self, service_type: str, name: str, url: str) -> None:
        """Let the catalog have one service of that type, with `url` on every interface.

        Args:
            service_type: What clients look for, such as ``object-store``.
            name: What it is called in the catalog.
            url: May contain ``%(project_id)s``.
        """
        for service in self.list_matching("services", type=service_type):
            self._session.delete(f"{self._auth_url}/services/{service['id']}")
        service_id = self.create("services", "service", type=service_type, name=name)["id"]
        for interface in INTERFACES:
            endpoint: Mapping[str, str] = {
                "interface": interface,
                "region_id": REGION,
                "service_id": service_id,
                "url": url,
            }
            self.create("endpoints", "endpoint", **endpoint)
