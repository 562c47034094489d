"""Images of each kind that Swift knows, as others than a mount store them."""

from __future__ import annotations

import json
from typing import Any

PIECE = b"0123456789" * 1000


def put_slo(client: Any, container: str, name: str, rows: list[dict[str, Any]]) -> None:
    client.put_object(
        container,
        name,
        json.dumps(rows),
        query_string="multipart-manifest=put",
        content_type="image/x",
    )


def make_image(client: Any, container: str, kind: str) -> bytes:
    """Store an image `old` of a kind; return its bytes."""
    segments = f"{container}_elsewhere"
    client.put_container(segments)
    etag = client.put_object(segments, "s1", PIECE)
    client.put_object(segments, "s2", PIECE)
    whole = {"path": f"/{segments}/s1", "etag": etag, "size_bytes": len(PIECE)}
    match kind:
        case "plain":
            client.put_object(container, "old", PIECE, content_type="image/x")
            return PIECE
        case "slo":
            put_slo(client, container, "old", [whole, whole])
            return PIECE * 2
        case "ranges":
            put_slo(client, container, "old", [{**whole, "range": "10-29"}, whole])
            return PIECE[10:30] + PIECE
        case "nested":
            put_slo(client, segments, "inner", [whole, whole])
            put_slo(client, container, "old", [{"path": f"/{segments}/inner"}, whole])
            return PIECE * 3
        case "data":
            put_slo(client, container, "old", [{"data": "Zm9v"}, whole])
            return b"foo" + PIECE
        case _:
            client.put_object(
                container,
                "old",
                b"",
                content_type="image/x",
                headers={"X-Object-Manifest": f"{segments}/s"},
            )
            return PIECE * 2
