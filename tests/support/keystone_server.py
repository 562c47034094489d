"""The child process of `keystone_process`: Keystone's WSGI application behind waitress.

Run as ``python -m tests.support.keystone_server <fd>``, where fd is a listening socket
inherited from the parent and OS_KEYSTONE_CONFIG_FILES names Keystone's configuration.
It says `READY` on standard output and serves until SIGTERM, or until its standard
input ends: however the parent dies, no server stays behind.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import types

READY = "ready"


def main() -> None:
    """Serve Keystone on the socket named in the arguments until told to end."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    # oslo.config takes whatever is left in sys.argv for Keystone's own options.
    del sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()

    # Late, as these take a second and the parent may be gone by then.
    gc.disable()  # what is imported stays
    _leave_out_schemas()
    import waitress  # type: ignore[import-untyped]  # noqa: PLC0415
    from keystone.server.wsgi import initialize_public_application  # noqa: PLC0415

    server = waitress.create_server(initialize_public_application(), sockets=[listener])
    gc.enable()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    server.run()


def _leave_out_schemas() -> None:
    """Let pysaml2 compile no schemas: a third of the start, and nobody comes by SAML here."""
    schemas = types.ModuleType("saml2.xml.schema")
    schemas.__dict__.update(XMLSchemaError=ValueError, validate=_refuse_saml)
    sys.modules[schemas.__name__] = schemas


def _refuse_saml(*_arguments: object) -> None:
    raise NotImplementedError("this Keystone has no schemas of SAML")


def _end_with_parent() -> None:
    """Block on standard input, whose other end only the parent holds open."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
