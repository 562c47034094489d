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
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import glance_store
from glance_store import backend
from oslo_config import cfg

if TYPE_CHECKING:
    from collections.abc import Callable

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


_ACTIONS: dict[str, Callable[..., object]] = {
    "add": _add,
    "get": _get,
    "get_size": _get_size,
    "delete": _delete,
}


if __name__ == "__main__":
    main()
