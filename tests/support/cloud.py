"""A Keystone and a Swift that know each other: the smallest OpenStack we run against.

The Swift has two proxies over the same disks. `environ` and `session` lead to the one
that believes the Keystone; the other has users of its own (see `EmbeddedSwift`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swiftimgfs.demo.options import KeystoneService
from swiftimgfs.demo.swift_process import EmbeddedSwift
from tests.support.glance import GlanceOptions, GlanceStore
from tests.support.keystone import EmbeddedKeystone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keystoneauth1.session import Session


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running Keystone and Swift, and where their files are."""

    directory: Path
    keystone: EmbeddedKeystone
    swift: EmbeddedSwift

    def environ(self, user: str = "demo", project: str = "demo") -> dict[str, str]:
        """Return the OS_* variables for a login with the user's password."""
        return self.keystone.environ(user, project)

    def session(self, user: str = "demo", project: str = "demo") -> Session:
        """Return a keystoneauth session that logs in when it is first used."""
        return self.keystone.session(user, project)

    def storage_url(self, project: str = "demo") -> str:
        """Return where a project's account is, whoever may use it."""
        return self._storage_url_of(self.keystone.project_id(project))

    def glance(self, name: str = "glance", options: GlanceOptions | None = None) -> GlanceStore:
        """Return Glance's driver for this cloud, to be stopped before the cloud is.

        Args:
            name: Of the directory of its files; one for each that runs at a time.
            options: Glance's defaults, if none are given.
        """
        return GlanceStore.start(self.directory / name, self.keystone.auth_url, options=options)

    def register(self) -> None:
        """Let the Keystone's catalog say where the Swift is."""
        self.keystone.register_swift(self._storage_url_of("%(project_id)s"))

    def _storage_url_of(self, project_id: str) -> str:
        service = self.swift.options.keystone
        assert service is not None
        return (
            f"http://127.0.0.1:{self.swift.keystone_port}"
            f"/v1/{service.reseller_prefix}_{project_id}"
        )


@contextmanager
def cloud(
    directory: Path, *, token_expiration: int = 3600, **swift_options: Any
) -> Iterator[Cloud]:
    """Run a Keystone and a Swift while the context lasts; they start in 4 s.

    Args:
        directory: Where all their files go; made if it is not there.
        token_expiration: How long a token is good, in seconds.
        **swift_options: The fields of `SwiftOptions`, but for ``keystone``.
    """
    with EmbeddedKeystone.start(
        directory / "keystone", token_expiration=token_expiration
    ) as keystone:
        service = KeystoneService(
            auth_url=keystone.auth_url,
            username="swift",
            password="swift",
            project_name="service",
        )
        with EmbeddedSwift(directory / "swift", keystone=service, **swift_options) as swift:
            running = Cloud(directory, keystone, swift)
            running.register()
            yield running
