"""The files that are made from the tables of options are up to date, and true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from swiftimgfs.config.documentation import configuration_page, options_help
from swiftimgfs.config.glance_options import GLANCE_OPTIONS
from swiftimgfs.config.options import OPTIONS, SHORT_NAMES
from swiftimgfs.config.settings import Settings, read_own_files

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "contrib" / "swiftimgfs.conf.sample"
PAGE = ROOT / "docs" / "configuration.md"
STALE = "run contrib/generate"
NAMED = {option.name: option for option in GLANCE_OPTIONS}


def test_the_page_of_options_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == configuration_page(), STALE


def test_the_sample_is_what_oslo_config_generator_prints():
    generator = Path(sys.executable).with_name("oslo-config-generator")
    run = subprocess.run(
        [generator, "--namespace", "swiftimgfs"], check=True, capture_output=True, text=True
    )

    assert SAMPLE.read_text(encoding="utf-8") == run.stdout, STALE


def test_the_sample_as_it_is_sets_nothing():
    assert read_own_files(SAMPLE) == {}


def test_the_defaults_in_the_sample_are_those_that_hold_without_it(tmp_path):
    """Every line of the sample can be made one that counts, and changes nothing."""
    with_defaults = [o.name for o in (*OPTIONS, *GLANCE_OPTIONS) if o.default is not None]
    commented = re.compile(rf"^#(?=({'|'.join(with_defaults)}) =)", re.MULTILINE)
    uncommented = commented.sub("", SAMPLE.read_text(encoding="utf-8"))
    (tmp_path / "all.conf").write_text(uncommented)

    given = read_own_files(tmp_path / "all.conf")

    assert given.keys() == set(with_defaults)
    assert Settings.of(given).values == Settings.of().values


def test_the_page_has_a_row_for_each_option():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", configuration_page(), re.MULTILINE))

    assert set(rows) == {option.name for option in (*OPTIONS, *GLANCE_OPTIONS)}
    assert "| `region`" in rows["swift_store_region"]
    assert all(
        f"`{short}`" in rows[long] or "secret" in rows[long]
        for short, long in SHORT_NAMES.items()
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("swift_store_region", "none (such as `RegionTwo`) |"),
        ("swift_store_cacert", "none (such as `/etc/"),
        ("swift_store_endpoint_type", "(publicURL, adminURL, internalURL)"),
        ("swift_store_multiple_containers_seed", "(from 0 to 32)"),
        ("swift_store_large_object_chunk_size", "(at least 1)"),
        ("swift_store_admin_tenants", "| none |"),
        ("swift_store_use_trusts", "| on |"),
        ("swift_store_key", "(secret)"),
        ("uid", "| the caller's |"),
        ("log_file", "`~/.local/state/swiftimgfs/<mount point>.log`"),
        ("layout", "(raw: containers"),
    ],
)
def test_a_row_tells_default_and_limits(name, told):
    row = next(line for line in configuration_page().splitlines() if f"| `{name}` |" in line)

    assert told in row


def test_help_has_every_option_that_may_be_on_a_command_line():
    words = options_help().split()

    assert {option.name for option in OPTIONS} <= set(words)
    assert {short for short in SHORT_NAMES if not NAMED[SHORT_NAMES[short]].secret} <= set(
        words
    )
    assert "key" not in words


def test_help_is_folded_and_aligned():
    lines = options_help().splitlines()

    assert all(len(line) <= 98 for line in lines)
    assert "  ro                         mount read-only (default: off)" in lines
