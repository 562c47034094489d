"""Types of options that oslo.config does not have: sizes, seconds, permission bits."""

from __future__ import annotations

import re
from pathlib import Path

from oslo_config import types

KIB = 1024
LOOPBACK = "127.0.0.1"
LARGEST_PORT = 65_535
_ASCII = re.ASCII | re.IGNORECASE  # without Unicode's digits, and its other K
_UNITS = {"": 1, "K": KIB, "M": KIB**2, "G": KIB**3, "T": KIB**4}


def parse_size(text: str) -> int:
    """Return a size in bytes: a whole number with K, M, G or T after it, or nothing.

    Raises:
        ValueError: It is not one.
    """
    match = re.fullmatch(r"(\d{1,18})\s*([KMGT]?)(?:i?B)?", text.strip(), _ASCII)
    if match is None:
        raise ValueError("not a size like 64M, 1G or 4096")
    return int(match[1]) * _UNITS[match[2].upper()]


def format_size(size: int) -> str:
    """Return bytes as `parse_size` takes them, in the largest unit that they are a multiple of."""
    units = [(letter, unit) for letter, unit in _UNITS.items() if size and size % unit == 0]
    letter, unit = units[-1] if units else ("", 1)
    return f"{size // unit}{letter}"


class _Text(types.ConfigType):  # type: ignore[misc]  # oslo.config has no type hints
    """A type whose defaults are written as they are given: as text."""

    def _formatter(self, value: object) -> str:
        return str(value)


class Size(_Text):
    """Bytes, written with K, M, G or T for powers of 1024."""

    def __init__(self, at_least: int) -> None:
        super().__init__("size in bytes, with K, M, G or T")
        self._at_least = at_least

    def __call__(self, value: str | int) -> int:
        """Return the bytes that `value` says; an int is taken as it is."""
        size = value if isinstance(value, int) else parse_size(value)
        if size < self._at_least:
            raise ValueError(f"at least {format_size(self._at_least)}")
        return size


class Number(_Text):
    """A whole number without a sign."""

    def __init__(self, at_least: int, at_most: int | None = None) -> None:
        limit = "on" if at_most is None else f"to {at_most}"
        super().__init__(f"whole number from {at_least} {limit}")
        self._at_least = at_least
        self._at_most = float("inf") if at_most is None else at_most

    def __call__(self, value: str | int) -> int:
        """Return the number that `value` says."""
        text = str(value)
        is_number = re.fullmatch(r"[0-9]{1,18}", text)
        if not is_number or not self._at_least <= int(text) <= self._at_most:
            raise ValueError(f"not a {self.type_name}")
        return int(text)


class Seconds(_Text):
    """Seconds, whole or with a fraction."""

    def __init__(self, *, may_be_zero: bool = True) -> None:
        super().__init__("seconds")
        self._may_be_zero = may_be_zero

    def __call__(self, value: str | float) -> float:
        """Return the seconds that `value` says."""
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", str(value)):
            raise ValueError("not a number of seconds")
        seconds = float(value)
        if not seconds and not self._may_be_zero:
            raise ValueError("more than 0 seconds")
        return seconds


class Endpoint(_Text):
    """Where metrics are served: an address and a port, a port of this host, or a file."""

    def __init__(self) -> None:
        super().__init__("address:port, port or absolute file name")

    def __call__(self, value: str | Path | tuple[str, int]) -> Path | tuple[str, int]:
        """Return (address, port), or the file."""
        if not isinstance(value, str):
            return value
        if value.startswith("/"):
            return Path(value)
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]:|([\w.-]+):)?([0-9]{1,5})", value)
        if match is None or not 0 < int(match[3]) <= LARGEST_PORT:
            raise ValueError(f"not an {self.type_name}")
        return match[1] or match[2] or LOOPBACK, int(match[3])


class Umask(_Text):
    """Permission bits in octal."""

    def __init__(self) -> None:
        super().__init__("three octal digits")

    def __call__(self, value: str | int) -> int:
        """Return the bits that `value` says; an int is taken as it is."""
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"0?[0-7]{1,3}", value):
            raise ValueError(f"not {self.type_name}")
        return int(value, 8)
