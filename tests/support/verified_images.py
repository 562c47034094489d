"""Images of every kind with digests to compare, and what runs `swiftimgfs verify` on them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.stored import wait_for

if TYPE_CHECKING:
    import swiftclient

    from tests.support.embedded_swift import FaultySwift

SEGMENT = 500_000
WHOLE = random.Random(4).randbytes(4 * SEGMENT + 7)
PARTS = [WHOLE[start : start + SEGMENT] for start in range(0, len(WHOLE), SEGMENT)]

Told = tuple[int, str, str]
Runner = Callable[..., Told]
Verify = Callable[..., list[str]]


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def put_segments(client: swiftclient.Connection, container: str) -> list[str]:
    names = [f"parts/{number}" for number in range(len(PARTS))]
    for name, part in zip(names, PARTS, strict=True):
        client.put_object(container, name, part)
    return names


def put_slo(
    client: swiftclient.Connection,
    container: str,
    rows: list[dict[str, str]],
    name: str = "image",
    **headers: str,
) -> None:
    client.put_object(
        container,
        name,
        json.dumps(rows).encode(),
        query_string="multipart-manifest=put",
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )


def put_image(
    client: swiftclient.Connection, container: str, kind: str, **headers: str
) -> None:
    """Store `WHOLE` as the image `image`, in one of three ways."""
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    if kind == "plain":
        client.put_object(container, "image", WHOLE, headers=headers)
        return
    names = put_segments(client, container)
    if kind == "slo":
        put_slo(client, container, [{"path": f"/{container}/{n}"} for n in names], **headers)
    else:
        headers["X-Object-Manifest"] = f"{container}/parts/"
        client.put_object(container, "image", b"", headers=headers)


def stored_digest(data: bytes, algorithm: str = "sha256") -> dict[str, str]:
    return {
        "X_Object_Meta_Os_Hash_Algo": algorithm,
        "X_Object_Meta_Os_Hash_Value": hashlib.new(algorithm, data).hexdigest(),
    }


KINDS = {"plain": "etag", "slo": "5 segments", "dlo": "5 segments"}
kinds = pytest.mark.parametrize(("kind", "what"), KINDS.items(), ids=KINDS.keys())


def wait_for_request(swift: FaultySwift, end: str) -> None:
    def is_asked_for() -> bool:
        journal = swift.control.journal()
        return any(r.method == "GET" and r.path.endswith(end) for r in journal)

    wait_for(is_asked_for, seconds=30)
