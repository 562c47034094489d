"""The child process of `glance`: Glance's Swift driver, driven by lines of JSON.

Run as ``python -m tests.support.glance_driver <configuration>``, where the file is what
a Glance would have: options of glance_store. A line on standard input is a request, a
line on standard output its answer: ``{"result": ...}``, or ``{"failure": the exception's
name, "message": ...}``. The first answer comes unasked, when the driver is ready. The
process ends when its standard input does.

glance_store takes a configuration object for some of its functions, but looks up the
references of locations in the module-global one: so that is the one to use.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TextIO

import glance_store
from glance_store import backend
from glance_store._drivers.swift.store import (
    MultiTenantStore,
    SingleTenantStore,
    StoreLocation,
)
from oslo_config import cfg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What Glance asks for unless told otherwise (its option hashing_algorithm).
HASHING_ALGORITHM = "sha512"


def main() -> None:
    """Answer requests until there are no more."""
    answers = _take_standard_output()
    _answer(answers, _configure, {"configuration": sys.argv[1]})
    for line in sys.stdin:
        request = json.loads(line)
        action = _ACTIONS[request.pop("action")]
        _answer(answers, action, request)


def _take_standard_output() -> TextIO:
    """Return the standard output, and let what others print go to the log instead."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _answer(answers: TextIO, action: Callable[..., object], request: dict[str, Any]) -> None:
    try:
        answer = {"result": action(**request)}
    except Exception as exc:  # noqa: BLE001 - whatever it is, the tests are to see it
        answer = {"failure": type(exc).__name__, "message": str(exc)}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _configure(configuration: str) -> str:
    glance_store.register_opts(cfg.CONF)
    cfg.CONF(["--config-file", configuration], project="glance")
    glance_store.create_stores(cfg.CONF)
    glance_store.verify_default_store()
    return "ready"


def _add(image_id: str, path: str, size: int) -> dict[str, str | int]:
    with Path(path).open("rb") as data:
        location, stored, checksum, os_hash_value, _ = backend.add_to_backend_with_multihash(
            cfg.CONF, image_id, data, size, HASHING_ALGORITHM
        )
    return {
        "location": location,
        "size": stored,
        "checksum": checksum,
        "os_hash_value": os_hash_value,
    }


def _get(location: str, path: str) -> int:
    chunks, size = glance_store.get_from_backend(location)
    with Path(path).open("wb") as data:
        data.writelines(chunks)
    return int(size)


def _get_size(location: str) -> int:
    return int(glance_store.get_size_from_backend(location))


def _delete(location: str) -> None:
    glance_store.delete_from_backend(location)


def _parse_location(uri: str) -> dict[str, str | None]:
    location = StoreLocation({}, cfg.CONF)
    location.parse_uri(uri)
    parts = ("scheme", "user", "key", "auth_or_store_url", "container", "obj")
    return {part: getattr(location, part) for part in parts}


def _reformat_location(uri: str) -> str:
    location = StoreLocation({}, cfg.CONF)
    location.parse_uri(uri)
    return str(location.get_uri(credentials_included=True))


def _format_location(parts: dict[str, str]) -> str:
    return str(StoreLocation(parts, cfg.CONF).get_uri(credentials_included=True))


def _container_name(image_id: str, container: str, seed: int | None) -> str:
    with _options(swift_store_multiple_containers_seed=seed):
        store = SingleTenantStore(cfg.CONF)
        return str(store.get_container_name(image_id, container))


def _multi_tenant_location(
    image_id: str, container: str | None, endpoint: str
) -> dict[str, str]:
    with _options(swift_store_container=container, swift_store_endpoint=endpoint):
        store = MultiTenantStore(cfg.CONF)
        store.configure()
        location = store.create_location(image_id, SimpleNamespace(service_catalog=[]))
        return {"container": location.container, "uri": location.get_uri()}


def _set_acls(admin_tenants: list[str], **arguments: Any) -> dict[str, str]:
    posted: dict[str, str] = {}

    def post_container(_container: str, headers: dict[str, str]) -> None:
        posted.update(headers)

    with _options(swift_store_admin_tenants=admin_tenants):
        store = MultiTenantStore(cfg.CONF)
        store.configure()
        store.set_acls(
            SimpleNamespace(store_location=SimpleNamespace(container="c")),
            connection=SimpleNamespace(post_container=post_container),
            **arguments,
        )
    return posted


@contextmanager
def _options(**options: object) -> Iterator[None]:
    """Give options other values for a while, as if the configuration had them."""
    for name, value in options.items():
        cfg.CONF.set_override(name, value, group="glance_store")
    try:
        yield
    finally:
        for name in options:
            cfg.CONF.clear_override(name, group="glance_store")


_ACTIONS: dict[str, Callable[..., object]] = {
    "add": _add,
    "get": _get,
    "get_size": _get_size,
    "delete": _delete,
    "parse_location": _parse_location,
    "reformat_location": _reformat_location,
    "format_location": _format_location,
    "container_name": _container_name,
    "multi_tenant_location": _multi_tenant_location,
    "set_acls": _set_acls,
}


if __name__ == "__main__":
    main()
