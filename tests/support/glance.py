"""Glance's own Swift driver (glance_store), outside Glance, for the tests.

What it writes our filesystem must read, and the reverse. It is configured as the Glance
of one project is, with its login in a reference file: locations read
``swift+config://ref1/<container>/<image id>`` and carry no password.

The driver lives in a child process (`glance_driver`): its stores, references and options
are module globals, and it warns freely where our tests take a warning for a failure.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.child import Child, ChildError
from tests.support.identity_api import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The unit of large_object_size and large_object_chunk_size, which Glance calls a MB.
GLANCE_MB = 1000 * 1024

READ_SIZE = 64 * 1024

# An answer takes a second or two. A driver that hangs waits for the embedded Swift's
# client_timeout, which is ten minutes.
ANSWER_SECONDS = 120

_CONFIGURATION = """\
[glance_store]
stores = swift
default_store = swift
default_swift_reference = ref1
swift_store_config_file = {references}
swift_store_region = {region}
swift_store_container = {options.container}
swift_store_multiple_containers_seed = {options.multiple_containers_seed}
swift_store_large_object_size = {options.large_object_size}
swift_store_large_object_chunk_size = {options.large_object_chunk_size}
swift_store_create_container_on_put = {options.create_container_on_put}
swift_store_retry_get_count = {options.retry_get_count}
"""

_REFERENCES = """\
[ref1]
auth_address = {auth_url}
user = {user}
key = {key}
project_domain_id = default
user_domain_id = default
"""


class GlanceError(Exception):
    """The driver failed.

    Attributes:
        kind: The name of the driver's exception, such as ``NotFound``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class GlanceOptions:
    """The driver's options of the same names, with its defaults but for the last two.

    Sizes are in units of `GLANCE_MB`, at least 1.
    """

    container: str = "glance"
    multiple_containers_seed: int = 0
    large_object_size: int = 5120
    large_object_chunk_size: int = 200
    create_container_on_put: bool = True
    retry_get_count: int = 2

    def takes(self, size: int) -> bool:
        """Return whether the driver can store that many bytes when told how many.

        It announces every segment with the full chunk size, so that a shorter last one
        leaves the server waiting for the rest, until it gives up (glance_store 5.0 to
        5.7 at least; Launchpad bug 2110185 brought it).
        """
        is_segmented = size >= self.large_object_size * GLANCE_MB
        return not is_segmented or size % (self.large_object_chunk_size * GLANCE_MB) == 0


@dataclass(frozen=True, slots=True)
class AddedImage:
    """What Glance writes into its database about an image that it stored."""

    location: str
    size: int
    checksum: str
    os_hash_value: str


@dataclass(frozen=True, slots=True)
class DriverLocation:
    """A location as the driver holds it; what the URI does not have is None."""

    scheme: str
    user: str | None
    key: str | None
    auth_or_store_url: str | None
    container: str
    obj: str


@dataclass(frozen=True, slots=True)
class MultiTenantLocation:
    """Where an image of a store for many tenants is."""

    container: str
    uri: str


