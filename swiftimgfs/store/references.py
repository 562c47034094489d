"""A reference: what Glance calls the parameters of one login to one Swift account. Pure.

Source: glance_store's `SwiftParams`: a section of `swift_store_config_file`, or the options
of the same meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from swiftimgfs import errors
from swiftimgfs.store.location import check_service_url

if TYPE_CHECKING:
    from swiftimgfs.store.location import Location

DEFAULT_DOMAIN = "default"  # the id of Keystone's first domain


@dataclass(frozen=True, slots=True)
class AccountReference:
    """How to log in to one account.

    Attributes:
        name: What a `swift+config` location calls it; empty for a login that has no name.
        auth_address: URL of Keystone, or of a tempauth with `/v1.0` at its end.
        user: `project:user` for Keystone, `account:user` for tempauth.
        auth_version: `1` for tempauth; anything else is Keystone's version 3.
    """

    name: str
    auth_address: str
    user: str = ""
    key: str = field(default="", repr=False)
    application_credential_id: str = ""
    application_credential_secret: str = field(default="", repr=False)
    project_name: str = ""
    project_id: str = ""
    user_domain_id: str = ""
    user_domain_name: str = ""
    project_domain_id: str = ""
    project_domain_name: str = ""
    auth_version: str = "3"

    @property
    def auth_url(self) -> str:
        """The URL of the identity service: https where no scheme is given."""
        return (
            self.auth_address if "://" in self.auth_address else f"https://{self.auth_address}"
        )

    @property
    def is_legacy(self) -> bool:
        """Whether this is a login to tempauth, Swift's auth version 1."""
        last = urlsplit(self.auth_url).path.rstrip("/").rpartition("/")[2]
        return self.auth_version.startswith("1") or last in {"v1", "v1.0"}

    @property
    def has_application_credential(self) -> bool:
        """Whether it logs in with an application credential."""
        return bool(self.application_credential_id and self.application_credential_secret)

    @property
    def has_any_login(self) -> bool:
        """Whether anything is there of a login, were it only a half."""
        return bool(
            self.user
            or self.key
            or self.application_credential_id
            or self.application_credential_secret
        )

    def with_domains(self) -> AccountReference:
        """Return it with the default domain wherever none is named."""
        user, project = self.user_domain_id, self.project_domain_id
        return replace(
            self,
            user_domain_id=user or ("" if self.user_domain_name else DEFAULT_DOMAIN),
            project_domain_id=project or ("" if self.project_domain_name else DEFAULT_DOMAIN),
        )

    def check(self) -> None:
        """Refuse a reference that cannot log in.

        Raises:
            ConfigError: Something is missing, or the user is not `project:user`.
        """
        what = f"reference {self.name}" if self.name else "the login"
        if not self.auth_address:
            raise errors.ConfigError(f"{what} has no auth_address")
        check_service_url(f"{what}: auth_address", self.auth_url)
        if self.has_application_credential:
            return
        if self.user and self.key:
            if not (self.user + self.key).isprintable():  # a header cannot carry it
                raise errors.ConfigError(f"{what}: user or key has a control character")
            if self.user.count(":") != 1 and not self.is_legacy:
                raise errors.ConfigError(f"{what}: its user is not of the form project:user")
            return
        if self.application_credential_id or self.application_credential_secret:
            half = "id" if self.application_credential_id else "secret"
            other = "secret" if self.application_credential_id else "id"
            raise errors.ConfigError(
                f"{what} has an application_credential_{half}"
                f" and no application_credential_{other}"
            )
        missing = [name for name in ("user", "key") if not getattr(self, name)]
        raise errors.ConfigError(f"{what} has no {' and no '.join(missing)}")


def reference_of_location(location: Location) -> AccountReference:
    """Return the login that a location with a user in it stands for."""
    return AccountReference("", location.url, location.user, location.key).with_domains()
