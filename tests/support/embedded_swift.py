"""A Swift with a fault layer, for fixtures of any scope."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import swiftclient

from swiftimgfs.demo.swift_process import EmbeddedSwift
from tests.support.fault_control import FaultControl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULT_LAYER = "tests.support.faults:FaultLayer"
HTTPS_LAYER = "tests.support.https_layer:HttpsLayer"


@dataclass(frozen=True, slots=True)
class FaultySwift:
    """A Swift to use and the means to make it fail."""

    swift: EmbeddedSwift
    control: FaultControl

    def connect(self, **options: Any) -> swiftclient.Connection:
        """Return a client of the first user; `options` are swiftclient's own."""
        who = {"user": self.swift.user, "key": self.swift.key, "retries": 0}
        return swiftclient.Connection(self.swift.auth_url, **(who | options))

    @contextlib.contextmanager
    def client(self, *containers: str) -> Iterator[swiftclient.Connection]:
        """Lend a client with a token, and have containers; the journal begins after that."""
        with contextlib.closing(self.connect()) as connection:
            for container in containers:
                connection.put_container(container)
            self.control.clear()
            yield connection

    def reset(self) -> None:
        """Forget faults and journal, and delete all the first user has."""
        self.control.clear()
        with contextlib.closing(self.connect(retries=5)) as client:
            for container in client.get_account(full_listing=True)[1]:
                for item in client.get_container(container["name"], full_listing=True)[1]:
                    _delete(client, container["name"], item["name"])
                client.delete_container(container["name"])
        self.control.clear()


def _delete(client: swiftclient.Connection, container: str, name: str) -> None:
    """Delete an object, also one whose name clients take for a step in a path, such as `..`."""
    if {".", ".."}.isdisjoint(name.split("/")):
        client.delete_object(container, name)
        return
    names = quote(f"/{container}/{name}").encode()
    headers = {"Content-Type": "text/plain", "Accept": "application/json"}
    answer = client.post_account(headers, query_string="bulk-delete", data=names)[1]
    assert json.loads(answer)["Number Deleted"] == 1, answer


@contextlib.contextmanager
def faulty_swift(directory: Path, **options: Any) -> Iterator[FaultySwift]:
    """Run a Swift in `directory`; `options` are those of `EmbeddedSwift`, `wrap` innermost."""
    wrap = (*options.pop("wrap", ()), HTTPS_LAYER, FAULT_LAYER)
    with EmbeddedSwift(directory, wrap=wrap, **options) as swift:
        yield FaultySwift(swift, FaultControl(swift.base_url))
