"""Logins to a real Keystone, and whether what they give works."""

from __future__ import annotations

import requests

from swiftimgfs.store.auth import EndpointOptions, TransportOptions
from swiftimgfs.store.login import log_in
from swiftimgfs.store.references import AccountReference

TRANSPORT = TransportOptions(timeout=10)


def identity_for(login, environ=None, **endpoint):
    identity, _ = log_in(login, EndpointOptions(**endpoint), TRANSPORT, environ or {})
    return identity


def works(access):
    return requests.get(access.storage_url, headers=access.headers, timeout=10).ok


def reference(running, **changed):
    given = {
        "name": "ref1",
        "auth_address": running.keystone.auth_url,
        "user": "demo:demo",
        "key": "demo",
    }
    return AccountReference(**(given | changed)).with_domains()