class GlanceStore:
    """Glance's Swift driver, logged in as one user.

    It logs in when the first image needs it: what the driver says of names, locations and
    ACLs needs no cloud.
    """

    def __init__(self, child: Child, scratch: Path, options: GlanceOptions) -> None:
        self._child = child
        self._scratch = scratch
        self._options = options
        self._numbers = itertools.count()

    @classmethod
    def start(
        cls,
        directory: Path,
        auth_url: str,
        *,
        user: str = "service:glance",
        key: str = "glance",
        options: GlanceOptions | None = None,
    ) -> GlanceStore:
        """Return a driver that is ready; takes half a second.

        Args:
            directory: Where its configuration, log and passing files go; made if it is
                not there.
            auth_url: Keystone's v3 API, whose catalog has the Swift to use.
            user: The project and the user, in the driver's notation.
            key: The user's password.
            options: Glance's defaults, if none are given.

        Raises:
            GlanceError: The driver does not like its configuration.
        """
        options = options or GlanceOptions()
        directory.mkdir(parents=True, exist_ok=True)
        references = directory / "glance-swift.conf"
        references.write_text(_REFERENCES.format(auth_url=auth_url, user=user, key=key))
        configuration = directory / "glance.conf"
        configuration.write_text(
            _CONFIGURATION.format(references=references, region=REGION, options=options)
        )
        log = directory / "glance.log"
        child = Child("tests.support.glance_driver", [str(configuration)], log=log)
        store = cls(child, directory, options)
        try:
            store._result()
        except BaseException:
            store.stop()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the driver's process; in the middle of an upload, segments stay behind."""
        self._child.stop()

    def add(self, image_id: str, data: bytes | Path, *, size: int | None = None) -> AddedImage:
        """Store an image and return what Glance would note about it.

        Args:
            image_id: A UUID; the object's name, and with a seed part of its container's.
            data: The content, or a file with it.
            size: What the driver is told: 0 for unknown, which always makes a DLO. If
                not given, the size there is, or 0 where the driver would hang on it.
        """
        path = data if isinstance(data, Path) else self._new_file(data)
        if size is None:
            actual = path.stat().st_size
            size = actual if self._options.takes(actual) else 0
        try:
            return AddedImage(**self._ask("add", image_id=image_id, path=str(path), size=size))
        finally:
            if path is not data:
                path.unlink()

    def get(self, location: str) -> Iterator[bytes]:
        """Return the image's content in chunks; it is all read before the first."""
        path = self._new_file(b"")
        try:
            self._ask("get", location=location, path=str(path))
        except BaseException:
            path.unlink()
            raise
        return _chunks_of(path)

    def get_size(self, location: str) -> int:
        """Return what the driver takes for the image's size; 0 if anything goes wrong."""
        size: int = self._ask("get_size", location=location)
        return size

    def delete(self, location: str) -> None:
        """Delete an image, and the segments of a DLO with it."""
        self._ask("delete", location=location)

    def parse_location(self, uri: str) -> DriverLocation:
        """Return what the driver makes of a location.

        Raises:
            GlanceError: It refuses it (``BadStoreUri``), or stumbles over it.
        """
        return DriverLocation(**self._ask("parse_location", uri=uri))

    def reformat_location(self, uri: str) -> str:
        """Return a location as the driver writes it, with credentials, after parsing it."""
        return str(self._ask("reformat_location", uri=uri))

    def format_location(self, parts: DriverLocation) -> str:
        """Return the location that the driver writes, with credentials, into Glance's database."""
        return str(self._ask("format_location", parts=asdict(parts)))

    def container_name(self, image_id: str, container: str, seed: int | None) -> str:
        """Return the container in which the driver of one project stores an image.

        Args:
            image_id: Any text.
            container: swift_store_container.
            seed: swift_store_multiple_containers_seed.
        """
        asked = {"image_id": image_id, "container": container, "seed": seed}
        return str(self._ask("container_name", **asked))

    def multi_tenant_location(
        self, image_id: str, container: str | None, endpoint: str = "https://swift/v1/AUTH_a"
    ) -> MultiTenantLocation:
        """Return where the driver stores an image in its owner's project.

        Args:
            image_id: Any text.
            container: swift_store_container.
            endpoint: swift_store_endpoint: the owner's storage URL.
        """
        asked = {"image_id": image_id, "container": container, "endpoint": endpoint}
        return MultiTenantLocation(**self._ask("multi_tenant_location", **asked))

    def set_acls(
        self,
        *,
        public: bool = False,
        read_tenants: Sequence[str] = (),
        write_tenants: Sequence[str] = (),
        admin_tenants: Sequence[str] = (),
    ) -> dict[str, str]:
        """Return the headers that the driver posts to the container of an image.

        Args:
            public: As the method of the same name has it.
            read_tenants: The same.
            write_tenants: The same.
            admin_tenants: swift_store_admin_tenants.
        """
        headers: dict[str, str] = self._ask(
            "set_acls",
            public=public,
            read_tenants=list(read_tenants),
            write_tenants=list(write_tenants),
            admin_tenants=list(admin_tenants),
        )
        return headers

    def _ask(self, action: str, **arguments: object) -> Any:
        self._child.write_line(json.dumps({"action": action, **arguments}))
        return self._result()

    def _result(self) -> Any:
        try:
            answer = json.loads(self._child.read_line(ANSWER_SECONDS))
        except ChildError:
            # Its answer may still come, and would be taken for that of the next request.
            self.stop()
            raise
        if "failure" in answer:
            raise GlanceError(answer["failure"], answer["message"])
        return answer["result"]

    def _new_file(self, content: bytes) -> Path:
        path = self._scratch / f"data-{next(self._numbers)}"
        path.write_bytes(content)
        return path


def _chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the file's content, and remove the file."""
    with path.open("rb") as data:
        path.unlink()
        while chunk := data.read(READ_SIZE):
            yield chunk
