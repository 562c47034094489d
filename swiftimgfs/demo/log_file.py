"""Swift's log in a file instead of syslog.

Swift gives every logger a syslog handler, falling back on UDP to localhost when there is no
/dev/log, and then calls the functions named by `log_custom_handlers`. Ours replaces it.

Source: swift.common.utils.logs.get_swift_logger.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT = "%(asctime)s %(levelname)s %(server)s: %(message)s"
_handlers: dict[str, logging.Handler] = {}


def log_to_file(
    conf: Mapping[str, str],
    name: str,
    _log_to_console: object,
    _log_route: object,
    _fmt: object,
    logger: logging.Logger,
    *_adapted_logger: object,
) -> None:
    """Make the file that `conf` names in ``log_file`` the logger's only handler."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        if handler not in _handlers.values():
            handler.close()
    logger.addHandler(_handler_for(conf["log_file"], name))


def _handler_for(path: str, name: str) -> logging.Handler:
    # One handler for all: the servers' lines are then whole, and in order.
    if path not in _handlers:
        handler = logging.FileHandler(path, encoding="utf-8", errors="surrogateescape")
        handler.setFormatter(logging.Formatter(_FORMAT, defaults={"server": name}))
        _handlers[path] = handler
    return _handlers[path]
