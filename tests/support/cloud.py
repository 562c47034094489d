"""A Keystone and a Swift that know each other: the smallest OpenStack we run against.

The Swift has two proxies over the same disks. `environ` and `session` lead to the one
that believes the Keystone; the other has users of its own (see `EmbeddedSwift`).
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swiftimgfs.demo.options import KeystoneService
from swiftimgfs.demo.swift_process import EmbeddedSwift
from tests.support.glance import GlanceOptions, GlanceStore
from tests.support.keystone import EmbeddedKeystone
from tests.support.tls import Authority, TlsFront, tls_front, trusted_by_children

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

    def register(self, base_url: str | None = None) -> None:
        """Let the Keystone's catalog say where the Swift is.

        Args:
            base_url: Of the proxy for those who ask the catalog, when it is another one.
        """
        self.keystone.register_swift(self._storage_url_of("%(project_id)s", base_url))

    def _storage_url_of(self, project_id: str, base_url: str | None = None) -> str:
        service = self.swift.options.keystone
        assert service is not None
        base_url = base_url or f"http://127.0.0.1:{self.swift.keystone_port}"
        return f"{base_url}/v1/{service.reseller_prefix}_{project_id}"


@dataclass(frozen=True, slots=True)
class TlsCloud:
    """A cloud whose catalog, version documents and addresses say https.

    Attributes:
        cloud: The same, for tests to prepare things without TLS; its `session` finds the
            TLS front in the catalog like anybody's, its `storage_url` does not.
        keystone: The front of its Keystone.
        swift: The front of its Swift, the proxy that believes the Keystone.
    """

    cloud: Cloud
    keystone: TlsFront
    swift: TlsFront

    @property
    def auth_url(self) -> str:
        """The address of Keystone's v3 API."""
        return f"{self.keystone.base_url}/v3"

    @property
    def ca_file(self) -> str:
        """What clients must believe."""
        return self.keystone.ca_file

    @property
    def other_ca_file(self) -> str:
        """What is of no use to them."""
        return self.keystone.other_ca_file

    def environ(self, user: str = "demo", project: str = "demo") -> dict[str, str]:
        """Return the OS_* variables for a login; no CA is among them."""
        return self.cloud.environ(user, project) | {"OS_AUTH_URL": self.auth_url}


@contextmanager
def cloud(
    directory: Path,
    *,
    token_expiration: int = 3600,
    public_endpoint: str | None = None,
    **swift_options: Any,
) -> Iterator[Cloud]:
    """Run a Keystone and a Swift while the context lasts; they start in 4 s.

    Args:
        directory: Where all their files go; made if it is not there.
        token_expiration: How long a token is good, in seconds.
        public_endpoint: Of the Keystone, when clients reach it at another address.
        **swift_options: The fields of `SwiftOptions`, but for ``keystone``.
    """
    with EmbeddedKeystone.start(
        directory / "keystone",
        token_expiration=token_expiration,
        public_endpoint=public_endpoint,
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


@contextmanager
def tls_cloud(directory: Path, **options: Any) -> Iterator[TlsCloud]:
    """Run a cloud behind TLS while the context lasts; `options` are those of `cloud`."""
    authority = Authority(directory / "tls")
    with (
        tls_front(directory, authority=authority) as keystone,
        tls_front(directory, authority=authority) as swift,
        ExitStack() as stack,
    ):
        with trusted_by_children(authority):
            running = stack.enter_context(
                cloud(directory, public_endpoint=keystone.base_url, **options)
            )
        keystone.backend_port = running.keystone.port
        swift.backend_port = running.swift.keystone_port
        running.register(swift.base_url)
        yield TlsCloud(running, keystone, swift)
