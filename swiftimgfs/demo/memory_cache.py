"""A memcached that is a dictionary, as a paste filter.

tempauth keeps its tokens in the cache and the proxies keep what they know of containers
there, so it cannot be left out. All proxies of the process share one, as they would share
memcached: otherwise one would go on believing an ACL that was changed through the other.

Values go through JSON, as on their way to memcached, so that what comes back is never the
object that went in; bytes come back as a string, there too.

Source: swift.common.memcached.MemcacheRing (methods and their arguments).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class MemoryCache:
    """The methods of MemcacheRing that Swift's middleware and keystonemiddleware call."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._expiries: dict[str, float] = {}

    def get(self, key: str, **_options: Any) -> Any:  # noqa: ANN401  -- whatever was set
        """Return the value, None when there is none or it has expired."""
        if self._expiries.get(key, float("inf")) <= time.monotonic():
            self.delete(key)
        value = self._values.get(key)
        return None if value is None else json.loads(value)

    def set(self, key: str, value: Any, *, time: float = 0, **_options: Any) -> None:  # noqa: ANN401
        """Keep the value for `time` seconds, for ever when 0."""
        self._values[key] = json.dumps(value, default=bytes.decode)
        self._set_expiry(key, time)

    def delete(self, key: str, *_server_key: str) -> None:
        """Forget the value, if there is one."""
        self._values.pop(key, None)
        self._expiries.pop(key, None)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Add to a counter that starts at 0 and never gets below; return the sum."""
        total = max(0, int(self.get(key) or 0) + int(delta))
        self.set(key, total, time=time)
        return total

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Subtract from a counter; return the difference, at least 0."""
        return self.incr(key, -int(delta), time)

    def set_multi(
        self,
        mapping: dict[str, Any],
        server_key: str,  # noqa: ARG002  -- there is one server
        *,
        time: float = 0,
        **_options: Any,  # noqa: ANN401
    ) -> None:
        """Keep several values."""
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys: Iterable[str], server_key: str) -> list[Any]:  # noqa: ARG002
        """Return several values, None for each that is not there."""
        return [self.get(key) for key in keys]

    def forget_tokens(self) -> None:
        """Forget every token tempauth gave out, and which user has which."""
        for key in [key for key in self._values if "/token/" in key or "/user/" in key]:
            self.delete(key)

    def _set_expiry(self, key: str, seconds: float) -> None:
        if seconds:
            self._expiries[key] = time.monotonic() + seconds
        else:
            self._expiries.pop(key, None)


SHARED_CACHE = MemoryCache()


def filter_factory(
    global_conf: dict[str, str],  # noqa: ARG001  -- paste's signature
    **local_conf: str,  # noqa: ARG001
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Return a filter that gives every request the process's cache."""

    def add_cache(app: WSGIApplication) -> WSGIApplication:
        return _CacheFilter(app)

    return add_cache


class _CacheFilter:
    # A class because swift.common.wsgi.loadapp sets attributes on every filter.
    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes] | Iterator[bytes]:
        environ["swift.cache"] = SHARED_CACHE
        return self.app(environ, start_response)
