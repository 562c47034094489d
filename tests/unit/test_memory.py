"""How much memory there is: the host's, or what the least of our cgroups leaves of it."""

from __future__ import annotations

import os

import pytest

from swiftimgfs.config import load, memory
from swiftimgfs.config.load import load_config
from swiftimgfs.config.memory import default_memory_limit, memory_available

MIB = 1 << 20
HOST = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
UNLIMITED = 0x7FFFFFFFFFFFF000  # what cgroup v1 says where there is no limit
V1 = "9:cpu,cpuacct:/cpu\n8:memory:{0}\n1:name=systemd:/s\n0::/unified\n"


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Return what sets a process's cgroups, and limits by their file."""

    def set_up(own: str, limits: dict[str, object]) -> None:
        (tmp_path / "cgroup").write_text(own)
        for name, limit in limits.items():
            file = tmp_path / "fs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{limit}\n")

    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "cgroup")
    return set_up


@pytest.mark.parametrize(
    ("limits", "available"),
    [
        ({"a/b/memory.max": 64 * MIB}, 64 * MIB),
        ({"a/b/memory.max": 64 * MIB, "a/memory.max": 32 * MIB}, 32 * MIB),
        ({"a/b/memory.max": 32 * MIB, "a/memory.max": 64 * MIB}, 32 * MIB),
        ({"memory.max": 16 * MIB, "a/b/memory.max": "max"}, 16 * MIB),
        ({"a/b/memory.max": "max", "a/memory.max": 8 * MIB}, 8 * MIB),
        ({"a/b/memory.max": "max", "a/memory.max": "max"}, HOST),
        ({"a/b/memory.max": HOST + 1}, HOST),
        ({"a/b/c/memory.max": MIB, "x/memory.max": MIB, "../memory.max": MIB}, HOST),
        ({"a/b/memory.max": "", "a/memory.max": "many"}, HOST),
        ({"a/b/memory.limit_in_bytes": MIB, "memory/a/b/memory.max": MIB}, HOST),
        ({}, HOST),
    ],
)
def test_the_least_limit_from_the_root_to_our_cgroup_holds(cgroups, limits, available):
    cgroups("0::/a/b\n", limits)

    assert memory_available() == available


@pytest.mark.parametrize(
    ("limits", "available"),
    [
        ({"memory/a/b/memory.limit_in_bytes": 64 * MIB}, 64 * MIB),
        (
            {
                "memory/a/b/memory.limit_in_bytes": UNLIMITED,
                "memory/a/memory.limit_in_bytes": 32 * MIB,
                "memory/memory.limit_in_bytes": UNLIMITED,
            },
            32 * MIB,
        ),
        ({"memory/a/b/memory.limit_in_bytes": UNLIMITED}, HOST),
        (
            {"memory/cpu/memory.limit_in_bytes": MIB, "memory/s/memory.limit_in_bytes": MIB},
            HOST,
        ),
        ({"memory/a/b/memory.max": MIB, "cpu/memory.max": MIB}, HOST),
    ],
)
def test_version_1_has_the_limit_in_its_own_tree(cgroups, limits, available):
    cgroups(V1.format("/a/b"), limits)

    assert memory_available() == available


def test_with_both_versions_the_lesser_limit_holds(cgroups):
    limits = {"memory/a/memory.limit_in_bytes": 64 * MIB, "unified/memory.max": 32 * MIB}
    cgroups(V1.format("/a"), limits)

    assert memory_available() == 32 * MIB


def test_memory_next_to_another_controller_is_found(cgroups):
    cgroups("5:hugetlb,memory:/a\n", {"memory/a/memory.limit_in_bytes": 64 * MIB})

    assert memory_available() == 64 * MIB


def test_in_the_root_of_a_container_its_limit_holds(cgroups):
    cgroups("0::/\n", {"memory.max": 64 * MIB})

    assert memory_available() == 64 * MIB


def test_a_limit_that_cannot_be_read_is_passed_over(cgroups, tmp_path):
    cgroups("0::/a/b\n", {"a/memory.max": 64 * MIB})
    (tmp_path / "fs/a/b/memory.max").mkdir(parents=True)

    assert memory_available() == 64 * MIB


def test_without_cgroups_all_of_the_host_is_ours(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "missing")

    assert memory_available() == HOST


@pytest.mark.parametrize(
    ("available", "limit"),
    [(64, 16 * MIB), (2047, 2047 * MIB // 4), (2048, 512 * MIB), (1 << 20, 512 * MIB)],
)
def test_the_default_is_a_quarter_of_it_and_512_mib_at_most(monkeypatch, available, limit):
    monkeypatch.setattr(memory, "memory_available", lambda: available * MIB)

    assert default_memory_limit() == limit


@pytest.mark.parametrize(
    ("options", "limit"), [([], 64 * MIB), (["memory_limit=16M"], 16 * MIB)]
)
def test_a_mount_takes_the_default_where_nobody_said(monkeypatch, options, limit):
    monkeypatch.setattr(load, "default_memory_limit", lambda: 64 * MIB)

    config = load_config("env:", "/mnt", options)

    assert config.writing.memory_limit == limit * 3 // 8
    assert config.cache_limit == limit - limit // load.PROGRAM_SHARE
