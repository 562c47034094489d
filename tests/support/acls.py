"""What Swift has of a container's ACLs, and who asked it to."""

from __future__ import annotations

from swiftimgfs.store.acls import AclHeader, Acls

READ, WRITE = AclHeader.READ, AclHeader.WRITE
SEGMENTS_OF_OURS = {"X-Container-Meta-Swiftimgfs": "segments"}


def acls_of(client, container="c") -> Acls:
    headers = client.head_container(container)
    return Acls(headers.get("x-container-read", ""), headers.get("x-container-write", ""))


def posts(faulty):
    return [
        (r.path.rpartition("/")[2], r.headers.get("x-container-read"))
        for r in faulty.control.journal()
        if r.method == "POST"
    ]
