"""The tables of options: Glance's like its driver's, ours fit for all that is made of them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from swiftimgfs.config.glance_options import GLANCE_MB, GLANCE_OPTIONS
from swiftimgfs.config.options import OPTIONS, SHORT_NAMES, list_opts
from swiftimgfs.config.types import KIB, Number, Seconds, Size, Umask, format_size, parse_size

GENERATOR = Path(sys.executable).with_name("oslo-config-generator")

SEED_OPTIONS = {
    "swift_store_auth_insecure",
    "swift_store_cacert",
    "swift_store_region",
    "swift_store_endpoint",
    "swift_store_endpoint_type",
    "swift_store_service_type",
    "swift_store_container",
    "swift_store_large_object_size",
    "swift_store_large_object_chunk_size",
    "swift_store_create_container_on_put",
    "swift_store_multi_tenant",
    "swift_store_multiple_containers_seed",
    "swift_store_admin_tenants",
    "swift_store_ssl_compression",
    "swift_store_retry_get_count",
    "swift_store_expire_soon_interval",
    "swift_store_use_trusts",
    "default_swift_reference",
    "swift_store_auth_version",
    "swift_store_auth_address",
    "swift_store_user",
    "swift_store_key",
    "swift_store_config_file",
}
BUFFERING_OPTIONS = {"swift_buffer_on_upload", "swift_upload_buffer_dir"}
NEWER_OPTIONS = {
    "swift_store_application_credential_id",
    "swift_store_application_credential_secret",
    "swift_store_project_name",
    "swift_store_project_id",
}

DRIVER_OPTIONS = """
import json

from glance_store._drivers.swift import buffered, store, utils

options = [*store._SWIFT_OPTS, *buffered.BUFFERING_OPTS, *utils.swift_opts]
print(json.dumps({option.name: described(option) for option in options}))
print(json.dumps(store.ONE_MB))
"""


def described(option: Any) -> dict[str, Any]:
    """Return what an option takes; its source goes to the process that has the driver."""
    kind = option.type
    return {
        "type": type(kind).__name__,
        "default": option.default,
        "min": getattr(kind, "min", None),
        "max": getattr(kind, "max", None),
        "choices": list(getattr(kind, "choices", None) or []),
        "secret": bool(option.secret),
    }


@pytest.fixture(scope="module")
def driver() -> tuple[dict[str, Any], int]:
    """The options of Glance's driver, and its "MB", from a process that may warn."""
    run = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            "from typing import Any\n" + inspect.getsource(described) + DRIVER_OPTIONS,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    options, megabyte = map(json.loads, run.stdout.splitlines())
    return options, megabyte


@pytest.fixture(scope="module")
def sample() -> str:
    """What `oslo-config-generator` makes of our entry point."""
    run = subprocess.run(
        [GENERATOR, "--namespace", "swiftimgfs"], check=True, capture_output=True, text=True
    )
    return run.stdout


# ── Glance's ───────────────────────────────────────────────────────────────────────────


def test_the_options_are_the_drivers_all_of_them_and_no_others(driver):
    ours = {option.name: described(option) for option in GLANCE_OPTIONS}

    assert ours == driver[0]


def test_none_is_missing_that_any_version_of_the_driver_had():
    names = [option.name for option in GLANCE_OPTIONS]

    assert (len(SEED_OPTIONS), len(names)) == (23, 29)
    assert set(names) == SEED_OPTIONS | BUFFERING_OPTIONS | NEWER_OPTIONS


def test_a_megabyte_is_the_drivers(driver):
    assert driver[1] == GLANCE_MB == 1_024_000


def test_whatever_logs_in_is_secret():
    secret = {option.name for option in GLANCE_OPTIONS if option.secret}

    assert secret == {
        "swift_store_user",
        "swift_store_key",
        "swift_store_application_credential_id",
        "swift_store_application_credential_secret",
    }


