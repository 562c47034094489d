"""What makes less sense than somebody may think is said; what cannot work is refused, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swiftimgfs import errors
from swiftimgfs.config.load import load_config
from swiftimgfs.config.types import Endpoint
from swiftimgfs.reading.disk_cache import DiskCache


def warnings_of(*options: str) -> tuple[str, ...]:
    return load_config("env:", "/mnt", options).warnings


def test_less_memory_than_the_program_takes() -> None:
    (warning,) = warnings_of("memory_limit=16M")

    assert warning.startswith("memory_limit=16M is less")
    assert "less than the program itself takes, about 80 MB" in warning
    assert warnings_of("memory_limit=128M") == ()


def test_a_size_of_a_cache_that_is_nowhere(tmp_path: Path) -> None:
    (warning,) = warnings_of("memory_limit=128M", "cache_size=1G")

    assert "cache_size without cache_dir" in warning
    assert warnings_of("memory_limit=128M", f"cache_size=1G,cache_dir={tmp_path}") == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="others are told that they may not")
@pytest.mark.parametrize(
    ("directory", "reason"),
    [
        ("/etc/passwd", "cache_dir=/etc/passwd cannot be used: not a directory"),
        ("/etc/passwd/x", "cannot be used: Not a directory"),
        ("/proc", "cache_dir=/proc cannot be used: no file can be made there"),
        ("/proc/x", "cannot be used: no file can be made there"),
    ],
)
def test_where_no_cache_can_be(directory: str, reason: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        DiskCache(Path(directory), 1 << 30)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("localhost:1", ("localhost", 1)),
        ("/run/x.prom", Path("/run/x.prom")),
    ],
)
def test_where_metrics_go(text: str, value: object) -> None:
    assert Endpoint()(text) == value


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "x", ":1", "a:b", "[::1]", "1:2:3", "x.prom"]
)
def test_where_no_metrics_go(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Endpoint()(text)
