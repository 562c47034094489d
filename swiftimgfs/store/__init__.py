"""What Swift says: the only package that knows swiftclient, keystoneauth1 and openstacksdk.

Two of them import keystoneclient and osprofiler wherever they are installed, as on hosts of
Glance. Nothing of it is used here, and it is a third of the time that a command takes to start.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

_UNUSED: Final = ("keystoneclient", "osprofiler")
_THEIR_IMPORTERS: Final = ("keystoneauth1.session", "swiftclient.client")


def _import_without_unused() -> None:
    hidden = [name for name in _UNUSED if name not in sys.modules]
    # None is for the import system what is not installed, and both can do without.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        for name in _THEIR_IMPORTERS:
            importlib.import_module(name)
    finally:
        for name in hidden:
            del sys.modules[name]


_import_without_unused()
