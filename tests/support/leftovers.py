"""What a dead mount left in Swift: segments in `s` of the image `c/image`."""

from __future__ import annotations

import hashlib
import json

SETTLE = 0.6


def put_segments(client, prefix, *bodies, container="s"):
    """Store segments; return the rows of a manifest of them."""
    rows = []
    for number, body in enumerate(bodies):
        name = f"{prefix}{number:08d}"
        etag = client.put_object(container, name, body)
        rows.append({"path": f"/{container}/{name}", "etag": etag, "size_bytes": len(body)})
    return rows


def put_slo(client, rows, name="image", container="c"):
    client.put_object(container, name, json.dumps(rows), query_string="multipart-manifest=put")
    return etag_of(rows)


def etag_of(rows):
    return hashlib.md5("".join(row["etag"] for row in rows).encode()).hexdigest()


def names_in(client, container="s"):
    return [row["name"] for row in client.get_container(container, full_listing=True)[1]]


def body_of(client, name="image", container="c"):
    return client.get_object(container, name)[1]
