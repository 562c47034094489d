"""A real Keystone for the tests, with users, projects and a catalog.

Its users (`keystone_seed.MEMBERS`; each one's password is its name) are `demo` and
`reader` in project demo, `other` in project other, and the service users `swift` and
`glance` in project service. They live in the domain Default, in region RegionOne.

The order of a cloud: Keystone first, then Swift, which needs this Keystone's address
and the `swift` user to check tokens, then `register_swift`, as the catalog needs the
port that Swift got.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.support.identity_api import REGION, IdentityApi, password_session
from tests.support.keystone_process import KeystoneProcess
from tests.support.keystone_seed import ADMIN, copy_seed

if TYPE_CHECKING:
    from pathlib import Path

    from keystoneauth1.session import Session


@dataclass(frozen=True, slots=True)
class ApplicationCredential:
    """What a program logs in with instead of its user's password."""

    id: str
    name: str
    secret: str


class EmbeddedKeystone:
    """A Keystone in a child process, on a port of the loopback interface.

    Attributes:
        auth_url: The address of its v3 API.
        port: The loopback port it listens on.
    """

    def __init__(self, process: KeystoneProcess) -> None:
        self._process = process
        self.auth_url = process.auth_url
        self.port = process.port
        self._admin = IdentityApi(self.session(ADMIN, ADMIN), self.auth_url)

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        port: int = 0,
        token_expiration: int = 3600,
        public_endpoint: str | None = None,
    ) -> EmbeddedKeystone:
        """Return a Keystone that serves; 2 s, and 10 s once per version.

        Args:
            directory: Where its files go; made if it is not there.
            port: 0 takes a free one.
            token_expiration: How long a token is good, in seconds.
            public_endpoint: What it tells clients to be its address, when that is another
                one, such as a `TlsFront`'s.

        Raises:
            KeystoneError: It could not be set up or did not start.
        """
        copy_seed(directory)
        process = KeystoneProcess(
            directory,
            port=port,
            token_expiration=token_expiration,
            public_endpoint=public_endpoint,
        )
        return cls(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and wait for it."""
        self._process.stop()

    def session(
        self, user: str = "demo", project: str = "demo", *, password: str | None = None
    ) -> Session:
        """Return a session that logs in when it is first used.

        Args:
            user: One of the seed's, or one that the test made.
            project: Any that the user has a role in.
            password: The user's name, if none is given.
        """
        return password_session(
            self.auth_url, user=user, password=password or user, project=project
        )

    def environ(self, user: str = "demo", project: str = "demo") -> dict[str, str]:
        """Return the OS_* variables for a login with the user's password."""
        return self._common_environ() | {
            "OS_USERNAME": user,
            "OS_PASSWORD": user,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
        }

    def credential_environ(self, credential: ApplicationCredential) -> dict[str, str]:
        """Return the OS_* variables for a login with an application credential."""
        return self._common_environ() | {
            "OS_AUTH_TYPE": "v3applicationcredential",
            "OS_APPLICATION_CREDENTIAL_ID": credential.id,
            "OS_APPLICATION_CREDENTIAL_SECRET": credential.secret,
        }

    def project_id(self, project: str) -> str:
        """Return the id of the project of that name."""
        return self._admin.id_of("projects", project)

    def register_swift(self, storage_url: str) -> None:
        """Let the catalog say where Swift is, on every interface.

        Args:
            storage_url: Of an account, with ``%(project_id)s`` for the project, such as
                ``http://127.0.0.1:8080/v1/AUTH_%(project_id)s``.
        """
        self._admin.replace_service("object-store", "swift", storage_url)

    def create_application_credential(
        self,
        name: str,
        user: str = "demo",
        project: str = "demo",
        *,
        roles: tuple[str, ...] = (),
    ) -> ApplicationCredential:
        """Return a new application credential of a user for a project.

        Args:
            name: Unique among the user's.
            user: Whose rights it carries.
            project: The one it works in.
            roles: What it may use of the user's roles there; all, if empty.
        """
        login = self.session(user, project)
        only = {"roles": [{"name": role} for role in roles]} if roles else {}
        created = IdentityApi(login, self.auth_url).create(
            f"users/{login.get_user_id()}/application_credentials",
            "application_credential",
            name=name,
            **only,
        )
        return ApplicationCredential(created["id"], created["name"], created["secret"])

    def _common_environ(self) -> dict[str, str]:
        return {
            "OS_AUTH_URL": self.auth_url,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_REGION_NAME": REGION,
        }