# ── ours ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_option_of_ours_has_a_default_of_its_own_type_or_says_what_holds_without(option):
    if option.default is None:
        assert option.sample_default
    else:
        assert option.type(option.default) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("segment_size", 64 * KIB**2),
        ("timeout", 60.0),
        ("connections", 8),
        ("ro", False),
        ("layout", "raw"),
    ],
)
def test_a_default_means_what_it_says(name, value):
    option = next(option for option in OPTIONS if option.name == name)

    assert option.type(option.default) == value


@pytest.mark.parametrize("option", [*OPTIONS, *GLANCE_OPTIONS], ids=lambda option: option.name)
def test_each_option_has_a_sentence_of_help(option):
    assert option.help.endswith(".")
    assert "\n" not in option.help
    assert "|" not in option.help  # it goes into a table


# ── names ──────────────────────────────────────────────────────────────────────────────


def test_no_two_options_have_a_name_in_common():
    names = [option.name for option in (*OPTIONS, *GLANCE_OPTIONS)]
    every_name = [*names, *SHORT_NAMES]

    assert len(every_name) == len(set(every_name))


def test_a_short_name_is_the_long_one_without_swift_store():
    assert SHORT_NAMES["region"] == "swift_store_region"
    assert SHORT_NAMES["buffer_on_upload"] == "swift_buffer_on_upload"
    assert SHORT_NAMES["auth_insecure"] == "swift_store_auth_insecure"
    assert all(long.endswith(f"_{short}") for short, long in SHORT_NAMES.items())


def test_only_what_would_be_one_of_ours_has_no_short_name():
    without = {o.name for o in GLANCE_OPTIONS} - set(SHORT_NAMES.values())

    assert without == {"default_swift_reference", "swift_store_large_object_size"}


# ── the sample file ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", [*OPTIONS, *GLANCE_OPTIONS], ids=lambda option: option.name)
def test_the_sample_has_every_option_commented_out(sample, option):
    assert f"\n#{option.name} =" in sample
    assert option.help.split()[0] in sample


def test_the_sample_sets_nothing(sample):
    lines = [line for line in sample.splitlines() if line and not line.startswith("#")]

    assert lines == ["[DEFAULT]", "[swiftimgfs]"]
    assert "Failed to format" not in sample


def test_the_entry_point_has_all_options_in_one_group():
    [(group, options)] = list_opts()

    assert group == "swiftimgfs"
    assert options == [*OPTIONS, *GLANCE_OPTIONS]


# ── types ──────────────────────────────────────────────────────────────────────────────

ANY_DIGITS = st.characters(categories=["Nd"])
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@hypothesis.given(
    st.integers(0, 10**18 - 1),
    st.sampled_from(list(UNITS)),
    st.sampled_from(["", "B", "iB"]),
    st.booleans(),
)
def test_a_size_means_its_number_times_its_unit(number, unit, ending, is_lower):
    text = f"{number}{unit}{ending}"

    assert parse_size(text.lower() if is_lower else text) == number * UNITS[unit]
    assert parse_size(f" {number} {unit}{ending} ") == number * UNITS[unit]
    assert parse_size(format_size(number * UNITS[unit])) == number * UNITS[unit]


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "+1", "1.5G", "1e3", "1_000", "1 0", "1P", "1KM", "0x10", "1\u212a"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="not a size like"):
        parse_size(text)


@hypothesis.given(st.text(max_size=10) | ANY_DIGITS | st.from_regex(r"\d+[kmgt]?"))
def test_a_type_takes_a_text_or_refuses_it_with_a_reason(text):
    for kind in (Size(1), Number(0, 9), Seconds(), Umask()):
        try:
            value = kind(text)
        except ValueError as failure:
            assert str(failure)  # noqa: PT017  # either is right
        else:
            assert value >= 0


def test_types_take_what_they_have_made():
    assert Size(1)(4096) == 4096
    assert Number(0)(7) == 7
    assert Seconds()(1.5) == 1.5
    assert Umask()(0o22) == 0o22


@pytest.mark.parametrize(
    ("size", "text"), [(64 << 20, "64M"), (1 << 40, "1T"), (1500, "1500"), (0, "0")]
)
def test_a_size_is_shown_as_it_is_typed(size, text):
    assert format_size(size) == text
