"""Swift location URIs, as Glance keeps them. Pure.

Source: `StoreLocation` of glance_store's Swift driver. The last two parts of the path are
container and object; everything before is the address.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit


def format_storage_location(storage_url: str, container: str, name: str = "") -> str:
    """Return the location of an image (or container) below a storage URL, without credentials.

    It is the multi-tenant form of the driver, `swift+https://host/v1/AUTH_x/container/object`.
    A `/` in a name is quoted, since the driver takes the last two parts of the path.
    """
    parts = urlsplit(storage_url)
    path = "/".join(quote(part, safe="") for part in (container, name) if part)
    return f"swift+{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{path}"
