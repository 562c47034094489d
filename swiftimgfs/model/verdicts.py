"""What was found of many by asking a few of them, for as long as it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Hashable

K = TypeVar("K", bound="Hashable")


class Verdicts(Generic[K]):
    """Whether any of what is alike carries something, by what it is alike in."""

    def __init__(self, longest: float) -> None:
        """Believe what was found for `longest` seconds."""
        self._longest = longest
        self._found: dict[K, tuple[bool, float]] = {}

    def get(self, key: K) -> bool | None:
        """Return what was found; None when it is not known, or was long ago."""
        found = self._found.get(key)
        if found is None or trio.current_time() - found[1] >= self._longest:
            return None
        return found[0]

    def note(self, key: K, *, carries: bool) -> None:
        """Take note of what was found now."""
        self._found[key] = carries, trio.current_time()

    def clear(self) -> None:
        """Believe nothing any more."""
        self._found.clear()
