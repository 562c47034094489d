"""Who else could change or replace a directory of ours: what is refused, and what is not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from swiftimgfs.config.load import load_config
from swiftimgfs.errors import ConfigError
from swiftimgfs.private_directory import check_private

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 12_345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "above" / "between" / "cache"
    made.mkdir(parents=True, mode=0o700)
    for path in (made, *made.parents[:2]):
        path.chmod(0o755)
    return made


def refusal(directory: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        check_private(directory, "cache_dir")
    return str(caught.value)


@pytest.mark.parametrize("level", [0, 1])
def test_a_directory_above_that_others_can_write_is_refused_by_its_name(directory, level):
    above = directory.parents[level]
    check_private(directory, "cache_dir")

    above.chmod(0o757)

    assert refusal(directory) == (
        f"cache_dir {directory}: others can write in {above}, and so put another directory in"
        f" its place (chmod go-w {above})"
    )
    above.chmod(0o755)
    check_private(directory, "cache_dir")


def test_in_a_sticky_directory_nobody_replaces_what_is_ours(directory):
    directory.parent.chmod(0o1777)

    check_private(directory, "cache_dir")


@needs_root
def test_a_group_that_may_write_is_others_unless_it_is_the_users_own(directory):
    directory.parent.chmod(0o775)
    check_private(directory, "cache_dir")  # of root's own group

    os.chown(directory.parent, -1, STRANGER)

    assert f"others can write in {directory.parent}" in refusal(directory)


@needs_root
def test_a_directory_in_a_strangers_is_refused_sticky_or_not(directory):
    directory.parent.chmod(0o1755)
    os.chown(directory.parent, STRANGER, -1)

    assert f"others can write in {directory.parent}" in refusal(directory)


def test_a_link_is_as_safe_as_where_it_lies_and_where_it_leads(directory, tmp_path):
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / "link").symlink_to(directory)
    check_private(aside / "link", "cache_dir")

    aside.chmod(0o777)
    assert f"others can write in {aside}" in refusal(aside / "link")
    aside.chmod(0o755)
    directory.parent.chmod(0o777)
    assert f"others can write in {directory.parent}" in refusal(aside / "link")


@pytest.mark.parametrize("name", ["cache_dir", "spool_dir"])
def test_a_relative_directory_is_refused_since_it_is_another_one_elsewhere(name, tmp_path):
    with pytest.raises(ConfigError, match=rf"^{name}=here: give its whole path"):
        load_config("env:", str(tmp_path / "mnt"), [f"{name}=here"])
    with pytest.raises(ConfigError, match=f"^{name}=~nobody-of-this-name/x: no such home"):
        load_config("env:", str(tmp_path / "mnt"), [f"{name}=~nobody-of-this-name/x"])


def test_a_tilde_is_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    config = load_config("env:", "/mnt", ["cache_dir=~/cache,spool_dir=~/spool"])

    assert (config.cache_dir, config.state_directory) == (
        tmp_path / "cache",
        tmp_path / "spool",
    )
